// Ports that nobody reads, and storms of changes: row 31 of docs/bad-inputs.md.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <string>

#include "testing/console_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using namespace virtio;
using Peer = ConsolePeer;

/// No byte is like its neighbours, so that one in the wrong place shows.
std::string pattern(std::size_t from, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((from + i) % 251);
  return text;
}

// ---- row 31 ----

TEST_P(ConsoleDeviceTest, Row31AConsoleThatNobodyReadsDropsWhatIsTooMuch) {
  add_socket("s");
  serve();
  start_simple();
  const auto client = Peer::connect(path("s"));
  give_input_buffer();
  client.say("x");
  EXPECT_EQ(read_in(), "x");
  const std::string line(16 * 1024, 'y');
  for (int i = 0; i < 64; ++i) print(line);  // it waits for each: the guest is never stopped
  const std::uint64_t dropped = device().counters().tx_dropped_bytes.get();
  EXPECT_GT(dropped, 0U);
  EXPECT_GT(device().counters().tx_blocked.get(), 0U);
  // What was not dropped arrives, the backlog included.
  std::size_t heard = 0;
  EXPECT_TRUE(eventually([&] {
    heard += client.hear().size();
    return heard == 64 * line.size() - dropped;
  }));
  print("and goes on");
  EXPECT_TRUE(client.hears("and goes on"));
}

TEST_P(ConsoleDeviceTest, Row31TheBacklogHoldsItsBytesInOrderAndNotOneMore) {
  add_socket("s");
  serve();
  start_simple();
  const auto client = Peer::connect(path("s"));
  give_input_buffer();
  client.say("x");
  EXPECT_EQ(read_in(), "x");
  constexpr std::size_t kLine = 4093;
  std::size_t printed = 0;
  const auto print_lines_until = [&](auto done) {
    for (int i = 0; i < 2000 && !done(); ++i) {
      print(pattern(printed, kLine));
      printed += kLine;
    }
  };
  const auto dropped = [&] { return device().counters().tx_dropped_bytes.get(); };
  for (int round = 0; round < 3; ++round) {
    // Until it is full, and then some more.
    const std::uint64_t before = dropped();
    const std::size_t first = printed;
    print_lines_until([&] { return dropped() != before; });
    for (const std::size_t bytes : {std::size_t{1}, kLine}) {
      print(pattern(printed, bytes));
      printed += bytes;
    }
    const std::size_t kept = printed - first - (dropped() - before);
    int in_socket = 0;
    ASSERT_EQ(::ioctl(client.fd.get(), FIONREAD, &in_socket), 0);
    EXPECT_EQ(kept, ConsolePort::kBacklog + static_cast<std::size_t>(in_socket));
    EXPECT_TRUE(client.hears(pattern(first, kept))) << "round " << round;
  }
}

// A pipe of one page takes the backlog in many pieces: each begins where the one before has ended.
TEST_P(ConsoleDeviceTest, Row31TheBacklogLeavesInPieces) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  ASSERT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(out.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd in_end(in[0]);
  const UniqueFd typing(in[1]);
  const UniqueFd out_end(out[1]);
  Peer reader;
  reader.fd = UniqueFd(out[0]);
  constexpr int kPipe = 4096;
  ASSERT_EQ(::fcntl(out_end.get(), F_SETPIPE_SZ, kPipe), kPipe);
  add_port(testing::must(make_stdio_console(in_end.get(), out_end.get())));
  serve();
  start_simple();
  constexpr std::size_t kLine = 4093;
  constexpr std::size_t kLines = 12;
  static_assert(kLines * kLine < ConsolePort::kBacklog);
  // The third time it goes past the end of its memory.
  for (std::size_t round = 0; round < 3; ++round) {
    const std::size_t first = round * kLines * kLine;
    for (std::size_t i = 0; i < kLines; ++i) print(pattern(first + i * kLine, kLine));
    EXPECT_TRUE(reader.hears(pattern(first, kLines * kLine))) << "round " << round;
  }
  EXPECT_GE(device().counters().tx_blocked.get(), 3U);
  EXPECT_EQ(device().counters().tx_dropped_bytes.get(), 0U);
}

TEST_P(ConsoleDeviceTest, Row31APortThatNobodyReadsKeepsItsOutputInTheRing) {
  add_port(make_null_console());
  add_socket("s", "org.example.port");
  serve();
  start_multiport();
  const auto client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 1; }));
  const std::string text(300 * 1024, 'z');
  for (int i = 0; i < 8; ++i) put_out(text, 1);
  EXPECT_TRUE(eventually([&] { return device().counters().tx_blocked.get() != 0; }));
  fixture.settle();
  print("another port is served meanwhile");
  fixture.pause_and_resume();
  std::size_t heard = 0;
  EXPECT_TRUE(eventually([&] {
    heard += client.hear().size();
    return heard == 8 * text.size();
  }));
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(fixture.wait_used(rx_of(1) + 1));
  EXPECT_EQ(device().counters().tx_dropped_bytes.get(), 0U);
}

// Row 13a: of the request that went with the ring, half sent, nothing is left.
TEST_P(ConsoleDeviceTest, AQueueThatIsResetInTheMiddleOfARequestBeginsAnew) {
  add_port(make_null_console());
  add_socket("s", "p");
  serve();
  start_multiport();
  const auto client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 1; }));
  put_out(std::string(1024 * 1024, 'z'), 1);
  EXPECT_TRUE(eventually([&] { return device().counters().tx_blocked.get() != 0; }));
  fixture.reset_queue(rx_of(1) + 1);
  put_out("the first words", 1);
  std::string heard;
  EXPECT_TRUE(eventually([&] {
    heard += client.hear();
    return heard.ends_with("zthe first words");
  }));
  EXPECT_LT(heard.size(), 1024U * 1024U);
  EXPECT_TRUE(fixture.wait_used(rx_of(1) + 1));
}

TEST_P(ConsoleDeviceTest, Row31ABlockedPortIsFreedByTheEndOfItsPeerAndByAReset) {
  add_port(make_null_console());
  add_socket("s", "p");
  serve();
  start_multiport();
  auto client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 1; }));
  const std::string text(300 * 1024, 'z');
  for (int i = 0; i < 4; ++i) put_out(text, 1);
  EXPECT_TRUE(eventually([&] { return device().counters().tx_blocked.get() != 0; }));
  client.fd.reset();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(fixture.wait_used(rx_of(1) + 1));
  EXPECT_GT(device().counters().tx_dropped_bytes.get(), 0U);

  client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 2; }));
  const std::uint64_t blocked = device().counters().tx_blocked.get();
  for (int i = 0; i < 4; ++i) put_out(text, 1);
  EXPECT_TRUE(eventually([&] { return device().counters().tx_blocked.get() > blocked; }));
  fixture.restart();
  get_to_know();
  (void)client.hear();
  EXPECT_TRUE(eventually([&] { return client.hear().empty(); }));
  print("x", 1);
  EXPECT_TRUE(eventually([&] {
    const std::string heard = client.hear();
    return !heard.empty() && heard.back() == 'x';
  }));
}

TEST_P(ConsoleDeviceTest, Row31ResizeStormsAreToldAsAFewChanges) {
  const auto window = std::make_shared<ConsoleWindow>();
  window->set_size(80, 25);
  add_port(make_null_console());
  serve(window);
  auto config = fixture.config<ConsoleConfigSpace>();
  EXPECT_EQ(config.cols, 80U);
  EXPECT_EQ(config.rows, 25U);
  start_multiport();
  EXPECT_EQ(hear().event, kConsoleConsolePort);
  auto heard = hear();
  EXPECT_EQ(heard.event, kConsoleResize);
  EXPECT_EQ(heard.rest, std::string("\x50\x00\x19\x00", 4)) << "columns first (5.3.6.2)";
  EXPECT_EQ(hear().event, kConsolePortOpen);

  const unsigned changes = fixture.host->config_changes();
  for (int i = 0; i < 20'000; ++i) {
    window->set_size(static_cast<std::uint16_t>(100 + i % 7), 40);
  }
  window->set_size(132, 43);
  const std::string last("\x84\x00\x2b\x00", 4);
  int messages = 0;
  do {
    heard = hear();
    EXPECT_EQ(heard.event, kConsoleResize);
    ++messages;
  } while (heard.rest != last && messages < 200);
  EXPECT_EQ(heard.rest, last);
  EXPECT_LT(messages, 100);
  EXPECT_LT(fixture.host->config_changes() - changes, 100U);
  EXPECT_EQ(fixture.config<ConsoleConfigSpace>().cols, 132U);
  window->set_size(132, 43);
  fixture.settle();
  EXPECT_FALSE(try_hear()) << "no change, no message";
  // A driver that has no buffers finds the last one.
  fixture.stop();
  window->set_size(90, 30);
  EXPECT_EQ(fixture.config<ConsoleConfigSpace>().cols, 90U);
}

}  // namespace
}  // namespace bellhop

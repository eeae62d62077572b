#include "devices/console/console_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <sstream>

#include "testing/console_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::must;
using namespace virtio;
using Peer = ConsolePeer;

TEST_P(ConsoleDeviceTest, AFileGetsWhatTheGuestPrints) {
  std::ofstream(path("f")) << "of another time";
  OutputFiles outputs;
  add_port(must(make_file_console(path("f"), outputs)));
  ASSERT_TRUE(outputs.begin());
  serve();
  start_simple();
  print("hello ");
  const std::string world = "world";
  ASSERT_TRUE(fixture.memory.write(GuestAddress(kOut), std::as_bytes(std::span(world))));
  fixture.give(kTx, {{GuestAddress(kOut), 2, false}, {GuestAddress(kOut + 2), 3, false}});
  ASSERT_TRUE(fixture.wait_used(kTx));
  std::stringstream text;
  text << std::ifstream(path("f")).rdbuf();
  EXPECT_EQ(text.str(), "hello world");
  EXPECT_EQ(fixture.stat("tx_bytes"), 11U);
}

TEST_P(ConsoleDeviceTest, NobodyIsThere) {
  add_port(make_null_console());
  serve();
  start_simple();
  print(std::string(5000, 'x'));
  give_input_buffer();
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(kRx));
  EXPECT_EQ(device().counters().tx_dropped_bytes.get(), 0U);
  fixture.pause_and_resume();
  fixture.restart(0);
  print("x");
}

TEST_P(ConsoleDeviceTest, StandardInputAndOutput) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  ASSERT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(out.data(), O_CLOEXEC | O_NONBLOCK), 0);
  UniqueFd in_end(in[0]);
  UniqueFd typing(in[1]);
  Peer reader;
  reader.fd = UniqueFd(out[0]);
  UniqueFd out_end(out[1]);
  add_port(must(make_stdio_console(in_end.get(), out_end.get())));
  EXPECT_EQ(::fcntl(in_end.get(), F_GETFL) & O_NONBLOCK, 0) << "others share what is open";
  serve();
  start_simple();
  give_input_buffer();
  fixture.settle();
  ASSERT_EQ(::write(typing.get(), "ls\n", 3), 3);
  EXPECT_EQ(read_in(), "ls\n");
  print("file");
  EXPECT_TRUE(reader.hears("file"));
  // The end of the input is not the end of the output.
  typing.reset();
  give_input_buffer();
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(kRx));
  print("more");
  EXPECT_TRUE(reader.hears("more"));
}

// Whoever else has that socket may clear O_NONBLOCK at any moment: it is not looked at.
TEST_P(ConsoleDeviceTest, StandardInputAndOutputThatAreABlockingSocket) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd shared(ends[0]);
  Peer peer;
  peer.fd = UniqueFd(ends[1]);
  ASSERT_EQ(::fcntl(peer.fd.get(), F_SETFL, O_NONBLOCK), 0);
  add_port(must(make_stdio_console(shared.get(), shared.get())));
  EXPECT_EQ(::fcntl(shared.get(), F_GETFL) & O_NONBLOCK, 0) << "others share what is open";
  serve();
  start_simple();
  ASSERT_EQ(::fcntl(shared.get(), F_SETFL, 0), 0);
  give_input_buffer();
  fixture.settle();
  print("waits for nobody");
  EXPECT_TRUE(peer.hears("waits for nobody"));
  while (fixture.stat("tx_blocked") == 0) print(std::string(4096, 'x'));
  print("y");
  peer.say("ls");
  EXPECT_EQ(read_in(), "ls");
}

TEST_P(ConsoleDeviceTest, ASocketServesOneClientAfterTheOther) {
  add_socket("s");
  serve();
  start_simple();
  print("unheard");
  EXPECT_EQ(device().counters().tx_dropped_bytes.get(), 7U);
  for (int i = 0; i < 3; ++i) {
    auto client = Peer::connect(path("s"));
    give_input_buffer();
    client.say("ping");
    EXPECT_EQ(read_in(), "ping");
    print("pong");
    EXPECT_TRUE(client.hears("pong"));
    // The second waits until the first has left, and loses nothing of what it says.
    const auto second = Peer::connect(path("s"));
    second.say("next");
    fixture.settle();
    give_input_buffer();
    EXPECT_FALSE(fixture.try_used(kRx));
    client.fd.reset();
    EXPECT_EQ(read_in(), "next");
    print("served");
    EXPECT_TRUE(second.hears("served"));
    fixture.pause_and_resume();
    print("again");
    EXPECT_TRUE(second.hears("again"));
  }
  EXPECT_EQ(fixture.stat("connects"), 6U);
}

TEST_P(ConsoleDeviceTest, AClientStaysWhenTheGuestStartsAnew) {
  add_socket("s");
  serve();
  start_simple();
  const auto client = Peer::connect(path("s"));
  give_input_buffer();
  client.say("1");
  EXPECT_EQ(read_in(), "1");
  fixture.restart(0);
  client.say("2");
  give_input_buffer();
  EXPECT_EQ(read_in(), "2");
  print("3");
  EXPECT_TRUE(client.hears("3"));
}

TEST_P(ConsoleDeviceTest, AClientThatIsNotReadFromMayLeave) {
  add_socket("s");
  serve();
  start_simple();
  // No buffers of the guest's at all; the second comes in only if the first was seen to leave.
  for (int i = 0; i < 3; ++i) {
    auto client = Peer::connect(path("s"));
    client.say("never read");
    EXPECT_TRUE(eventually([&] {
      return fixture.stat("connects") == static_cast<std::uint64_t>(i + 1);
    })) << i;
  }
}

// What is found out while a queue is drained becomes messages to the I/O thread, and the peer may
// be given up by the first of them: here by the end of its input, before a wait for its output.
TEST_P(ConsoleDeviceTest, APeerThatLeavesBetweenTwoMessages) {
  add_socket("s");
  serve();
  start_simple();
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t connects = fixture.stat("connects");
    const std::uint64_t blocked = fixture.stat("tx_blocked");
    auto client = Peer::connect(path("s"));
    ASSERT_TRUE(eventually([&] { return fixture.stat("connects") == connects + 1; }));
    // More than the socket takes: what comes then waits for it.
    while (fixture.stat("tx_blocked") == blocked) print(std::string(4096, 'x'));
    std::promise<void> go_on;
    fixture.thread->loop().post([&go_on] { go_on.get_future().wait(); });
    ASSERT_EQ(::shutdown(client.fd.get(), SHUT_WR), 0);
    give_input_buffer();
    put_out("y");
    go_on.set_value();
    EXPECT_TRUE(fixture.wait_used(kTx));
    EXPECT_TRUE(eventually([&] {
      (void)client.hear();
      return client.is_closed();
    })) << "its input has ended: it is left";
    // The next one is served; the buffer has been waiting for it.
    client = Peer::connect(path("s"));
    client.say("z");
    EXPECT_EQ(read_in(), "z");
    print("w");
    EXPECT_TRUE(client.hears("w"));
  }
}

TEST_P(ConsoleDeviceTest, APseudoTerminal) {
  auto pty = must(make_pty_console());
  const std::string place = pty->place();
  add_port(std::move(pty));
  serve();
  start_simple();
  print("unheard");
  EXPECT_TRUE(eventually([&] { return device().counters().tx_dropped_bytes.get() == 7; }));
  for (int i = 0; i < 2; ++i) {
    auto terminal = Peer::open(place);
    ASSERT_TRUE(terminal.fd.valid());
    EXPECT_TRUE(eventually([&] {
      return fixture.stat("connects") == static_cast<std::uint64_t>(i + 1);
    })) << i
        << ' ' << fixture.stat("connects");
    give_input_buffer();
    terminal.say("keys\r");
    EXPECT_EQ(read_in(), "keys\r");
    (void)terminal.hear();  // what was printed before the end of the last one was noticed
    print("a\r\nb");
    EXPECT_TRUE(terminal.hears("a\r\nb")) << "as it is: no line discipline between";
    const std::uint64_t dropped = device().counters().tx_dropped_bytes.get();
    terminal.fd.reset();
    EXPECT_TRUE(eventually([&] {
      print("?");
      return device().counters().tx_dropped_bytes.get() != dropped;
    })) << "nobody is there again";
  }
}

TEST_P(ConsoleDeviceTest, TheWindowMayOutliveTheDevice) {
  const auto window = std::make_shared<ConsoleWindow>();
  add_port(make_null_console());
  serve(window);
  start_simple();
  window->set_size(10, 10);
  EXPECT_TRUE(eventually([&] { return fixture.host->config_changes() == 1; }));
  fixture.destroy();
  window->set_size(20, 20);
}

TEST_P(ConsoleDeviceTest, ResetsWhileClientsComeAndGo) {
  add_socket("s");
  add_socket("s1", "p");
  serve();
  fixture.start();
  std::atomic<bool> done{false};
  std::thread clients([&] {
    while (!done) {
      const auto one = Peer::connect(path("s"));
      const auto other = Peer::connect(path("s1"));
      if (one.fd.valid()) (void)!::send(one.fd.get(), "abc", 3, MSG_NOSIGNAL);
      if (other.fd.valid()) (void)!::send(other.fd.get(), "def", 3, MSG_NOSIGNAL);
      (void)one.hear();
    }
  });
  for (int i = 0; i < 200; ++i) {
    give_input_buffer();
    give_input_buffer(kSlot, 1);
    put_out(std::string(100, 'o'));
    put_out(std::string(100, 'o'), 1);
    for (int k = 0; k < 8; ++k) give_control_buffer();
    say(0, kConsoleDeviceReady, 1);
    say(0, kConsolePortReady, 1);
    say(1, kConsolePortReady, 1);
    say(1, kConsolePortOpen, 1);
    device().set_size(static_cast<std::uint16_t>(i), 25);
    if (i % 3 == 0) fixture.pause_and_resume();
    fixture.restart();
  }
  done = true;
  clients.join();
  get_to_know();
  print("works");
}

// ---- what users get wrong ----

TEST(ConsoleBackendTest, SaysWhatIsWrong) {
  char name[] = "/tmp/bellhop-console-XXXXXX";
  const std::string folder = ::mkdtemp(name);
  const auto message = [](const auto& result) {
    return result ? std::string() : result.error().message;
  };
  OutputFiles outputs;
  EXPECT_NE(message(make_file_console(folder, outputs)).find("cannot write " + folder),
            std::string::npos);
  EXPECT_NE(message(make_socket_console(std::string(200, 'x'))).find("1 to 107 characters"),
            std::string::npos);
  EXPECT_NE(message(make_socket_console(folder + "/no/s")).find("cannot be made"),
            std::string::npos);
  std::ofstream(folder + "/f") << "x";
  EXPECT_NE(message(make_socket_console(folder + "/f")).find("no socket"), std::string::npos);
  {
    const auto first = make_socket_console(folder + "/s");
    ASSERT_TRUE(first);
    EXPECT_NE(message(make_socket_console(folder + "/s")).find("in use by another program"),
              std::string::npos);
  }
  EXPECT_NE(::access((folder + "/s").c_str(), F_OK), 0) << "removed at the end";
  EXPECT_NE(message(make_stdio_console(9999, 1)).find("9999"), std::string::npos);
  ::unlink((folder + "/f").c_str());
  ::rmdir(folder.c_str());
}

TEST(ConsoleConfigTest, MakesADeviceOfAllPorts) {
  ConsoleConfig config;
  config.id = "console0";
  ConsolePortConfig pty;
  pty.end = ConsolePortConfig::End::kPty;
  config.ports = {pty, ConsolePortConfig()};
  const auto device = make_device(config, {.window = std::make_shared<ConsoleWindow>()});
  ASSERT_TRUE(device.has_value()) << device.error().message;
  EXPECT_EQ((*device)->traits().queue_count, 6U);
  config.ports[0].end = ConsolePortConfig::End::kFile;
  config.ports[0].path = "/";
  EXPECT_FALSE(make_device(config, {.window = std::make_shared<ConsoleWindow>()}));
}

INSTANTIATE_TEST_SUITE_P(Modes, ConsoleDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                           NotifyMode::kPoll, NotifyMode::kAdaptive),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

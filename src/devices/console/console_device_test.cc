#include "devices/console/console_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <future>
#include <sstream>

#include "devices/console/console_config.h"
#include "testing/device_fixture.h"
#include "testing/eventually.h"
#include "virtio/abi/console.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::eventually;
using testing::must;
using namespace virtio;

constexpr unsigned kRx = kConsoleReceiveQueue;
constexpr unsigned kTx = kConsoleTransmitQueue;
constexpr unsigned kControlRx = kConsoleControlReceiveQueue;
constexpr unsigned kControlTx = kConsoleControlTransmitQueue;

constexpr std::uint64_t kOut = DeviceFixture::kBuffers;
constexpr std::uint64_t kControl = kOut + 0x400000;
constexpr std::uint64_t kIn = kOut + 0x500000;
constexpr std::uint32_t kSlot = 0x100;  ///< of a control message, or of input

/// A program at the other end of a socket, or of a pseudo terminal.
struct Peer {
  Peer() = default;
  static Peer connect(const std::string& path) {
    Peer peer;
    peer.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (::connect(peer.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
      peer.fd.reset();
    }
    return peer;
  }
  static Peer open(const std::string& path) {
    Peer peer;
    peer.fd = UniqueFd(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    return peer;
  }
  void say(const std::string& text) const {
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// What has come by now.
  [[nodiscard]] std::string hear() const {
    std::string all;
    std::array<char, 4096> some{};
    ssize_t bytes = 0;
    while ((bytes = ::read(fd.get(), some.data(), some.size())) > 0) {
      all.append(some.data(), static_cast<std::size_t>(bytes));
    }
    return all;
  }
  [[nodiscard]] bool hears(const std::string& text) const {
    std::string all;
    return eventually([&] {
      all += hear();
      return all == text;
    });
  }
  /// The other side has closed.
  [[nodiscard]] bool is_closed() const {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }
  UniqueFd fd;
};

class ConsoleDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  ConsoleDeviceTest() : fixture(GetParam(), testing::make_memory(std::uint64_t{32} << 20)) {
    char name[] = "/tmp/bellhop-console-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~ConsoleDeviceTest() override {
    fixture.destroy();
    for (const char* file : {"/s", "/s1", "/f"}) ::unlink((folder + file).c_str());
    ::rmdir(folder.c_str());
  }

  [[nodiscard]] std::string path(const char* name) const { return folder + "/" + name; }
  void add_port(std::unique_ptr<ConsoleBackend> backend, std::string name = {}) {
    ports.push_back({.name = std::move(name), .backend = std::move(backend)});
  }
  void add_socket(const char* name, std::string port_name = {}) {
    add_port(must(make_socket_console(path(name))), std::move(port_name));
  }
  void serve(std::shared_ptr<ConsoleWindow> window = {}) {
    ConsoleOptions options;
    options.queue_size = DeviceFixture::kSize;
    options.window = std::move(window);
    fixture.serve(std::make_unique<ConsoleDevice>(std::move(ports), options));
  }
  /// A driver without MULTIPORT.
  void start_simple() { fixture.start(feature_mask(kConsoleFeatureSize)); }
  /// One with it, which has got to know all ports.
  void start_multiport() {
    fixture.start();
    get_to_know();
  }
  void get_to_know() {
    for (int i = 0; i < 32; ++i) give_control_buffer();
    say(0, kConsoleDeviceReady, 1);
    const auto count = fixture.config<ConsoleConfigSpace>().max_nr_ports;
    for (unsigned port = 0; port < count; ++port) {
      const auto added = hear();
      EXPECT_EQ(added.event, kConsolePortAdd);
      EXPECT_EQ(added.id, port);
    }
    for (unsigned port = 0; port < count; ++port) say(port, kConsolePortReady, 1);
  }
  [[nodiscard]] ConsoleDevice& device() { return static_cast<ConsoleDevice&>(*fixture.device); }

  // ---- control queues ----

  struct Heard {
    std::uint32_t id = 0;
    std::uint16_t event = 0xffff;
    std::uint16_t value = 0;
    std::string rest;
  };
  void give_control_buffer(std::uint32_t bytes = kSlot) {
    const unsigned slot = next_control_++ % DeviceFixture::kSize;
    const auto head =
        fixture.give(kControlRx, {{GuestAddress(kControl + slot * kSlot), bytes, true}});
    control_slot_[head] = slot;
  }
  std::optional<Heard> try_hear() {
    const auto used = fixture.try_used(kControlRx);
    if (!used) return std::nullopt;
    Heard heard;
    std::vector<std::byte> bytes(used->length);
    EXPECT_TRUE(
        fixture.memory.read(GuestAddress(kControl + control_slot_[used->id] * kSlot), bytes));
    give_control_buffer();
    ConsoleControlMessage message{};
    if (bytes.size() < sizeof message) return heard;
    std::memcpy(&message, bytes.data(), sizeof message);
    heard.id = message.id;
    heard.event = message.event;
    heard.value = message.value;
    heard.rest.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof message,
                      bytes.size() - sizeof message);
    return heard;
  }
  Heard hear() {
    std::optional<Heard> heard;
    EXPECT_TRUE(eventually([&] { return (heard = try_hear()).has_value(); }));
    return heard.value_or(Heard());
  }
  void say(std::uint32_t id, std::uint16_t event, std::uint16_t value) {
    const ConsoleControlMessage message{.id = id, .event = event, .value = value};
    const GuestAddress at(kControl - 0x1000);
    ASSERT_TRUE(fixture.memory.write(at, std::as_bytes(std::span(&message, 1))));
    fixture.give(kControlTx, {{at, sizeof message, false}});
    ASSERT_TRUE(fixture.wait_used(kControlTx));
  }

  // ---- bytes ----

  static constexpr unsigned rx_of(unsigned port) { return port == 0 ? kRx : 2 + 2 * port; }
  /// In a place of its own: what went out before may still be on its way.
  void put_out(const std::string& text, unsigned port = 0) {
    if (next_out_ + text.size() > kControl - 0x1000) next_out_ = kOut;
    const GuestAddress at(next_out_);
    next_out_ += text.size();
    ASSERT_TRUE(fixture.memory.write(at, std::as_bytes(std::span(text))));
    fixture.give(rx_of(port) + 1, {{at, static_cast<std::uint32_t>(text.size()), false}});
  }
  void print(const std::string& text, unsigned port = 0) {
    put_out(text, port);
    ASSERT_TRUE(fixture.wait_used(rx_of(port) + 1));
  }
  void give_input_buffer(std::uint32_t bytes = kSlot, unsigned port = 0) {
    fixture.give(rx_of(port), {{GuestAddress(kIn + port * 0x10000), bytes, true}});
  }
  /// What the guest reads from the one buffer that it gave.
  std::string read_in(unsigned port = 0) {
    const auto used = fixture.wait_used(rx_of(port));
    std::string text(used ? used->length : 0, '\0');
    EXPECT_TRUE(fixture.memory.read(GuestAddress(kIn + port * 0x10000),
                                    std::as_writable_bytes(std::span(text))));
    return text;
  }

  DeviceFixture fixture;
  std::string folder;
  std::vector<ConsolePortOptions> ports;

 private:
  unsigned next_control_ = 0;
  std::uint64_t next_out_ = kOut;
  std::array<unsigned, DeviceFixture::kSize> control_slot_{};
};

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
    // The second waits until the first has left, and loses nothing of what he says.
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

// No byte is like its neighbours, so that one in the wrong place shows.
TEST_P(ConsoleDeviceTest, Row31TheBacklogHoldsItsBytesInOrderAndNotOneMore) {
  add_socket("s");
  serve();
  start_simple();
  const auto client = Peer::connect(path("s"));
  give_input_buffer();
  client.say("x");
  EXPECT_EQ(read_in(), "x");
  const auto pattern = [](std::size_t from, std::size_t bytes) {
    std::string text(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((from + i) % 251);
    return text;
  };
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

// ---- ports ----

TEST_P(ConsoleDeviceTest, PortsAreMadeKnown) {
  add_port(make_null_console());
  add_socket("s", "org.qemu.guest_agent.0");
  serve();
  EXPECT_EQ(fixture.config<ConsoleConfigSpace>().max_nr_ports, 2U);
  EXPECT_EQ(fixture.device->traits().queue_count, 6U);
  start_multiport();
  auto heard = hear();
  EXPECT_EQ(heard.event, kConsoleConsolePort);
  EXPECT_EQ(heard.id, 0U);
  EXPECT_EQ(heard.value, 1U);
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortOpen) << "null is always there";
  EXPECT_EQ(heard.id, 0U);
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortName);
  EXPECT_EQ(heard.id, 1U);
  EXPECT_EQ(heard.rest, "org.qemu.guest_agent.0");

  {
    const auto client = Peer::connect(path("s"));
    heard = hear();
    EXPECT_EQ(heard.event, kConsolePortOpen);
    EXPECT_EQ(heard.id, 1U);
    EXPECT_EQ(heard.value, 1U);
    // Nothing is read for a guest that has not opened the port.
    client.say("early");
    give_input_buffer(kSlot, 1);
    fixture.settle();
    EXPECT_FALSE(fixture.try_used(rx_of(1)));
    say(1, kConsolePortOpen, 1);
    EXPECT_EQ(read_in(1), "early");
    say(1, kConsolePortOpen, 0);
    give_input_buffer(kSlot, 1);
    client.say("late");
    fixture.settle();
    EXPECT_FALSE(fixture.try_used(rx_of(1)));
    say(1, kConsolePortOpen, 1);
    EXPECT_EQ(read_in(1), "late");
    print("answer", 1);
    EXPECT_TRUE(client.hears("answer"));
  }
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortOpen);
  EXPECT_EQ(heard.value, 0U) << "the client has left";
  EXPECT_EQ(device().counters().guest_faults.get(), 0U);
}

TEST_P(ConsoleDeviceTest, NewsThatComeBeforeTheirBuffersWaitAndAreNotMany) {
  add_port(make_null_console());
  add_socket("s", "p");
  serve();
  start_multiport();
  for (int i = 0; i < 3; ++i) (void)hear();
  for (int i = 0; i < 200; ++i) {
    say(0, kConsolePortReady, 1);  // "and tell me all about it", without end
    say(0, kConsolePortOpen, 1);
  }
  int messages = 0;
  fixture.settle();
  while (try_hear()) ++messages;
  EXPECT_LE(messages, 400);
  say(1, kConsolePortReady, 0);
  const auto client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 1; }));
  fixture.settle();
  while (const auto heard = try_hear()) EXPECT_EQ(heard->id, 0U) << "the driver has no port 1";
}

TEST_P(ConsoleDeviceTest, MessagesThatMakeNoSense) {
  add_port(make_null_console());
  serve();
  start_multiport();
  (void)hear();
  (void)hear();
  say(1, kConsolePortReady, 1);
  say(0xffffffff, kConsolePortOpen, 1);
  say(0, kConsolePortAdd, 1);
  say(0, kConsoleResize, 1);
  say(0, 0x7777, 1);
  EXPECT_EQ(device().counters().guest_faults.get(), 5U);
  for (const std::uint32_t bytes : {1U, 7U}) {
    fixture.give(kControlTx, {{GuestAddress(kOut), bytes, false}});
    ASSERT_TRUE(fixture.wait_used(kControlTx));
  }
  fixture.give(kControlTx, {{GuestAddress(kOut), 8, true}});
  ASSERT_TRUE(fixture.wait_used(kControlTx));
  EXPECT_EQ(device().counters().guest_faults.get(), 8U);
  fixture.give(kTx, {{GuestAddress(kOut), 8, true}});
  ASSERT_TRUE(fixture.wait_used(kTx));
  say(0, kConsolePortOpen, 1);
  fixture.device->write_config(0, std::as_bytes(std::span("x", 1)));
  EXPECT_EQ(device().counters().guest_faults.get(), 10U);
  print("works");
  // Cut in two, as a driver may.
  const ConsoleControlMessage ready{.id = 0, .event = kConsolePortReady, .value = 1};
  ASSERT_TRUE(fixture.memory.write(GuestAddress(kOut), std::as_bytes(std::span(&ready, 1))));
  fixture.give(kControlTx, {{GuestAddress(kOut), 3, false}, {GuestAddress(kOut + 3), 5, false}});
  EXPECT_EQ(hear().event, kConsoleConsolePort);
  EXPECT_EQ(device().counters().guest_faults.get(), 10U);
}

TEST_P(ConsoleDeviceTest, BuffersTooSmallForAMessage) {
  add_port(make_null_console());
  add_port(make_null_console(), "a-name-of-some-length");
  serve();
  fixture.start();
  for (int i = 0; i < 8; ++i) give_control_buffer(8);
  say(0, kConsoleDeviceReady, 1);
  EXPECT_EQ(hear().event, kConsolePortAdd);
  EXPECT_EQ(hear().event, kConsolePortAdd);
  fixture.restart();
  give_control_buffer(7);
  say(0, kConsoleDeviceReady, 1);
  const auto used = fixture.wait_used(kControlRx);
  EXPECT_EQ(used->length, 0U);
  EXPECT_GE(device().counters().guest_faults.get(), 1U);
  fixture.restart();
  get_to_know();
  print("works");
}

TEST_P(ConsoleDeviceTest, QueuesThatNothingUsesAreLeftAlone) {
  add_port(make_null_console());
  serve();
  start_simple();
  fixture.give(kControlTx, {{GuestAddress(kOut), 8, false}});
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(kControlTx));
  fixture.restart(fixture.device->traits().features, {kRx, kTx});
  print("without control queues");
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
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

// The host's end of a link against a guest that is played by the test, over UDP on the loopback.
#include "bench/net/net_end.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace bellhop::bench {
namespace {

using wire::Control;
using wire::Kind;

constexpr std::uint64_t kSeed = 7;

class NetEndTest : public ::testing::Test {
 protected:
  void SetUp() override {
    guest_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    UniqueFd host(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const sockaddr_in guest_address = bind_somewhere(guest_.get());
    const sockaddr_in host_address = bind_somewhere(host.get());
    connect_to(guest_.get(), host_address);
    connect_to(host.get(), guest_address);
    const timeval patience{20, 0};
    ::setsockopt(guest_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int on = 1;
    ::setsockopt(host.get(), IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    server_ = std::thread([this, end = std::move(host)]() mutable {
      NetEnd server(std::move(end));
      EXPECT_TRUE(server.serve([this] { return over_.load(); }).has_value());
    });
  }
  static sockaddr_in bind_somewhere(int socket) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return address;
  }
  static void connect_to(int socket, const sockaddr_in& address) {
    EXPECT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  void TearDown() override {
    over_ = true;
    server_.join();
  }

  void send(const void* data, std::size_t bytes) const {
    ASSERT_EQ(::send(guest_.get(), data, bytes, 0), static_cast<ssize_t>(bytes));
  }
  void send_data(std::uint64_t sequence, const wire::Setting& setting, bool damaged = false) const {
    std::vector<std::uint8_t> data(
        setting.cut.bytes(static_cast<std::uint32_t>(sequence % setting.cut.datagrams())));
    wire::fill(data.data(), static_cast<std::uint32_t>(data.size()),
               wire::Tag::make(Kind::kData, 0, sequence), setting.seed);
    if (damaged) data.back() ^= 1;
    send(data.data(), data.size());
  }
  void send_control(Kind kind, Control control = {}) const {
    control.seal(kind, 0);
    send(&control, sizeof control);
  }
  void hello(const wire::Setting& setting) const {
    Control control;
    setting.write(&control);
    send_control(Kind::kHello, control);
    wait_for(Kind::kReady);
  }
  [[nodiscard]] std::vector<std::uint8_t> receive() const {
    std::vector<std::uint8_t> data(65536);
    const ssize_t got = ::recv(guest_.get(), data.data(), data.size(), 0);
    EXPECT_GT(got, 0);
    data.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return data;
  }
  /// The next control of that kind; what comes before it is passed over.
  Control wait_for(Kind kind) const {
    for (int i = 0; i < 10'000; ++i) {
      const auto data = receive();
      Control control;
      if (data.empty()) return {};
      if (!wire::read_control(data.data(), static_cast<std::uint32_t>(data.size()), &control)) {
        continue;
      }
      if (wire::Tag{control.tag}.kind() == kind) return control;
    }
    ADD_FAILURE() << "it did not come";
    return {};
  }
  [[nodiscard]] wire::Receipt report() const {
    send_control(Kind::kFin);
    wire::Receipt receipt;
    receipt.read(wait_for(Kind::kReport));
    return receipt;
  }
  static wire::Setting setting(bool to_guest) {
    wire::Setting setting;
    setting.seed = kSeed;
    setting.to_guest = to_guest;
    setting.cut = {4096, 1472};
    setting.window = 12;
    setting.ack_every = 3;
    return setting;
  }

  UniqueFd guest_;
  std::atomic<bool> over_ = false;
  std::thread server_;
};

TEST_F(NetEndTest, AnswersPings) {
  for (const std::uint8_t ping : std::initializer_list<std::uint8_t>{0, 1, 0xa5}) {
    send(&ping, 1);
    const auto answer = receive();
    ASSERT_EQ(answer.size(), 1U);
    EXPECT_EQ(answer[0], ping ^ wire::kPingMask);
  }
}

TEST_F(NetEndTest, ReceivesAndAcknowledges) {
  const auto wanted = setting(false);
  hello(wanted);
  for (std::uint64_t i = 0; i < 9; ++i) send_data(i, wanted);
  wire::Receipt seen;
  while (seen.next < 9) seen.read(wait_for(Kind::kAck));
  const wire::Receipt total = report();
  EXPECT_EQ(total.datagrams, 9U);
  EXPECT_EQ(total.messages, 3U);
  EXPECT_EQ(total.bytes, 3U * 4096);
  EXPECT_EQ(total.lost() + total.wrong + total.reordered, 0U);
}

TEST_F(NetEndTest, CountsWhatIsLostReorderedOrWrong) {
  const auto wanted = setting(false);
  hello(wanted);
  for (const std::uint64_t i : {0U, 1U, 2U, 4U, 5U, 6U, 8U, 7U}) send_data(i, wanted);
  send_data(9, wanted, true);
  for (const std::uint64_t i : {10U, 11U}) send_data(i, wanted);
  const wire::Receipt total = report();
  EXPECT_EQ(total.messages, 1U);   // only the first came whole and in order
  EXPECT_EQ(total.reordered, 1U);  // 7
  EXPECT_EQ(total.wrong, 1U);      // 9
  EXPECT_EQ(total.lost(), 2U);     // 3 and 9
}

TEST_F(NetEndTest, SaysThatNothingComesAnyMore) {
  const auto wanted = setting(false);
  hello(wanted);
  send_data(0, wanted);
  wire::Receipt seen;
  while (seen.extra == 0) seen.read(wait_for(Kind::kAck));
  EXPECT_EQ(seen.next, 1U);
}

TEST_F(NetEndTest, SendsWithinItsWindowAndRecoversByTime) {
  const auto wanted = setting(true);
  hello(wanted);
  wire::Receipt receipt;
  while (receipt.datagrams < wanted.window) {
    const auto data = receive();
    receipt.take(data.data(), static_cast<std::uint32_t>(data.size()), wanted);
  }
  EXPECT_EQ(receipt.messages, 4U);
  // No acknowledgement: it waits, takes all for lost, and goes on.
  const auto late = receive();
  receipt.take(late.data(), static_cast<std::uint32_t>(late.size()), wanted);
  EXPECT_EQ(receipt.next, wanted.window + 1);
  Control ack;
  receipt.write(&ack);
  send_control(Kind::kAck, ack);
  send_control(Kind::kFin);
  const Control report = wait_for(Kind::kReport);
  EXPECT_GE(report.words[0], receipt.next);
  EXPECT_GE(report.words[1], 1U);
}

TEST_F(NetEndTest, RefusesASettingWithoutSense) {
  auto wanted = setting(false);
  wanted.cut.datagram_bytes = 0;
  Control control;
  wanted.write(&control);
  send_control(Kind::kHello, control);
  const std::uint8_t ping = 1;
  send(&ping, 1);
  EXPECT_EQ(receive().size(), 1U);  // only the ping is answered
}

TEST(Wire, EveryByteOfADatagramCounts) {
  for (const std::uint32_t bytes : {16U, 17U, 22U, 24U, 31U, 32U, 47U, 48U, 64U, 1472U, 1471U}) {
    std::vector<std::uint8_t> data(bytes + 3);
    std::uint8_t* at = data.data() + 3;  // at any alignment
    const wire::Tag tag = wire::Tag::make(Kind::kData, 2, 12345);
    wire::fill(at, bytes, tag, kSeed);
    wire::Tag found;
    ASSERT_TRUE(wire::check(at, bytes, kSeed, &found)) << bytes;
    EXPECT_EQ(found.sequence(), 12345U);
    EXPECT_EQ(found.flow(), 2);
    EXPECT_FALSE(wire::check(at, bytes, kSeed + 1, &found));
    EXPECT_FALSE(wire::check(at, bytes - 1, kSeed, &found));
    for (std::uint32_t i = 0; i < bytes; ++i) {
      at[i] ^= 0x10;
      EXPECT_FALSE(wire::check(at, bytes, kSeed, &found)) << bytes << " byte " << i;
      at[i] ^= 0x10;
    }
  }
}

TEST(Wire, CutsMessages) {
  constexpr wire::Cut large{65536, 1472};
  static_assert(large.datagrams() == 45);
  static_assert(large.bytes(44) == 768);
  static_assert(large.per_frame() == 44);
  static_assert(large.valid());
  static_assert(wire::Cut{22, 1472}.datagrams() == 1);
  static_assert(!wire::Cut{1480, 1472}.valid());  // no room for a head in the second
  static_assert(!wire::Cut{65536, 0}.valid());
}

}  // namespace
}  // namespace bellhop::bench

// A device's own state, on its way to its front end and back (DEVICE_STATE).
#include "transport/vhost_user/state_transfer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "testing/vhost_user_server_fixture.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using Client = testing::VhostUserClient;

class DeviceStateTest : public ::testing::TestWithParam<bool>,
                        public testing::VhostUserServerFixture {
 protected:
  static constexpr std::uint64_t kDeviceState = std::uint64_t{1} << kProtocolDeviceState;

  DeviceStateTest() : VhostUserServerFixture(GetParam()) {}

  void connect(Client& client, std::uint64_t protocol = Client::kAcks | kDeviceState) {
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit, protocol));
  }
  /// The descriptor of the answer; none, where it says no.
  static UniqueFd transfer(Client& client, std::uint32_t direction, std::uint32_t phase = 0) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return {};
    const UniqueFd one(pipe[0]);
    const UniqueFd other(pipe[1]);
    const StateTransferStart start{.direction = direction, .phase = phase};
    const int offered = direction == kStateLoad ? one.get() : other.get();
    auto sent = client.channel().send(Request::kSetDeviceStateFd, 0,
                                      std::as_bytes(std::span(&start, 1)), {&offered, 1});
    auto reply = client.channel().receive();
    std::uint64_t value = 0;
    if (!sent || !reply || !reply->read(value)) return {};
    EXPECT_EQ(value, reply->fds.empty() ? kStateFailed | kStateNoFd : 0);
    return reply->fds.empty() ? UniqueFd() : std::move(reply->fds[0]);
  }
  static bool check(Client& client) {
    const auto failed = client.ask<std::uint64_t>(Request::kCheckDeviceState);
    EXPECT_TRUE(failed);
    return failed == 0U;
  }
  static std::string read_all(const UniqueFd& from) {
    std::string all;
    std::array<char, 100> some{};
    ssize_t got = 0;
    while ((got = ::read(from.get(), some.data(), some.size())) > 0) {
      all.append(some.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  static void write_all(const UniqueFd& to, const std::string& text) {
    ASSERT_EQ(::write(to.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// As the device has it now: asked on another connection.
  std::string state_now() {
    Client client;
    connect(client);
    return read_all(transfer(client, kStateSave));
  }
  void set_state(std::string_view text) {
    echo->state.assign(bytes(text).begin(), bytes(text).end());
  }
};
INSTANTIATE_TEST_SUITE_P(Loops, DeviceStateTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(DeviceStateTest, IsHandedOut) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.start_ring(0));
  ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.stop_ring(0));
  set_state("open");
  const UniqueFd from = transfer(client, kStateSave);
  ASSERT_TRUE(from.valid());
  EXPECT_EQ(read_all(from), "open");
  EXPECT_TRUE(check(client));
  EXPECT_FALSE(check(client)) << "once each";
}

TEST_P(DeviceStateTest, IsTakenInAndTheRingsGoOn) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(client.set_memory());
  UniqueFd to = transfer(client, kStateLoad);
  ASSERT_TRUE(to.valid());
  write_all(to, "op");
  EXPECT_EQ(client.ask<std::uint64_t>(Request::kGetQueueNum), kRings) << "others have their turn";
  write_all(to, "en");
  to.reset();
  EXPECT_TRUE(check(client));
  ASSERT_TRUE(client.start_ring(0));
  EXPECT_TRUE(client.echo(0));
  ASSERT_TRUE(client.stop_ring(0));
  EXPECT_EQ(read_all(transfer(client, kStateSave)), "open");
}

TEST_P(DeviceStateTest, GoesWithItsFrontEnd) {
  for (const bool reset : {false, true}) {
    Client client(kRings);
    connect(client);
    UniqueFd to = transfer(client, kStateLoad);
    write_all(to, "open");
    to.reset();
    ASSERT_TRUE(check(client));
    if (reset) {
      ASSERT_TRUE(client.tell(Request::kResetDevice));
      EXPECT_EQ(read_all(transfer(client, kStateSave)), "");
    }
  }
  EXPECT_EQ(state_now(), "");
}

TEST_P(DeviceStateTest, WhatIsNoStateIsRefused) {
  Client client(kRings);
  connect(client);
  EXPECT_FALSE(check(client)) << "nothing was sent";

  UniqueFd to = transfer(client, kStateLoad);
  write_all(to, "open");
  EXPECT_FALSE(check(client)) << "there may be more to come";

  to = transfer(client, kStateLoad);
  write_all(to, "\xff");
  to.reset();
  EXPECT_FALSE(check(client)) << "the device does not know it";

  // A writer that waits for its reader is not left alone, however much it has.
  to = transfer(client, kStateLoad);
  const std::string much(StateReader::kMost, 'x');
  for (int i = 0; i < 20; ++i) write_all(to, much);
  to.reset();
  EXPECT_FALSE(check(client)) << "that much is no state";
  EXPECT_EQ(read_all(transfer(client, kStateSave)), "");

  to = transfer(client, kStateLoad);
  write_all(to, much);
  to.reset();
  EXPECT_TRUE(check(client)) << "this is the most";
}

TEST_P(DeviceStateTest, NotWhileRingsRun) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(client.set_memory());
  UniqueFd to = transfer(client, kStateLoad);
  write_all(to, "open");
  to.reset();
  ASSERT_TRUE(client.start_ring(1));
  EXPECT_FALSE(check(client));
  EXPECT_FALSE(transfer(client, kStateSave).valid());
  EXPECT_FALSE(transfer(client, kStateLoad).valid());
  EXPECT_TRUE(client.echo(1));
}

TEST_P(DeviceStateTest, OtherDirectionsAndPhasesAreRefused) {
  Client client(kRings);
  connect(client);
  EXPECT_FALSE(transfer(client, 2).valid());
  EXPECT_FALSE(transfer(client, kStateSave, 1).valid());
  Client other(kRings);
  client.disconnect();
  connect(other, Client::kAcks);
  EXPECT_FALSE(transfer(other, kStateSave).valid()) << "it was not agreed on";
  EXPECT_FALSE(check(other));
}

TEST_P(DeviceStateTest, FrontEndsThatGoInBetweenLeaveNothing) {
  { const auto warm = state_now(); }
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Client client;
    connect(client);
    const UniqueFd end = transfer(client, i % 2 == 0 ? kStateSave : kStateLoad);
    ASSERT_TRUE(end.valid());
  }
  EXPECT_TRUE(testing::eventually([&] { return open_descriptors() <= before; }));
}

TEST(StateTransferTest, AStateThatIsLargerThanASocketHolds) {
  const std::vector<std::byte> state(std::size_t{64} << 20);
  EXPECT_FALSE(hand_out_state(state));
}

}  // namespace
}  // namespace bellhop

// A front end's rings whose way of notification changes while they are served.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
#include <thread>

#include "testing/echo_device.h"
#include "testing/vhost_user_server_fixture.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using testing::EchoDevice;
using testing::must;
using Client = testing::VhostUserClient;

constexpr unsigned kRings = 2;
constexpr auto kPatience = 10s;

class PeerNotifyTest : public ::testing::TestWithParam<bool>, public testing::VhostUserService {
 protected:
  PeerNotifyTest()
      : VhostUserService(std::make_unique<EchoDevice>(kRings), GetParam(), NotifyMode::kAdaptive) {}
  bool change(NotifyMode mode, unsigned ring = 0) const {
    return life->change_notify(ring, mode, kPatience);
  }
};
INSTANTIATE_TEST_SUITE_P(Loops, PeerNotifyTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(PeerNotifyTest, TheWaysThatNeedNoVcpu) {
  Client client(kRings);
  EXPECT_FALSE(change(NotifyMode::kPoll)) << "there is no ring yet";
  start(client);
  EXPECT_EQ(life->notify_mode(0), NotifyMode::kIoEventFd);
  for (unsigned round = 0; round < 3; ++round) {
    for (const NotifyMode mode : {NotifyMode::kPoll, NotifyMode::kIoEventFd}) {
      ASSERT_TRUE(change(mode));
      EXPECT_EQ(life->notify_mode(0), mode);
      for (unsigned n = 0; n < 8; ++n) ASSERT_TRUE(client.echo(n % kRings)) << round << ", " << n;
      EXPECT_FALSE(change(NotifyMode::kSync)) << "no vCPU of ours could serve its kick";
      EXPECT_EQ(life->notify_mode(0), mode);
      ASSERT_TRUE(client.echo(0));
    }
  }
  EXPECT_EQ(life->notify_mode(1), NotifyMode::kIoEventFd) << "the other ring is left alone";
}

TEST_P(PeerNotifyTest, ARingThatRestsIsNotChanged) {
  Client client(kRings);
  start(client);
  ASSERT_TRUE(client.echo(0));
  const auto base = client.stop_ring(0);
  ASSERT_TRUE(base);
  EXPECT_FALSE(change(NotifyMode::kPoll));
  ASSERT_TRUE(client.start_ring(0, *base));
  ASSERT_TRUE(client.echo(0));
  EXPECT_TRUE(change(NotifyMode::kPoll));
  EXPECT_TRUE(client.echo(0));
}

// Messages come on one thread, changes on another, and the I/O thread serves.
TEST_P(PeerNotifyTest, ChangesWhileTheFrontEndSetsItsRingsUp) {
  Client client(kRings);
  start(client);
  std::atomic<unsigned> changes{0};
  std::jthread tuner([&](const std::stop_token& stop) {
    for (unsigned i = 0; !stop.stop_requested(); ++i) {
      if (change(i % 2 == 0 ? NotifyMode::kPoll : NotifyMode::kIoEventFd, i / 2 % kRings))
        ++changes;
    }
  });
  for (unsigned round = 0; round < 50; ++round) {
    const unsigned ring = round % kRings;
    ASSERT_TRUE(client.echo(0)) << round;
    ASSERT_TRUE(client.echo(1)) << round;
    ASSERT_TRUE(client.set_call(ring));
    const auto base = client.stop_ring(ring);
    ASSERT_TRUE(base);
    ASSERT_TRUE(client.start_ring(ring, *base));
  }
  tuner.request_stop();
  tuner.join();
  EXPECT_GT(changes, 0U);
  EXPECT_TRUE(client.echo(0));
  EXPECT_TRUE(client.echo(1));
}

TEST_P(PeerNotifyTest, WhatIsNotedOfRequestsInFlightGoesOn) {
  Client client(kRings);
  must(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit, Client::kTracking));
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.track_inflight());
  for (unsigned ring = 0; ring < kRings; ++ring) ASSERT_TRUE(client.start_ring(ring));
  for (unsigned n = 0; n < 8; ++n) {
    ASSERT_TRUE(change(n % 2 == 0 ? NotifyMode::kPoll : NotifyMode::kIoEventFd));
    ASSERT_TRUE(client.echo(0)) << n;
  }
}

}  // namespace
}  // namespace bellhop

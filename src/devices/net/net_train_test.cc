// Frames that leave together: what the host's stack takes out of them is what the driver sent, in
// its order, and each comes back to the driver once.

#include <gtest/gtest.h>

#include <algorithm>

#include "testing/eventually.h"
#include "testing/net_fixture.h"
#include "testing/udp_frames.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::NetFixture;
using testing::take_apart;
using testing::udp_frame;
using Bytes = std::vector<std::byte>;

class NetTrainTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  /// Offers all of them with one kick and waits until they are back.
  void send_together(const std::vector<Bytes>& frames) {
    offer(frames);
    EXPECT_TRUE(all_back());
  }
  void offer(const std::vector<Bytes>& frames) {
    for (const Bytes& frame : frames) {
      const GuestAddress at = NetFixture::slot(1, next_slot_++ % NetFixture::kSize);
      ASSERT_TRUE(fixture.memory.write(at, frame));
      ASSERT_TRUE(fixture.driver(1).add({{at, static_cast<std::uint32_t>(frame.size()), false}}));
      ++in_ring_;
    }
    fixture.offer(1);
  }
  [[nodiscard]] bool all_back() {
    return eventually([this] {
      while (fixture.driver(1).reap()) --in_ring_;
      if (in_ring_ != 0) (void)fixture.driver(1).enable_interrupts();
      return in_ring_ == 0;
    });
  }
  /// The next `count` frames of the wire, trains taken apart.
  std::vector<Bytes> arrived(std::size_t count) {
    std::vector<Bytes> frames;
    while (frames.size() < count && !HasFailure()) {
      for (Bytes& frame : take_apart(fixture.get())) frames.push_back(std::move(frame));
    }
    return frames;
  }
  static std::vector<Bytes> datagrams(std::size_t count, std::size_t payload = 100) {
    std::vector<Bytes> frames;
    for (std::size_t i = 0; i < count; ++i) frames.push_back(udp_frame({}, payload, i));
    return frames;
  }

  NetFixture fixture{GetParam()};

 private:
  unsigned next_slot_ = 0;
  unsigned in_ring_ = 0;
};

TEST_P(NetTrainTest, ABatchOfDatagramsIsOneSystemCall) {
  fixture.start();
  const auto frames = datagrams(20);
  const std::uint64_t before = fixture.host->life().counters(1).system_calls.get();
  send_together(frames);
  EXPECT_EQ(take_apart(fixture.get()), frames);
  EXPECT_EQ(fixture.host->life().counters(1).system_calls.get() - before, 1U);
  const NetTotals totals = fixture.device->totals();
  EXPECT_EQ(totals.tx_frames, 20U);
  EXPECT_EQ(totals.tx_joined, 19U);
  EXPECT_EQ(totals.tx_bytes, 20 * (frames[0].size() - kNetHeaderBytes));
}

TEST_P(NetTrainTest, FramesOfAllKindsKeepTheirOrder) {
  fixture.start();
  std::vector<Bytes> frames;
  for (unsigned i = 0; i < 60; ++i) {
    switch (i % 7) {
      case 3:
        frames.push_back(NetFixture::frame(200, i));
        break;
      case 5:
        frames.push_back(udp_frame({.ip6 = true}, 300, i));
        break;
      default:
        frames.push_back(udp_frame({}, i % 7 == 2 ? 50 : 100, i));
    }
  }
  send_together(frames);
  EXPECT_EQ(arrived(frames.size()), frames);
  EXPECT_GT(fixture.device->totals().tx_joined, 10U);
}

TEST_P(NetTrainTest, WhatIsNoFrameIsLeftOut) {
  fixture.start();
  auto frames = datagrams(5);
  auto offered = frames;
  offered.insert(offered.begin() + 2, Bytes(5));
  offered.insert(offered.begin() + 4, Bytes(20));
  send_together(offered);
  EXPECT_EQ(arrived(5), frames);
  EXPECT_EQ(fixture.device->totals().guest_faults, 2U);
  EXPECT_EQ(fixture.device->totals().tx_frames, 5U);
}

TEST_P(NetTrainTest, AFullWireHoldsTrainsBackAndLosesNone) {
  fixture.start();
  std::vector<Bytes> sent;
  // Four trains at a time: more than the wire has room for in the end.
  for (unsigned round = 0; round < 200 && fixture.device->totals().tx_frames == sent.size();
       ++round) {
    std::vector<Bytes> frames;
    for (unsigned i = 0; i < 40; ++i) {
      const testing::UdpFlow flow{.to_port = static_cast<std::uint16_t>(i / 10)};
      frames.push_back(udp_frame(flow, 1000, sent.size() + i));
    }
    offer(frames);
    sent.insert(sent.end(), frames.begin(), frames.end());
    fixture.settle();
    (void)eventually([&] {
      const NetTotals totals = fixture.device->totals();
      return totals.tx_frames == sent.size() || totals.tx_blocked != 0;
    });
    while (fixture.driver(1).reap()) {
    }
  }
  EXPECT_GT(fixture.device->totals().tx_blocked, 0U);
  EXPECT_EQ(arrived(sent.size()), sent);
  EXPECT_TRUE(eventually([&] { return fixture.device->totals().tx_frames == sent.size(); }));
}

TEST_P(NetTrainTest, AHostThatRefusesATrainGetsItsFrames) {
  fixture.nic->refuse_longer_than(500);
  fixture.start();
  const auto frames = datagrams(30);
  send_together(frames);
  EXPECT_EQ(arrived(frames.size()), frames);
  NetTotals totals = fixture.device->totals();
  EXPECT_EQ(totals.tx_frames, 30U);
  EXPECT_EQ(totals.tx_joined, 0U);
  EXPECT_EQ(totals.guest_faults, 0U);
  // It is not asked again.
  const std::uint64_t before = fixture.host->life().counters(1).system_calls.get();
  send_together(frames);
  EXPECT_EQ(fixture.host->life().counters(1).system_calls.get() - before, 30U);
}

TEST_P(NetTrainTest, ADownLinkTakesWholeTrains) {
  fixture.start();
  fixture.nic->fail_with(EIO);
  send_together(datagrams(20));
  EXPECT_EQ(fixture.device->totals().tx_dropped_link_down, 20U);
  fixture.nic->fail_with(0);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetTrainTest, NotWhereTheHostTakesNone) {
  NetFixture poor(GetParam(), [] {
    auto nic = std::make_shared<testing::MemoryNic>();
    nic->mutable_limits().to_host = {Offload::kCsum, Offload::kUso4};
    return nic;
  }());
  poor.start();
  const auto frames = datagrams(2);
  for (unsigned i = 0; i < 2; ++i) {
    ASSERT_TRUE(poor.memory.write(NetFixture::slot(1, i), frames[i]));
    const auto bytes = static_cast<std::uint32_t>(frames[i].size());
    ASSERT_TRUE(poor.driver(1).add({{NetFixture::slot(1, i), bytes, false}}));
  }
  poor.offer(1);
  EXPECT_EQ(poor.get(), frames[0]);
  EXPECT_EQ(poor.get(), frames[1]);
  EXPECT_EQ(poor.device->totals().tx_joined, 0U);
}

TEST_P(NetTrainTest, NotWhereItIsTurnedOff) {
  NetFixture off(GetParam(), 1, {.join_frames = false});
  off.start();
  const auto frames = datagrams(2);
  for (unsigned i = 0; i < 2; ++i) {
    ASSERT_TRUE(off.memory.write(NetFixture::slot(1, i), frames[i]));
    const auto bytes = static_cast<std::uint32_t>(frames[i].size());
    ASSERT_TRUE(off.driver(1).add({{NetFixture::slot(1, i), bytes, false}}));
  }
  off.offer(1);
  EXPECT_EQ(off.get(), frames[0]);
  EXPECT_EQ(off.get(), frames[1]);
  EXPECT_EQ(off.device->totals().tx_joined, 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, NetTrainTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

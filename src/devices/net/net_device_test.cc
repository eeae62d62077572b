#include "devices/net/net_device.h"

#include <gtest/gtest.h>

#include "testing/eventually.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::NetFixture;
using namespace virtio;

constexpr std::uint64_t without(std::uint64_t features, std::initializer_list<unsigned> bits) {
  for (const unsigned bit : bits) features &= ~feature_mask(bit);
  return features;
}

class NetDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  NetFixture fixture{GetParam(), 1, {.id = "net0", .mtu = 1500}};
  [[nodiscard]] std::uint64_t all() const { return fixture.device->traits().features; }
};

TEST_P(NetDeviceTest, CarriesFramesBothWays) {
  fixture.start();
  for (unsigned i = 0; i < 300; ++i) {
    const auto frame = NetFixture::frame(60 + i * 5, i);
    fixture.give_buffers(1, 2048);
    fixture.put(frame);
    const auto got = fixture.receive();
    ASSERT_TRUE(NetFixture::same_frame(got, frame)) << i;
    EXPECT_EQ(NetFixture::header_of(got).num_buffers, 1U);
    ASSERT_TRUE(fixture.send(frame));
    const auto sent = fixture.get();
    ASSERT_TRUE(NetFixture::same_frame(sent, frame)) << i;
  }
  const NetTotals totals = fixture.device->totals();
  EXPECT_EQ(totals.rx_frames, 300U);
  EXPECT_EQ(totals.tx_frames, 300U);
  EXPECT_EQ(totals.rx_bytes, totals.tx_bytes);
  EXPECT_EQ(totals.guest_faults, 0U);
}

TEST_P(NetDeviceTest, MergesBuffersForLongFrames) {
  fixture.start();
  // Short and long ones in turn, so that the guess at the room is wrong both ways.
  for (const std::size_t bytes : {60UL, 5000UL, 60UL, 60UL, 65000UL, 1514UL, 65000UL, 65549UL}) {
    const auto frame = NetFixture::frame(bytes, static_cast<unsigned>(bytes));
    fixture.give_buffers(48, 1536);
    fixture.put(frame);
    const auto got = fixture.receive();
    ASSERT_TRUE(NetFixture::same_frame(got, frame)) << bytes;
    EXPECT_EQ(NetFixture::header_of(got).num_buffers, (frame.size() + 1535) / 1536);
    fixture.restart(all());
  }
}

TEST_P(NetDeviceTest, UsesBuffersThatAreChains) {
  fixture.start(without(all(), {kNetFeatureMrgRxbuf}));
  const GuestAddress at = NetFixture::slot(0, 0);
  const GuestAddress rest = NetFixture::slot(0, 1);
  ASSERT_TRUE(fixture.driver(0).add({{at, 5, true},
                                     {rest, 7, true},
                                     {NetFixture::slot(0, 2), 20, true},
                                     {NetFixture::slot(0, 3), 2000, true}}));
  fixture.offer(0);
  const auto frame = NetFixture::frame(500, 3);
  fixture.put(frame);
  const auto used = fixture.wait_used(0);
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->length, frame.size());
  std::vector<std::byte> got(frame.size());
  ASSERT_TRUE(fixture.memory.read(at, std::span(got).first(5)));
  ASSERT_TRUE(fixture.memory.read(rest, std::span(got).subspan(5, 7)));
  ASSERT_TRUE(fixture.memory.read(NetFixture::slot(0, 2), std::span(got).subspan(12, 20)));
  ASSERT_TRUE(fixture.memory.read(NetFixture::slot(0, 3), std::span(got).subspan(32)));
  EXPECT_TRUE(NetFixture::same_frame(got, frame));
  EXPECT_EQ(NetFixture::header_of(got).num_buffers, 1U);
}

TEST_P(NetDeviceTest, SendsFramesThatLieInPieces) {
  fixture.start();
  const auto frame = NetFixture::frame(3000, 9);
  const auto part = [&](unsigned slot, std::size_t from, std::size_t bytes) {
    EXPECT_TRUE(
        fixture.memory.write(NetFixture::slot(1, slot), std::span(frame).subspan(from, bytes)));
    return FakeDriver::Buffer{NetFixture::slot(1, slot), static_cast<std::uint32_t>(bytes), false};
  };
  for (const std::size_t cut : {1UL, 11UL, 12UL, 13UL, 26UL, 1000UL}) {
    ASSERT_TRUE(fixture.driver(1).add(
        {part(0, 0, cut), part(1, cut, 2000 - cut), part(2, 2000, frame.size() - 2000)}));
    fixture.offer(1);
    ASSERT_TRUE(fixture.wait_used(1).has_value());
    EXPECT_TRUE(NetFixture::same_frame(fixture.get(), frame)) << cut;
  }
}

TEST_P(NetDeviceTest, WaitsForBuffersWithoutSpinning) {
  fixture.start();
  const auto frame = NetFixture::frame(100, 1);
  for (int i = 0; i < 5; ++i) fixture.put(frame);
  fixture.settle();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::uint64_t calls = fixture.loop_calls();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(fixture.loop_calls() - calls, 8U) << "a readable wire, and no buffers";
  fixture.give_buffers(5, 2048);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(NetFixture::same_frame(fixture.receive(), frame));
  EXPECT_GE(fixture.device->totals().rx_starved, 1U);
}

TEST_P(NetDeviceTest, SleepsWhileBuffersWaitForFrames) {
  fixture.start();
  fixture.give_buffers(32, 2048);
  fixture.settle();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::uint64_t calls = fixture.loop_calls();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(fixture.loop_calls() - calls, 8U);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, AFullWireHoldsFramesBackAndLosesNone) {
  fixture.start();
  constexpr unsigned kFrames = 60;
  constexpr std::size_t kBytes = 30000;
  for (unsigned i = 0; i < kFrames; ++i) {
    const auto frame = NetFixture::frame(kBytes, i);
    ASSERT_TRUE(fixture.memory.write(NetFixture::slot(1, i), frame));
    ASSERT_TRUE(fixture.driver(1).add(
        {{NetFixture::slot(1, i), static_cast<std::uint32_t>(frame.size()), false}}));
  }
  fixture.offer(1);
  ASSERT_TRUE(eventually([&] { return fixture.device->totals().tx_blocked != 0; }));
  for (unsigned i = 0; i < kFrames; ++i) {
    ASSERT_TRUE(NetFixture::same_frame(fixture.get(), NetFixture::frame(kBytes, i))) << i;
  }
  for (unsigned i = 0; i < kFrames; ++i) ASSERT_TRUE(fixture.wait_used(1).has_value());
  EXPECT_EQ(fixture.device->totals().tx_frames, kFrames);
}

TEST_P(NetDeviceTest, AResetDoesNotWaitForAFullWire) {
  fixture.start();
  for (unsigned i = 0; i < 60; ++i) {
    ASSERT_TRUE(fixture.memory.write(NetFixture::slot(1, i), NetFixture::frame(30000, i)));
    ASSERT_TRUE(fixture.driver(1).add({{NetFixture::slot(1, i), 30012, false}}));
  }
  fixture.offer(1);
  ASSERT_TRUE(eventually([&] { return fixture.device->totals().tx_blocked != 0; }));
  fixture.restart(all());
  std::vector<std::byte> frame(kNetHeaderBytes + kMaxFrameBytes);
  while (fixture.nic->get(frame) != 0) {
  }
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, AFrameWaitsForMoreBuffersAndIsNotTorn) {
  fixture.start();
  const auto frame = NetFixture::frame(20000, 5);
  const auto after = NetFixture::frame(70, 6);
  // The device waits 100 ms: where the machine has stood still for longer it is tried again.
  for (int attempt = 0; attempt < 20; ++attempt) {
    const NetTotals before = fixture.device->totals();
    fixture.give_buffers(4, 1536);
    fixture.put(frame);
    fixture.put(after);
    ASSERT_TRUE(
        eventually([&] { return fixture.device->totals().rx_starved != before.rx_starved; }));
    fixture.pause_and_resume();
    const unsigned used = fixture.driver(0).used_idx();
    fixture.give_buffers(30, 1536);
    const auto received = fixture.receive();
    if (fixture.device->totals().rx_dropped_no_room != before.rx_dropped_no_room) {
      fixture.restart(all());
      continue;
    }
    EXPECT_EQ(used, 0U) << "none of its buffers may be seen before all are";
    EXPECT_TRUE(NetFixture::same_frame(received, frame));
    EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), after));
    return;
  }
  FAIL() << "it does not wait";
}

TEST_P(NetDeviceTest, AFrameThatNeverFitsIsDroppedInTheEnd) {
  fixture.start();
  fixture.give_buffers(4, 1536);
  fixture.put(NetFixture::frame(20000, 5));
  const auto after = NetFixture::frame(70, 6);
  fixture.put(after);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), after));
  EXPECT_EQ(fixture.device->totals().rx_dropped_no_room, 1U);
  // Without mergeable buffers there is nothing to wait for.
  fixture.restart(without(all(), {kNetFeatureMrgRxbuf}));
  fixture.give_buffers(4, 1536);
  fixture.put(NetFixture::frame(20000, 5));
  fixture.put(after);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), after));
  EXPECT_EQ(fixture.device->totals().rx_dropped_no_room, 2U);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, WithoutALinkFramesAreDroppedBothWays) {
  fixture.start();
  fixture.give_buffers(8, 2048);
  EXPECT_EQ(fixture.config().status & kNetStatusLinkUp, kNetStatusLinkUp);
  fixture.device->set_link(false);
  EXPECT_EQ(fixture.host->config_changes(), 1);
  EXPECT_EQ(fixture.config().status & kNetStatusLinkUp, 0);
  fixture.put(NetFixture::frame(100, 1));
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 2)));
  ASSERT_TRUE(eventually([&] { return fixture.device->totals().rx_dropped_link_down == 1; }));
  EXPECT_EQ(fixture.device->totals().tx_dropped_link_down, 1U);
  fixture.device->set_link(false);
  EXPECT_EQ(fixture.host->config_changes(), 1) << "nothing has changed";
  fixture.device->set_link(true);
  EXPECT_EQ(fixture.host->config_changes(), 2);
  const auto frame = NetFixture::frame(100, 3);
  fixture.put(frame);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), frame));
  ASSERT_TRUE(fixture.send(frame));
  EXPECT_TRUE(NetFixture::same_frame(fixture.get(), frame));
}

TEST_P(NetDeviceTest, ConfigurationSpace) {
  fixture.start();
  const NetConfig config = fixture.config();
  EXPECT_EQ(config.mac[0], 0x02);
  EXPECT_EQ(config.mac[5], 0x06);
  EXPECT_EQ(config.mtu, 1500U);
  EXPECT_EQ(config.max_virtqueue_pairs, 1U);
  const std::byte other{0x55};
  fixture.device->write_config(0, {&other, 1});
  EXPECT_EQ(fixture.config().mac[0], 0x02) << "5.1.4: read-only for the driver";
  std::array<std::byte, 2> mtu{};
  fixture.device->read_config(offsetof(NetConfig, mtu), mtu);
  EXPECT_EQ(std::to_integer<unsigned>(mtu[0]), 1500U & 0xff);
}

TEST_P(NetDeviceTest, OffersWhatTheBackEndCanDo) {
  const std::uint64_t features = all();
  for (const unsigned bit : {kNetFeatureCsum, kNetFeatureGuestTso4, kNetFeatureHostUso,
                             kNetFeatureMrgRxbuf, kNetFeatureMtu, kNetFeatureGuestAnnounce}) {
    EXPECT_NE(features & feature_mask(bit), 0U) << bit;
  }
  EXPECT_EQ(features & feature_mask(kNetFeatureMq), 0U) << "one pair only";
  auto plain = std::make_shared<testing::MemoryNic>(2);
  plain->mutable_limits().to_host = {Offload::kCsum};
  plain->mutable_limits().to_guest = {};
  const NetDevice device(plain, {});
  EXPECT_NE(device.traits().features & feature_mask(kNetFeatureCsum), 0U);
  EXPECT_EQ(device.traits().features & feature_mask(kNetFeatureHostTso4), 0U);
  EXPECT_EQ(device.traits().features & feature_mask(kNetFeatureGuestCsum), 0U);
  EXPECT_EQ(device.traits().features & feature_mask(kNetFeatureMtu), 0U);
  EXPECT_NE(device.traits().features & feature_mask(kNetFeatureMq), 0U);
  EXPECT_EQ(device.traits().queue_count, 5U);
}

TEST_P(NetDeviceTest, TheBackEndIsToldWhatTheDriverTakes) {
  fixture.start(without(all(), {kNetFeatureGuestTso6, kNetFeatureGuestUfo}));
  const Offloads offloads = fixture.nic->guest_offloads();
  EXPECT_TRUE(offloads.has(Offload::kCsum));
  EXPECT_TRUE(offloads.has(Offload::kTso4));
  EXPECT_FALSE(offloads.has(Offload::kTso6));
  EXPECT_FALSE(offloads.has(Offload::kUfo));
  // What was negotiated against the standard's rules does not count (5.1.3.1).
  fixture.restart(without(all(), {kNetFeatureGuestCsum}));
  EXPECT_TRUE(fixture.nic->guest_offloads().empty());
  fixture.stop();
  EXPECT_TRUE(fixture.nic->guest_offloads().empty());
}

TEST_P(NetDeviceTest, FramesFromBeforeWithForeignOffloadsAreNotShown) {
  fixture.start(without(all(), {kNetFeatureGuestCsum, kNetFeatureGuestTso4}));
  fixture.give_buffers(8, 2048);
  fixture.put(NetFixture::frame(100, 1, NetFixture::kMac, {.flags = kNetHeaderNeedsCsum}));
  fixture.put(
      NetFixture::frame(1000, 1, NetFixture::kMac, {.gso_type = kNetGsoTcp4, .gso_size = 100}));
  auto good = NetFixture::frame(100, 4, NetFixture::kMac, {.flags = kNetHeaderDataValid});
  fixture.put(good);
  const auto got = fixture.receive();
  EXPECT_TRUE(NetFixture::same_frame(got, good));
  EXPECT_EQ(NetFixture::header_of(got).flags, 0U);
  EXPECT_EQ(fixture.device->totals().rx_dropped_error, 2U);
}

TEST_P(NetDeviceTest, AHostThatRefusesIsAnErrorAtTheStart) {
  fixture.nic->refuse_settings(true);
  std::vector<QueueRunner*> runners(3, nullptr);
  EXPECT_FALSE(fixture.device->activate(all(), runners));
  fixture.nic->refuse_settings(false);
  fixture.start();
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, QueuesThatNothingUsesAreLeftAlone) {
  NetFixture several(GetParam(), 4);
  // Without MQ the control queue is the third one; the rest has no meaning.
  several.start(without(several.device->traits().features, {kNetFeatureMq}));
  const std::uint8_t on = 1;
  EXPECT_EQ(several.command(kNetControlRx, kNetControlRxPromisc,
                            {reinterpret_cast<const std::byte*>(&on), 1}, 2),
            kNetControlOk);
  ASSERT_TRUE(several.driver(5).add({{NetFixture::slot(5, 0), 100, false}}));
  several.offer(5);
  several.kick(5);
  several.settle();
  EXPECT_FALSE(several.driver(5).reap().has_value());
  EXPECT_TRUE(several.works());
}

// ---- bad-inputs.md, row 26 ----

TEST_P(NetDeviceTest, Row26HeadersThatMakeNoSense) {
  fixture.start();
  const std::size_t bytes = 1000;
  struct Case {
    const char* what;
    NetHeader header;
  };
  const Case cases[] = {
      {"csum_start past the end", {.flags = 1, .csum_start = 1000, .csum_offset = 0}},
      {"csum_offset past the end", {.flags = 1, .csum_start = 34, .csum_offset = 0xffff}},
      {"csum_start in the Ethernet header", {.flags = 1, .csum_start = 2, .csum_offset = 0}},
      {"the last byte only", {.flags = 1, .csum_start = 990, .csum_offset = 9}},
      {"unknown gso_type",
       {.flags = 1, .gso_type = 2, .gso_size = 100, .csum_start = 34, .csum_offset = 16}},
      {"gso_type of all bits",
       {.flags = 1, .gso_type = 0xff, .gso_size = 100, .csum_start = 34, .csum_offset = 16}},
      {"ECN of a datagram",
       {.flags = 1, .gso_type = 0x85, .gso_size = 100, .csum_start = 34, .csum_offset = 6}},
      {"ECN alone",
       {.flags = 1, .gso_type = 0x80, .gso_size = 100, .csum_start = 34, .csum_offset = 16}},
      {"gso_size 0",
       {.flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34, .csum_offset = 16}},
      {"segments without a checksum", {.flags = 0, .gso_type = 1, .gso_size = 100}},
      {"hdr_len past the end",
       {.flags = 1,
        .gso_type = 1,
        .hdr_len = 2000,
        .gso_size = 100,
        .csum_start = 34,
        .csum_offset = 16}},
  };
  for (const Case& one : cases) {
    const std::uint64_t before = fixture.device->totals().guest_faults;
    EXPECT_TRUE(fixture.send(NetFixture::frame(bytes, 1, NetFixture::kMac, one.header)))
        << one.what;
    EXPECT_EQ(fixture.device->totals().guest_faults, before + 1) << one.what;
  }
  EXPECT_EQ(fixture.device->totals().tx_frames, 0U);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, Row26FramesTooShortAndTooLong) {
  fixture.start();
  for (const std::size_t bytes : {0UL, 1UL, 13UL}) {
    EXPECT_TRUE(fixture.send(NetFixture::frame(bytes)));
  }
  for (const std::uint32_t header : {1U, 11U}) {
    ASSERT_TRUE(fixture.driver(1).add({{NetFixture::slot(1, 0), header, false}}));
    fixture.offer(1);
    EXPECT_TRUE(fixture.wait_used(1).has_value());
  }
  // Nothing to read at all.
  ASSERT_TRUE(fixture.driver(1).add({{NetFixture::slot(1, 0), 100, true}}));
  fixture.offer(1);
  EXPECT_TRUE(fixture.wait_used(1).has_value());
  EXPECT_EQ(fixture.device->totals().guest_faults, 6U);
  EXPECT_TRUE(fixture.send(NetFixture::frame(kMaxFrameBytes + 1)));
  EXPECT_EQ(fixture.device->totals().guest_faults, 7U);
  EXPECT_TRUE(fixture.send(NetFixture::frame(kMaxFrameBytes)));
  EXPECT_EQ(fixture.get().size(), kNetHeaderBytes + kMaxFrameBytes);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, Row26OffloadsThatWereNotNegotiated) {
  const NetHeader tso{
      .flags = 1, .gso_type = kNetGsoTcp4, .gso_size = 100, .csum_start = 34, .csum_offset = 16};
  fixture.start(without(all(), {kNetFeatureHostTso4}));
  EXPECT_TRUE(fixture.send(NetFixture::frame(1000, 1, NetFixture::kMac, tso)));
  EXPECT_EQ(fixture.device->totals().guest_faults, 1U);
  fixture.restart(without(all(), {kNetFeatureCsum}));
  EXPECT_TRUE(fixture.send(NetFixture::frame(1000, 1, NetFixture::kMac, tso)));
  EXPECT_TRUE(fixture.send(NetFixture::frame(1000, 1, NetFixture::kMac,
                                             {.flags = 1, .csum_start = 34, .csum_offset = 16})));
  EXPECT_EQ(fixture.device->totals().guest_faults, 3U);
  fixture.restart(all());
  EXPECT_TRUE(fixture.send(NetFixture::frame(1000, 1, NetFixture::kMac, tso)));
  const auto sent = fixture.get();
  EXPECT_EQ(NetFixture::header_of(sent).gso_size, 100U);
  EXPECT_EQ(NetFixture::header_of(sent).gso_type, kNetGsoTcp4);
}

TEST_P(NetDeviceTest, Row26ReceiveBuffersTooSmallForAnything) {
  fixture.start();
  ASSERT_TRUE(fixture.driver(0).add({{NetFixture::slot(0, 0), 11, true}}));
  ASSERT_TRUE(fixture.driver(0).add({{NetFixture::slot(0, 1), 100, false}}));
  fixture.offer(0);
  const auto frame = NetFixture::frame(500, 8);
  fixture.put(frame);
  EXPECT_EQ(fixture.wait_used(0)->length, 0U);
  EXPECT_EQ(fixture.wait_used(0)->length, 0U);
  EXPECT_EQ(fixture.device->totals().guest_faults, 2U);
  fixture.give_buffers(1, 2048);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), frame));
  // Among good ones, and just the header: nothing is lost, and num_buffers counts them.
  fixture.give_buffers(60, 12);
  const auto merged = NetFixture::frame(200, 9);
  fixture.put(merged);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), merged));
  EXPECT_EQ(fixture.host->resets_needed(), 0);
}

// ---- row 28 ----

TEST_P(NetDeviceTest, Row28TheInterfaceIsDown) {
  fixture.start();
  fixture.nic->fail_with(EIO);
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
  EXPECT_EQ(fixture.device->totals().tx_dropped_link_down, 1U);
  fixture.nic->fail_with(ENOBUFS);
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
  EXPECT_EQ(fixture.device->totals().tx_dropped_error, 1U);
  fixture.nic->fail_with(EINVAL);
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
  EXPECT_EQ(fixture.device->totals().guest_faults, 1U) << "the host looks closer than we do";
  fixture.nic->fail_with(0);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetDeviceTest, Row28TheInterfaceIsGone) {
  fixture.start();
  fixture.give_buffers(8, 2048);
  fixture.settle();
  fixture.nic->fail_with(EBADFD);
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
  EXPECT_FALSE(fixture.device->link_up());
  EXPECT_EQ(fixture.config().status & kNetStatusLinkUp, 0);
  EXPECT_EQ(fixture.host->config_changes(), 1);
  fixture.put(NetFixture::frame(100, 1));
  fixture.settle();
  const std::uint64_t calls = fixture.loop_calls();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_LE(fixture.loop_calls() - calls, 8U) << "nobody spins on it";
  fixture.restart(all());
  EXPECT_TRUE(fixture.send(NetFixture::frame(100, 1)));
}

TEST_P(NetDeviceTest, Row28TheWireHasAnEnd) {
  fixture.start();
  fixture.give_buffers(8, 2048);
  fixture.nic->hang_up();
  EXPECT_TRUE(eventually([&] { return !fixture.device->link_up(); }));
  const std::uint64_t calls = fixture.loop_calls();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_LE(fixture.loop_calls() - calls, 8U);
  EXPECT_FALSE(fixture.driver(0).reap().has_value());
}

INSTANTIATE_TEST_SUITE_P(Modes, NetDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                           NotifyMode::kPoll, NotifyMode::kAdaptive),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

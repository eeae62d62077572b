// The control queue: what it does, and row 27 of bad-inputs.md.

#include "devices/net/net_control.h"

#include <gtest/gtest.h>

#include "testing/eventually.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::NetFixture;
using namespace virtio;

constexpr MacAddress kOther = 0x0705'0403'0202;
constexpr MacAddress kGroup = 0x0000'005e'0001 | 0x01;

class NetControlTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  explicit NetControlTest(unsigned pairs = 4) : fixture(GetParam(), pairs) { fixture.start(); }

  std::uint8_t raw(std::uint8_t command_class, std::uint8_t command,
                   std::initializer_list<unsigned> bytes) {
    std::vector<std::byte> data;
    for (const unsigned byte : bytes) data.push_back(static_cast<std::byte>(byte));
    return fixture.command(command_class, command, data, control());
  }
  std::uint8_t bytes(std::uint8_t command_class, std::uint8_t command,
                     std::span<const std::byte> data) {
    return fixture.command(command_class, command, data, control());
  }
  [[nodiscard]] unsigned control() const {
    return static_cast<unsigned>(fixture.queues.size() - 1);
  }
  static void append(std::vector<std::byte>& to, std::uint32_t count,
                     std::span<const MacAddress> list) {
    const std::size_t at = to.size();
    to.resize(at + 4 + 6 * list.size());
    std::memcpy(to.data() + at, &count, sizeof count);
    for (std::size_t i = 0; i < list.size(); ++i) store_mac(list[i], to.data() + at + 4 + 6 * i);
  }
  static std::vector<std::byte> tables(std::span<const MacAddress> unicast,
                                       std::span<const MacAddress> multicast) {
    std::vector<std::byte> data;
    append(data, static_cast<std::uint32_t>(unicast.size()), unicast);
    append(data, static_cast<std::uint32_t>(multicast.size()), multicast);
    return data;
  }
  /// Whether a frame to that address reaches the driver: one to all that follows it does.
  bool reaches(MacAddress to, unsigned pair = 0) {
    constexpr MacAddress kBroadcast = 0xffff'ffff'ffff;
    fixture.give_buffers(2, 2048, pair);
    const auto marker = NetFixture::frame(64, 99, kBroadcast);
    const auto frame = NetFixture::frame(64, 1, to);
    fixture.put(frame, pair);
    fixture.put(marker, pair);
    const auto first = fixture.receive(pair);
    if (NetFixture::same_frame(first, marker)) {
      // The buffer left over goes to a frame of the next time.
      fixture.put(marker, pair);
      (void)fixture.receive(pair);
      return false;
    }
    return NetFixture::same_frame(fixture.receive(pair), marker);
  }

  NetFixture fixture;
};

TEST_P(NetControlTest, ReceiveModes) {
  EXPECT_TRUE(reaches(kOther)) << "promiscuous until told otherwise";
  EXPECT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {0}), kNetControlOk);
  EXPECT_FALSE(reaches(kOther));
  EXPECT_TRUE(reaches(NetFixture::kMac));
  EXPECT_EQ(raw(kNetControlRx, kNetControlRxAllUni, {1}), kNetControlOk);
  EXPECT_TRUE(reaches(kOther));
  EXPECT_FALSE(reaches(kGroup));
  EXPECT_EQ(raw(kNetControlRx, kNetControlRxAllMulti, {1}), kNetControlOk);
  EXPECT_TRUE(reaches(kGroup));
  EXPECT_EQ(raw(kNetControlRx, kNetControlRxNoMulti, {1}), kNetControlOk);
  EXPECT_FALSE(reaches(kGroup));
  EXPECT_GE(fixture.device->totals().rx_dropped_filter, 3U);
}

TEST_P(NetControlTest, AddressTables) {
  ASSERT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {0}), kNetControlOk);
  EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet,
                  tables(std::vector{kOther}, std::vector{kGroup})),
            kNetControlOk);
  EXPECT_TRUE(reaches(kOther));
  EXPECT_TRUE(reaches(kGroup));
  EXPECT_FALSE(reaches(kOther + (1ULL << 40)));
  EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet, tables({}, {})), kNetControlOk);
  EXPECT_FALSE(reaches(kOther));
}

TEST_P(NetControlTest, OwnAddress) {
  ASSERT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {0}), kNetControlOk);
  EXPECT_EQ(raw(kNetControlMac, kNetControlMacAddrSet, {2, 2, 3, 4, 5, 7}), kNetControlOk);
  EXPECT_TRUE(reaches(kOther));
  EXPECT_FALSE(reaches(NetFixture::kMac));
  EXPECT_EQ(fixture.config().mac[5], 7);
  fixture.stop();
  EXPECT_EQ(fixture.config().mac[5], 6) << "as at first, for the next driver to read";
  fixture.restart(fixture.device->traits().features);
  EXPECT_EQ(fixture.config().mac[5], 6) << "as at first";
}

TEST_P(NetControlTest, Vlans) {
  ASSERT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {0}), kNetControlOk);
  auto tagged = NetFixture::frame(64, 1);
  tagged[kNetHeaderBytes + 12] = std::byte{0x81};
  tagged[kNetHeaderBytes + 13] = std::byte{0};
  tagged[kNetHeaderBytes + 14] = std::byte{0};
  tagged[kNetHeaderBytes + 15] = std::byte{9};
  fixture.give_buffers(1, 2048);
  fixture.put(tagged);
  ASSERT_TRUE(eventually([&] { return fixture.device->totals().rx_dropped_filter == 1; }));
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanAdd, {9, 0}), kNetControlOk);
  fixture.put(tagged);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), tagged));
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanDel, {9, 0}), kNetControlOk);
}

TEST_P(NetControlTest, Announcement) {
  fixture.device->announce();
  EXPECT_EQ(fixture.config().status, kNetStatusLinkUp | kNetStatusAnnounce);
  EXPECT_EQ(fixture.host->config_changes(), 1);
  EXPECT_EQ(raw(kNetControlAnnounce, kNetControlAnnounceAck, {}), kNetControlOk);
  EXPECT_EQ(fixture.config().status, kNetStatusLinkUp);
  fixture.device->announce();
  fixture.stop();
  EXPECT_EQ(fixture.config().status, kNetStatusLinkUp) << "the next driver is asked for nothing";
  fixture.device->announce();
  EXPECT_EQ(fixture.config().status, kNetStatusLinkUp) << "no driver that could";
}

TEST_P(NetControlTest, QueuePairs) {
  EXPECT_EQ(fixture.config().max_virtqueue_pairs, 4U);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 1U);
  const auto frame = NetFixture::frame(100, 4);
  // Frames for a pair that is not in use stay where they are, and those from it go nowhere.
  fixture.give_buffers(1, 2048, 2);
  fixture.put(frame, 2);
  EXPECT_TRUE(fixture.send(frame, 2));
  EXPECT_EQ(fixture.device->totals().guest_faults, 1U);
  fixture.settle();
  EXPECT_FALSE(fixture.driver(4).reap().has_value());
  EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {3, 0}), kNetControlOk);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 3U);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(2), frame));
  for (unsigned pair = 0; pair < 3; ++pair) {
    EXPECT_TRUE(reaches(NetFixture::kMac, pair)) << pair;
    EXPECT_TRUE(fixture.send(frame, pair));
    EXPECT_TRUE(NetFixture::same_frame(fixture.get(pair), frame)) << pair;
  }
  EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {1, 0}), kNetControlOk);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 1U);
  EXPECT_TRUE(reaches(NetFixture::kMac, 0));
  EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {4, 0}), kNetControlOk);
  fixture.restart(fixture.device->traits().features);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 1U);
  // Nor does the device keep the pairs of the driver before.
  const std::uint64_t faults = fixture.device->totals().guest_faults;
  EXPECT_TRUE(fixture.send(frame, 2));
  EXPECT_EQ(fixture.device->totals().guest_faults, faults + 1);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetControlTest, OffloadsAtRunTime) {
  EXPECT_EQ(fixture.nic->guest_offloads(), Offloads::all());
  const std::uint64_t some =
      feature_mask(kNetFeatureGuestCsum) | feature_mask(kNetFeatureGuestTso4);
  EXPECT_EQ(fixture.command(kNetControlGuestOffloads, kNetControlGuestOffloadsSet, some),
            kNetControlOk);
  EXPECT_EQ(fixture.nic->guest_offloads(), (Offloads{Offload::kCsum, Offload::kTso4}));
  EXPECT_EQ(
      fixture.command(kNetControlGuestOffloads, kNetControlGuestOffloadsSet, std::uint64_t{0}),
      kNetControlOk);
  EXPECT_TRUE(fixture.nic->guest_offloads().empty());
}

TEST_P(NetControlTest, Row27QueuePairsOutOfRange) {
  for (const unsigned pairs : {0U, 5U, 255U}) {
    EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {pairs, 0}), kNetControlError) << pairs;
  }
  EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {1, 0x80}), kNetControlError);
  EXPECT_EQ(raw(kNetControlMq, 1, {1, 0}), kNetControlError) << "RSS, which is not offered";
  EXPECT_EQ(fixture.nic->pairs_in_use(), 1U);
  fixture.nic->refuse_settings(true);
  EXPECT_EQ(raw(kNetControlMq, kNetControlMqPairsSet, {2, 0}), kNetControlError);
  fixture.nic->refuse_settings(false);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetControlTest, Row27AddressTablesThatOverflow) {
  ASSERT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {0}), kNetControlOk);
  const std::vector<MacAddress> many(5000, NetFixture::kMac);
  EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet, tables(many, many)), kNetControlOk);
  EXPECT_TRUE(reaches(kOther));
  EXPECT_TRUE(reaches(kGroup));
  // Counts that lie about what follows.
  for (const std::uint32_t count : {2U, 0x2aaaaaabU, 0x7fffffffU, 0xffffffffU}) {
    std::vector<std::byte> data;
    append(data, count, std::vector{kOther});
    EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet, data), kNetControlError) << count;
    data.clear();
    append(data, 0, {});
    append(data, count, std::vector{kGroup});
    EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet, data), kNetControlError) << count;
  }
  auto surplus = tables({}, {});
  surplus.push_back(std::byte{0});
  EXPECT_EQ(bytes(kNetControlMac, kNetControlMacTableSet, surplus), kNetControlError);
  EXPECT_TRUE(reaches(kOther)) << "a command that is refused changes nothing";
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetControlTest, Row27CommandsCutShort) {
  for (const unsigned command_class : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 255U}) {
    for (const unsigned command : {0U, 1U, 5U, 6U, 255U}) {
      // No command takes three bytes.
      EXPECT_EQ(raw(static_cast<std::uint8_t>(command_class), static_cast<std::uint8_t>(command),
                    {1, 0, 0}),
                kNetControlError)
          << command_class << "." << command;
    }
  }
  EXPECT_EQ(raw(kNetControlRx, kNetControlRxPromisc, {}), kNetControlError);
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanAdd, {0xff, 0xff}), kNetControlError);
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanAdd, {0x00, 0x10}), kNetControlError) << "4096";
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanDel, {0x00, 0x10}), kNetControlError) << "4096";
  EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanAdd, {0xff, 0x0f}), kNetControlOk) << "the last";
  EXPECT_EQ(raw(kNetControlMac, kNetControlMacTableSet, {}), kNetControlError);
  const std::uint64_t foreign = 1;
  EXPECT_EQ(fixture.command(kNetControlGuestOffloads, kNetControlGuestOffloadsSet, foreign),
            kNetControlError);
  EXPECT_TRUE(fixture.works());
}

TEST_P(NetControlTest, Row27FramingOfCommands) {
  const unsigned queue = control();
  const GuestAddress at = NetFixture::slot(queue, 0);
  const std::array<std::byte, 3> promisc_off{};
  ASSERT_TRUE(fixture.memory.write(at, promisc_off));
  // Without a place for the answer: not done.
  ASSERT_TRUE(fixture.driver(queue).add({{at, 3, false}}));
  fixture.offer(queue);
  EXPECT_EQ(fixture.wait_used(queue)->length, 0U);
  EXPECT_TRUE(reaches(kOther));
  // Nothing to read; half a header.
  for (const std::uint32_t bytes : {0U, 1U}) {
    const GuestAddress answer = NetFixture::slot(queue, 1);
    if (bytes == 0) {
      ASSERT_TRUE(fixture.driver(queue).add({{answer, 1, true}}));
    } else {
      ASSERT_TRUE(fixture.driver(queue).add({{at, bytes, false}, {answer, 1, true}}));
    }
    fixture.offer(queue);
    EXPECT_EQ(fixture.wait_used(queue)->length, 1U);
    std::byte status{};
    ASSERT_TRUE(fixture.memory.read(answer, {&status, 1}));
    EXPECT_EQ(status, std::byte{kNetControlError});
  }
  // In as many pieces as it has bytes: legal.
  const GuestAddress rest(at.value() + 1);
  ASSERT_TRUE(fixture.driver(queue).add({{at, 1, false},
                                         {rest, 1, false},
                                         {GuestAddress(at.value() + 2), 1, false},
                                         {NetFixture::slot(queue, 1), 1, true}}));
  fixture.offer(queue);
  EXPECT_EQ(fixture.wait_used(queue)->length, 1U);
  EXPECT_FALSE(reaches(kOther));
}

TEST_P(NetControlTest, CommandsThatWereNotNegotiatedAreRefused) {
  const std::uint64_t features = fixture.device->traits().features;
  for (const unsigned bit :
       {kNetFeatureCtrlRx, kNetFeatureCtrlRxExtra, kNetFeatureCtrlVlan, kNetFeatureGuestAnnounce,
        kNetFeatureCtrlMacAddr, kNetFeatureCtrlGuestOffloads}) {
    fixture.restart(features & ~feature_mask(bit));
    const auto expected = [bit](unsigned of) {
      return bit == of ? kNetControlError : kNetControlOk;
    };
    EXPECT_EQ(raw(kNetControlRx, kNetControlRxAllMulti, {0}), expected(kNetFeatureCtrlRx));
    EXPECT_EQ(raw(kNetControlRx, kNetControlRxNoUni, {0}), expected(kNetFeatureCtrlRxExtra));
    EXPECT_EQ(raw(kNetControlVlan, kNetControlVlanAdd, {1, 0}), expected(kNetFeatureCtrlVlan));
    EXPECT_EQ(raw(kNetControlAnnounce, kNetControlAnnounceAck, {}),
              expected(kNetFeatureGuestAnnounce));
    EXPECT_EQ(raw(kNetControlMac, kNetControlMacAddrSet, {2, 2, 3, 4, 5, 6}),
              expected(kNetFeatureCtrlMacAddr));
    EXPECT_EQ(
        fixture.command(kNetControlGuestOffloads, kNetControlGuestOffloadsSet, std::uint64_t{0}),
        expected(kNetFeatureCtrlGuestOffloads));
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, NetControlTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

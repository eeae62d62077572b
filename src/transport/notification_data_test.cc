// VIRTIO_F_NOTIFICATION_DATA: notifications say how far the driver has come (virtio 1.3, 2.9).
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <tuple>

#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;
using Kind = TransportFixture::Kind;

constexpr std::uint64_t kData = feature_mask(kFeatureNotificationData);

class NotificationDataTest : public ::testing::TestWithParam<std::tuple<Kind, NotifyMode>> {
 protected:
  static Kind kind() { return std::get<0>(GetParam()); }
  static NotifyMode mode() { return std::get<1>(GetParam()); }
  static bool mmio() { return kind() == Kind::kMmio; }

  /// One request there and back, with a notification in any case that says `next`.
  static bool echoes(TransportFixture& fixture, std::uint16_t queue, std::uint8_t value,
                     std::uint16_t next) {
    fixture.add(queue, value);
    (void)fixture.rings[queue].offer();
    fixture.driver->kick_with_data(queue, next);
    return fixture.reap(queue) && fixture.answer(queue) == value;
  }

  TransportFixture fixture_{kind(), mode(), kData};
};

TEST_P(NotificationDataTest, WhatIsSaidOfTheRingIsAHintAtMost) {
  ASSERT_TRUE(fixture_.bring_up());
  std::uint8_t value = 0;
  for (std::uint16_t i = 0; i < 40; ++i) {
    for (const std::uint16_t next : {i, std::uint16_t{0}, std::uint16_t{0x7fff},
                                     std::uint16_t{0x8001}, std::uint16_t{0xffff}}) {
      ASSERT_TRUE(echoes(fixture_, i % 2, ++value, next)) << i << ", " << next;
    }
  }
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
  EXPECT_EQ(fixture_.life->counters(0).broken.get(), 0U);
}

TEST_P(NotificationDataTest, KicksAreEventsWhereTheyCanBe) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(echoes(fixture_, 0, 1, 1));
  ASSERT_TRUE(echoes(fixture_, 1, 2, 1));
  const bool events = !mmio() && mode() != NotifyMode::kSync;
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), events ? TransportFixture::kQueues : 0U);
  EXPECT_EQ(fixture_.life->counters(0).kicks_by_exit.get() == 0, events);
  // One register for all queues, and none of KVM's: polled queues still are, others wait.
  if (mmio() && mode() != NotifyMode::kPoll) {
    EXPECT_EQ(fixture_.life->notify_mode(1), NotifyMode::kSync);
  }
  if (mmio() && mode() == NotifyMode::kPoll) {
    EXPECT_EQ(fixture_.life->notify_mode(1), NotifyMode::kPoll);
  }
  fixture_.life->pause();
  fixture_.life->resume();
  EXPECT_TRUE(echoes(fixture_, 0, 3, 2));
  fixture_.driver->set_status(0);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

TEST_P(NotificationDataTest, ADeviceOfOneQueueHasAnEventOnVirtioMmioToo) {
  TransportFixture one(kind(), mode(), kData, 1);
  ASSERT_TRUE(one.bring_up());
  EXPECT_EQ(one.vm.ioeventfds().size(), mode() == NotifyMode::kSync ? 0U : 1U);
  for (std::uint8_t i = 0; i < 20; ++i) ASSERT_TRUE(echoes(one, 0, i, i));
  // Not negotiated the next time: the value says the queue and nothing else again.
  ASSERT_TRUE(one.driver->bring_up(TransportFixture::features(), [&] {
    one.driver->set_status(0);
    one.lay_out_rings();
    return one.configs();
  }()));
  for (std::uint8_t i = 0; i < 20; ++i) ASSERT_TRUE(one.echoes(0, i));
  EXPECT_EQ(one.life->guest_faults(), 0U);
  one.driver->set_status(0);
  EXPECT_TRUE(one.vm.ioeventfds().empty());
  EXPECT_EQ(one.binder.bad_detaches(), 0U);
}

// Row 16.
TEST_P(NotificationDataTest, WrongQueuesAndWrongTimesDoNothing) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(echoes(fixture_, 0, 1, 1));
  fixture_.driver->kick_with_data(99, 7);
  EXPECT_EQ(fixture_.life->guest_faults(), 1U);
  // On virtio-pci the address says which queue, whatever the value does.
  if (fixture_.pci) {
    fixture_.add(0, 9);
    (void)fixture_.rings[0].offer();
    fixture_.port.store(fixture_.pci->notify_address(0), 0xffff'0001, 4);
    EXPECT_TRUE(fixture_.reap(0));
  }
  fixture_.driver->set_status(0);
  fixture_.driver->kick_with_data(0, 1);
  // Without the feature such a value is a queue that is not there, on virtio-mmio.
  ASSERT_TRUE(fixture_.driver->bring_up(TransportFixture::features(), [&] {
    fixture_.lay_out_rings();
    return fixture_.configs();
  }()));
  if (mmio()) {
    const std::uint64_t before = fixture_.life->guest_faults();
    fixture_.driver->kick_with_data(0, 1);
    EXPECT_EQ(fixture_.life->guest_faults(), before + 1);
  }
  EXPECT_TRUE(fixture_.echoes(0, 3));
}

INSTANTIATE_TEST_SUITE_P(Transports, NotificationDataTest,
                         ::testing::Combine(::testing::Values(Kind::kPci, Kind::kMmio),
                                            ::testing::Values(NotifyMode::kIoEventFd,
                                                              NotifyMode::kSync, NotifyMode::kPoll,
                                                              NotifyMode::kAdaptive)),
                         [](const auto& one) {
                           return std::string(std::get<0>(one.param) == Kind::kMmio ? "mmio_"
                                                                                    : "pci_") +
                                  to_string(std::get<1>(one.param));
                         });

}  // namespace
}  // namespace bellhop

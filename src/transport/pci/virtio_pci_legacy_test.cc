// A transitional device as a driver of before virtio 1.0 meets it: registers in ports.
#include <gtest/gtest.h>

#include "testing/transport_fixture.h"
#include "virtio/abi/pci_legacy.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::TransportFixture;

constexpr std::uint8_t kUp = kStatusAcknowledge | kStatusDriver | kStatusDriverOk;
constexpr std::uint16_t kSize = 64;  // the echo's: a legacy driver has no choice

class VirtioPciLegacyTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  VirtioPciLegacyTest() : fixture_(TransportFixture::Kind::kPciTransitional, GetParam()) {
    EXPECT_TRUE(fixture_.pci->probe());
    fixture_.pci->set_command(kPciCommandIo | kPciCommandMemory | kPciCommandBusMaster);
    base_ = static_cast<std::uint16_t>(fixture_.pci->config_read(kPciBar0Offset, 4) & ~3U);
  }

  std::uint32_t in(std::uint32_t offset, unsigned width) {
    return fixture_.port.in(static_cast<std::uint16_t>(base_ + offset), width);
  }
  void out(std::uint32_t offset, std::uint32_t value, unsigned width) {
    fixture_.port.out(static_cast<std::uint16_t>(base_ + offset), value, width);
  }
  void kick(std::uint16_t queue) { out(kLegacyQueueNotify, queue, 2); }

  /// As Linux' virtio_pci_legacy does.
  void bring_up(std::uint32_t features = EchoFeatures) {
    out(kLegacyDeviceStatus, 0, 1);
    out(kLegacyDeviceStatus, kStatusAcknowledge, 1);
    out(kLegacyDeviceStatus, kStatusAcknowledge | kStatusDriver, 1);
    out(kLegacyDriverFeatures, features, 4);
    fixture_.rings.clear();
    for (std::uint16_t i = 0; i < TransportFixture::kQueues; ++i) {
      const GuestAddress at{TransportFixture::kRings.value() + 0x10000 * std::uint64_t{i}};
      fixture_.rings.emplace_back(fixture_.memory, at, kSize, RingFeatures{}, kLegacyPage);
      out(kLegacyQueueSelect, i, 2);
      EXPECT_EQ(in(kLegacyQueueSize, 2), kSize);
      EXPECT_EQ(in(kLegacyQueueAddress, 4), 0U);
      out(kLegacyQueueAddress, static_cast<std::uint32_t>(at.value() >> kLegacyPageShift), 4);
      fixture_.pci->write_vector(i + 1U, TransportFixture::message(i + 1U).address,
                                 TransportFixture::message(i + 1U).data, false);
      out(kLegacyQueueVector, i + 1U, 2);
      EXPECT_EQ(in(kLegacyQueueVector, 2), i + 1U);
    }
    out(kLegacyDeviceStatus, kUp, 1);
  }
  bool echoes(std::uint16_t queue, std::uint8_t value) {
    fixture_.add(queue, value);
    if (fixture_.rings[queue].offer()) kick(queue);
    return fixture_.reap(queue) && fixture_.answer(queue) == value;
  }

  static constexpr std::uint32_t EchoFeatures =
      static_cast<std::uint32_t>(testing::EchoDevice::kFeature);
  TransportFixture fixture_;
  std::uint16_t base_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Modes, VirtioPciLegacyTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) {
                           return which.param == NotifyMode::kSync ? "sync" : "ioeventfd";
                         });

TEST_P(VirtioPciLegacyTest, IsKnownByItsTransitionalId) {
  EXPECT_EQ(fixture_.pci->config_read(kPciDeviceIdOffset, 2), 0x1005U);  // the echo is an rng
  EXPECT_EQ(fixture_.pci->config_read(kPciRevisionOffset, 1), 0U);
  EXPECT_EQ(fixture_.pci->config_read(kPciSubsystemIdOffset, 2), 4U);
  EXPECT_EQ(fixture_.pci->config_read(kPciBar0Offset, 4) & 1U, 1U);
  fixture_.pci->config_write(kPciBar0Offset, UINT32_MAX, 4);
  EXPECT_EQ(fixture_.pci->config_read(kPciBar0Offset, 4), 0xffff'ffc1U) << "64 ports";
}

TEST_P(VirtioPciLegacyTest, RequestsGoThereAndBack) {
  bring_up();
  EXPECT_EQ(in(kLegacyDeviceStatus, 1), kUp);
  EXPECT_TRUE(echoes(0, 1));
  EXPECT_TRUE(echoes(1, 2));
  EXPECT_TRUE(echoes(0, 3));
  EXPECT_EQ(fixture_.echo->features_seen, testing::EchoDevice::kFeature);
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(VirtioPciLegacyTest, KicksArriveAsTheModeSays) {
  bring_up();
  const auto rings = fixture_.port.rings();
  kick(0);
  kick(1);
  EXPECT_EQ(fixture_.port.rings() - rings, GetParam() == NotifyMode::kIoEventFd ? 2U : 0U);
  // Another width than the ioeventfd's is an exit, and a kick all the same.
  fixture_.add(0, 9);
  if (fixture_.rings[0].offer()) out(kLegacyQueueNotify, 0, 4);
  EXPECT_TRUE(fixture_.reap(0));
}

TEST_P(VirtioPciLegacyTest, OffersTheFirst32FeaturesAndAnyLayout) {
  const std::uint32_t features = in(kLegacyDeviceFeatures, 4);
  EXPECT_EQ(features & EchoFeatures, EchoFeatures);
  EXPECT_NE(features & (1U << kFeatureAnyLayout), 0U);
  EXPECT_NE(features & (1U << kFeatureIndirectDesc), 0U);
  // What was not offered is dropped, as legacy devices do, and not refused.
  bring_up(UINT32_MAX);
  EXPECT_EQ(in(kLegacyDeviceStatus, 1), kUp);
  EXPECT_EQ(fixture_.echo->features_seen & ~std::uint64_t{features}, 0U);
}

TEST_P(VirtioPciLegacyTest, ConfigurationFollowsTheVectors) {
  EXPECT_EQ(in(kLegacyConfigWithMsix, 1), 1U);
  EXPECT_EQ(in(kLegacyConfigWithMsix, 4), 0x04030201U);
  out(kLegacyConfigWithMsix + 1, 0x7f, 1);
  EXPECT_EQ(in(kLegacyConfigWithMsix + 1, 1), 0x7fU);
  fixture_.pci->set_msix_control(0);
  EXPECT_EQ(in(kLegacyConfig, 2), 0x7f01U) << "without MSI-X it begins four bytes earlier";
  EXPECT_EQ(in(kLegacyConfig + 24, 4), 0U) << "past the end";
}

TEST_P(VirtioPciLegacyTest, AResetLeadsBackToEitherDialect) {
  bring_up();
  EXPECT_TRUE(echoes(0, 1));
  EXPECT_TRUE(fixture_.works_after_reset());  // modern, without the ports
  fixture_.pci->set_command(kPciCommandIo | kPciCommandMemory | kPciCommandBusMaster);
  bring_up();
  EXPECT_TRUE(echoes(1, 2));
  out(kLegacyDeviceStatus, 0, 1);
  EXPECT_EQ(in(kLegacyDeviceStatus, 1), 0U);
  out(kLegacyQueueSelect, 1, 2);
  EXPECT_EQ(in(kLegacyQueueAddress, 4), 0U);
  EXPECT_EQ(in(kLegacyQueueVector, 2), kMsiNoVector);
}

TEST_P(VirtioPciLegacyTest, WorksOnAfterItsPortsHaveMoved) {
  bring_up();
  EXPECT_TRUE(echoes(0, 1));
  fixture_.pci->config_write(kPciBar0Offset, 0x2000, 4);
  EXPECT_EQ(in(kLegacyDeviceStatus, 1), 0xffU) << "nobody is where it was";
  base_ = 0x2000;
  EXPECT_TRUE(echoes(0, 2));
  fixture_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
  EXPECT_EQ(in(kLegacyDeviceStatus, 1), 0xffU);
  fixture_.pci->set_command(kPciCommandIo | kPciCommandMemory | kPciCommandBusMaster);
  EXPECT_TRUE(echoes(0, 3));
}

TEST_P(VirtioPciLegacyTest, Row14OddAccessesAreCountedAndIgnored) {
  bring_up();
  const auto before = fixture_.life->guest_faults();
  out(kLegacyQueueSelect, 77, 2);
  EXPECT_EQ(in(kLegacyQueueSize, 2), 0U);
  EXPECT_EQ(in(kLegacyQueueAddress, 4), 0U);
  out(kLegacyQueueAddress, 5, 4);      // of a queue that is not there
  out(kLegacyQueueVector, 1, 2);       // the same
  out(kLegacyDeviceStatus + 1, 1, 1);  // the ISR
  out(kLegacyDeviceFeatures, 1, 4);
  (void)in(kLegacyDeviceFeatures, 2);
  (void)in(kLegacyDeviceStatus, 2);
  kick(1000);
  EXPECT_EQ(fixture_.life->guest_faults() - before, 7U);
  EXPECT_TRUE(echoes(0, 1));
}

TEST_P(VirtioPciLegacyTest, Row10ARingWhereThereIsNoMemory) {
  bring_up();
  out(kLegacyDeviceStatus, 0, 1);
  out(kLegacyQueueSelect, 0, 2);
  out(kLegacyQueueAddress, 0xffff'ffff, 4);
  out(kLegacyDeviceStatus, kUp, 1);
  EXPECT_NE(in(kLegacyDeviceStatus, 1) & kStatusNeedsReset, 0U);
  bring_up();
  EXPECT_TRUE(echoes(0, 4));
}

TEST_P(VirtioPciLegacyTest, Row13ARunningQueueKeepsItsRing) {
  bring_up();
  out(kLegacyQueueSelect, 0, 2);
  const std::uint32_t page = in(kLegacyQueueAddress, 4);
  out(kLegacyQueueAddress, page + 100, 4);
  EXPECT_EQ(in(kLegacyQueueAddress, 4), page);
  EXPECT_TRUE(echoes(0, 5));
}

}  // namespace
}  // namespace bellhop

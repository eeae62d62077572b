#include "transport/mmio/virtio_mmio_device.h"

#include <gtest/gtest.h>

#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;

class VirtioMmioDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  TransportFixture fixture_{TransportFixture::Kind::kMmio, GetParam()};
  testing::MmioRegisterDriver& mmio_ = *fixture_.mmio_driver;
};

TEST_P(VirtioMmioDeviceTest, IdentifiesItself) {
  EXPECT_EQ(mmio_.reg(kMmioMagicValue), kMmioMagic);
  EXPECT_EQ(mmio_.reg(kMmioVersionOffset), 2U);
  EXPECT_EQ(mmio_.reg(kMmioDeviceId), 4U);
  EXPECT_NE(mmio_.reg(kMmioVendorId), 0U);
  EXPECT_EQ(mmio_.reg(kMmioConfigGeneration), mmio_.reg(kMmioConfigGeneration));
  for (const std::uint32_t shm :
       {kMmioShmLenLow, kMmioShmLenHigh, kMmioShmBaseLow, kMmioShmBaseHigh}) {
    EXPECT_EQ(mmio_.reg(shm), UINT32_MAX);
  }
  EXPECT_EQ(mmio_.device_features() & TransportFixture::features(), TransportFixture::features());
}

TEST_P(VirtioMmioDeviceTest, EachQueueHasItsDoorbellByValue) {
  ASSERT_TRUE(fixture_.bring_up());
  if (GetParam() != NotifyMode::kIoEventFd) return;
  const auto doorbells = fixture_.vm.ioeventfds();
  ASSERT_EQ(doorbells.size(), TransportFixture::kQueues);
  for (std::uint64_t queue = 0; queue < doorbells.size(); ++queue) {
    EXPECT_EQ(doorbells[queue].match,
              (IoEventMatch{.space = IoSpace::kMmio,
                            .address = TransportFixture::kMmioBase + kMmioQueueNotify,
                            .length = 4,
                            .datamatch = queue}));
  }
}

TEST_P(VirtioMmioDeviceTest, InterruptStatusLastsUntilItIsAcknowledged) {
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(mmio_.reg(kMmioInterruptStatus), 0U);
  ASSERT_TRUE(fixture_.echoes(0, 1));
  ASSERT_TRUE(fixture_.echoes(1, 1));
  EXPECT_TRUE(fixture_.interrupted(0));
  EXPECT_EQ(mmio_.reg(kMmioInterruptStatus), kInterruptUsedBuffer);
  mmio_.set_reg(kMmioInterruptAck, kInterruptConfig);
  EXPECT_EQ(mmio_.reg(kMmioInterruptStatus), kInterruptUsedBuffer);
  mmio_.set_reg(kMmioInterruptAck, kInterruptUsedBuffer);
  EXPECT_EQ(mmio_.reg(kMmioInterruptStatus), 0U);
  // A broken ring is told by the other bit.
  fixture_.rings[0].break_ring();
  fixture_.driver->kick(0);
  EXPECT_TRUE(
      eventually([&] { return (mmio_.reg(kMmioInterruptStatus) & kInterruptConfig) != 0; }));
  mmio_.set_status(0);
  EXPECT_EQ(mmio_.reg(kMmioInterruptStatus), 0U);
}

TEST_P(VirtioMmioDeviceTest, OneQueueCanBeTakenBack) {
  ASSERT_TRUE(fixture_.bring_up());
  mmio_.set_reg(kMmioQueueSel, 0);
  mmio_.set_reg(kMmioQueueReady, 0);
  EXPECT_EQ(mmio_.reg(kMmioQueueReady), 0U);
  fixture_.add(0, 1);
  static_cast<void>(fixture_.rings[0].offer());
  fixture_.driver->kick(0);
  fixture_.settle();
  EXPECT_EQ(fixture_.rings[0].used_idx(), 0);
  EXPECT_TRUE(fixture_.echoes(1, 1)) << "the other queue never noticed";
  // One that is not there.
  mmio_.set_reg(kMmioQueueSel, 99);
  mmio_.set_reg(kMmioQueueReady, 0);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// What boots next finds the selectors as after power-on.
TEST_P(VirtioMmioDeviceTest, AMachineResetTakesBackTheSelectors) {
  ASSERT_TRUE(fixture_.bring_up());
  mmio_.set_reg(kMmioDeviceFeaturesSel, 0);
  const std::uint32_t low = mmio_.reg(kMmioDeviceFeatures);
  mmio_.set_reg(kMmioDeviceFeaturesSel, 1);
  EXPECT_NE(mmio_.reg(kMmioDeviceFeatures), low);
  mmio_.set_reg(kMmioQueueSel, TransportFixture::kQueues);
  EXPECT_EQ(mmio_.reg(kMmioQueueSizeMax), 0U);
  fixture_.mmio_device->reset();
  EXPECT_EQ(mmio_.reg(kMmioDeviceFeatures), low);
  EXPECT_EQ(mmio_.reg(kMmioQueueSizeMax), fixture_.life->queue_max_size());
  // Of the driver's features what was written is seen, by the register that was not selected.
  mmio_.set_reg(kMmioDriverFeaturesSel, 1);
  fixture_.mmio_device->reset();
  mmio_.set_status(kStatusAcknowledge | kStatusDriver);
  mmio_.set_reg(kMmioDriverFeatures, testing::EchoDevice::kFeature);
  EXPECT_EQ(fixture_.negotiation->driver_features(0), testing::EchoDevice::kFeature);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// A queue that was taken back stays so when the machine pauses.
TEST_P(VirtioMmioDeviceTest, AQueueTakenBackStaysBackAfterAPause) {
  ASSERT_TRUE(fixture_.bring_up());
  mmio_.set_reg(kMmioQueueSel, 0);
  mmio_.set_reg(kMmioQueueReady, 0);
  fixture_.life->pause();
  fixture_.life->resume();
  EXPECT_FALSE(fixture_.life->running(0));
  EXPECT_TRUE(fixture_.echoes(1, 1));
}

// Row 14: 32-bit registers, by 32 bits only.
TEST_P(VirtioMmioDeviceTest, TakesRegistersByTheirWidthOnly) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t base = TransportFixture::kMmioBase;
  std::uint64_t faults = 0;
  for (const unsigned width : {1U, 2U, 8U}) {
    EXPECT_EQ(fixture_.port.load(base + kMmioMagicValue, width), 0U);
    EXPECT_EQ(fixture_.life->guest_faults(), ++faults);
    fixture_.port.store(base + kMmioStatus, 0, width);
    EXPECT_EQ(fixture_.life->guest_faults(), ++faults);
  }
  EXPECT_EQ(fixture_.port.load(base + 2, 4), 0U);
  EXPECT_EQ(fixture_.port.load(base + kMmioConfig - 4, 8), 0U);
  EXPECT_EQ(fixture_.port.load(base + kMmioConfig - 2, 4), 0U);
  faults += 3;
  for (const std::uint32_t offset : {kMmioMagicValue, kMmioInterruptStatus, kMmioConfigGeneration,
                                     kMmioQueueReset, std::uint32_t{0x48}}) {
    mmio_.set_reg(offset, UINT32_MAX);
    EXPECT_EQ(fixture_.life->guest_faults(), ++faults) << offset;
  }
  mmio_.set_reg(kMmioStatus, 0x100);
  EXPECT_EQ(fixture_.life->guest_faults(), ++faults);
  // Past the window is nobody's.
  EXPECT_EQ(fixture_.port.load(base + kMmioWindowBytes, 4), UINT32_MAX);
  EXPECT_EQ(fixture_.port.load(base + kMmioWindowBytes - 2, 4), UINT32_MAX);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

TEST_P(VirtioMmioDeviceTest, SizesOverSixteenBitsAreNotCutShort) {
  ASSERT_TRUE(mmio_.negotiate(TransportFixture::features()));
  mmio_.write_queue(0, fixture_.rings[0].config());
  mmio_.set_reg(kMmioQueueSize, 0x10010);
  EXPECT_EQ(fixture_.life->queue(0).size, 0);
}

TEST(VirtioMmioDevice, NeedsAFreePlaceAndAFreePin) {
  TransportFixture fixture(TransportFixture::Kind::kMmio);
  const DeviceWiring wiring{.memory = &fixture.memory,
                            .threads = {fixture.thread.get()},
                            .notify = NotifyMode::kIoEventFd,
                            .ring_features = testing::tested_ring_features()};
  const auto create = [&](std::uint64_t base, unsigned gsi) {
    return VirtioMmioDevice::create(std::make_unique<testing::EchoDevice>(std::uint16_t{1}), wiring,
                                    fixture.binder, fixture.mmio, {.base = base, .gsi = gsi})
        .has_value();
  };
  EXPECT_FALSE(create(TransportFixture::kMmioBase, 6));
  EXPECT_FALSE(create(TransportFixture::kMmioBase + 0x1000, TransportFixture::kMmioGsi));
  EXPECT_TRUE(create(TransportFixture::kMmioBase + 0x1000, 6));
  EXPECT_EQ(fixture.binder.pins(), 1U);
  EXPECT_EQ(fixture.binder.bad_detaches(), 0U);
  EXPECT_TRUE(fixture.works_after_reset());
}

INSTANTIATE_TEST_SUITE_P(Modes, VirtioMmioDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const ::testing::TestParamInfo<NotifyMode>& p) {
                           return std::string(to_string(p.param));
                         });

}  // namespace
}  // namespace bellhop

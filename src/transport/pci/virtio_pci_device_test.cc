#include "transport/pci/virtio_pci_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "base/log_limiter.h"
#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "virtio/abi/config.h"
#include "virtio/abi/pci.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;

constexpr std::uint16_t kAll = kPciCommandMemory | kPciCommandBusMaster;
constexpr std::uint64_t kElsewhere = 0x8'0000'0000;

class VirtioPciDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  TransportFixture fixture_{TransportFixture::Kind::kPci, GetParam()};
  testing::PciRegisterDriver& pci_ = *fixture_.pci;
};

TEST_P(VirtioPciDeviceTest, IdentifiesItself) {
  EXPECT_EQ(pci_.config_read(kPciVendorIdOffset, 2), kPciVendorId);
  EXPECT_EQ(pci_.config_read(kPciDeviceIdOffset, 2), 0x1044U);  // an entropy source, modern
  EXPECT_GE(pci_.config_read(kPciRevisionOffset, 1), 1U);
  EXPECT_EQ(pci_.config_read(kPciInterruptPinOffset, 1), 0U);
  EXPECT_EQ(pci_.config_read(kPciCommandOffset, 2), 0U);
  EXPECT_EQ(pci_.config_read(kPciHeaderTypeOffset, 1), 0U);
  // 4.1.4: one capability of each type, each within the BAR.
  unsigned types = 0;
  for (const std::uint32_t cap : pci_.capabilities(kPciCapIdVendor)) {
    types |= 1U << pci_.config_read(cap + 3, 1);
    EXPECT_EQ(pci_.config_read(cap + 4, 1), 0U);
    const std::uint64_t end =
        std::uint64_t{pci_.config_read(cap + 8, 4)} + pci_.config_read(cap + 12, 4);
    EXPECT_LE(end, VirtioPciDevice::kBarBytes);
  }
  EXPECT_EQ(types, 1U << kPciCapCommonCfg | 1U << kPciCapNotifyCfg | 1U << kPciCapIsrCfg |
                       1U << kPciCapDeviceCfg | 1U << kPciCapPciCfg);
  EXPECT_EQ(pci_.capabilities(kPciCapIdMsix).size(), 1U);
  EXPECT_EQ(pci_.bar_bytes(), VirtioPciDevice::kBarBytes);
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(VirtioPciDeviceTest, AnswersAtItsBarOnlyWhileDecoding) {
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_NE(pci_.status(), 0xff);
  pci_.set_command(kPciCommandBusMaster);
  EXPECT_EQ(pci_.status(), 0xff);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  pci_.set_command(kAll);
  EXPECT_NE(pci_.status() & kStatusDriverOk, 0);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

TEST_P(VirtioPciDeviceTest, MovesItsBar) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t before = pci_.bar();
  for (const std::uint64_t to : {kElsewhere, before + 0x100000, kElsewhere + 0x8000, before}) {
    pci_.move_bar(to);
    EXPECT_TRUE(fixture_.echoes(0, 1));
    EXPECT_TRUE(fixture_.echoes(1, 2));
    for (const auto& doorbell : fixture_.vm.ioeventfds()) {
      EXPECT_EQ(doorbell.match.address & ~(VirtioPciDevice::kBarBytes - 1), to);
    }
  }
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

// Sizing with decoding on moves the BAR to the end of the address space and back.
TEST_P(VirtioPciDeviceTest, IsSizedWhileRunning) {
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(pci_.bar_bytes(), VirtioPciDevice::kBarBytes);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 18: a vCPU that kicks at the old and the new place while the BAR moves.
TEST_P(VirtioPciDeviceTest, LosesNoKickWhileTheBarMoves) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t home = pci_.bar();
  std::atomic<bool> enough{false};
  std::thread mover([&] {
    testing::PciRegisterDriver other(fixture_.port, 1);
    while (!enough) {
      other.move_bar(kElsewhere);
      other.move_bar(home);
    }
  });
  for (int i = 0; i < 200; ++i) {
    fixture_.add(0, static_cast<std::uint8_t>(i));
    if (fixture_.rings[0].offer()) {
      // The driver cannot know which place is right at this moment; one of them is.
      ASSERT_TRUE(eventually([&] {
        fixture_.port.store(home + VirtioPciDevice::kNotifyOffset, 0, 2);
        fixture_.port.store(kElsewhere + VirtioPciDevice::kNotifyOffset, 0, 2);
        return fixture_.rings[0].reap().has_value();
      }));
    } else {
      ASSERT_TRUE(fixture_.reap(0));
    }
  }
  enough = true;
  mover.join();
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

// Row 18.
TEST_P(VirtioPciDeviceTest, AKickBeforeTheMoveIsServed) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 100; ++i) {
    fixture_.add(0, static_cast<std::uint8_t>(i));
    if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
    pci_.move_bar(i % 2 == 0 ? kElsewhere : 0xe0000000);
    EXPECT_TRUE(fixture_.reap(0));
  }
}

// Row 18: where another device is already, and off the end of the address space.
TEST_P(VirtioPciDeviceTest, ABarWithoutAPlaceAnswersNowhere) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t home = pci_.bar();
  pci_.move_bar(TransportFixture::kEcamBase);
  EXPECT_GT(fixture_.life->guest_faults(), 0U);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  pci_.move_bar(home);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 18: without bus mastering the device touches no memory, and forgets nothing.
TEST_P(VirtioPciDeviceTest, RestsWithoutBusMastering) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 50; ++i) {
    pci_.set_command(kPciCommandMemory);
    fixture_.add(0, static_cast<std::uint8_t>(i));
    if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
    fixture_.settle();
    EXPECT_FALSE(fixture_.rings[0].reap().has_value());
    EXPECT_FALSE(fixture_.interrupted(0));
    pci_.set_command(kAll);
    EXPECT_TRUE(fixture_.reap(0));
    EXPECT_EQ(fixture_.answer(0), i);
    EXPECT_TRUE(fixture_.interrupted(0));
  }
  // DRIVER_OK while it is off; and a pause on top.
  pci_.set_command(kPciCommandMemory);
  const std::uint16_t command = kPciCommandMemory;
  fixture_.driver->set_status(0);
  fixture_.lay_out_rings();
  EXPECT_TRUE(fixture_.driver->bring_up(TransportFixture::features(), fixture_.configs()));
  fixture_.add(0, 77);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  fixture_.life->pause();
  fixture_.life->resume();
  fixture_.settle();
  EXPECT_EQ(fixture_.rings[0].used_idx(), 0);
  pci_.set_command(command | kPciCommandBusMaster);
  EXPECT_TRUE(fixture_.reap(0));
}

// Row 18: switched off with a request in flight.
TEST_P(VirtioPciDeviceTest, WaitsForRequestsBeforeItRests) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.echo->hold = true;
  fixture_.add(0, 5);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 1U; }));
  std::thread medium([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    fixture_.echo->release();
  });
  pci_.set_command(kPciCommandMemory);
  EXPECT_EQ(fixture_.echo->held, 0U);
  EXPECT_EQ(fixture_.rings[0].used_idx(), 1);
  medium.join();
  pci_.set_command(kAll);
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_TRUE(fixture_.echoes(0, 6));
}

// Rows 14 and 16: everything through the window, with memory decoding off.
TEST_P(VirtioPciDeviceTest, WorksThroughTheConfigurationWindow) {
  ASSERT_TRUE(fixture_.bring_up());
  pci_.set_command(kPciCommandBusMaster);
  EXPECT_EQ(pci_.window_read(pci_.common_offset() + kCommonDeviceStatus, 1),
            static_cast<std::uint32_t>(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk |
                                       kStatusDriverOk));
  fixture_.add(1, 9);
  static_cast<void>(fixture_.rings[1].offer());
  pci_.window_write(pci_.notify_offset() + VirtioPciDevice::kNotifyMultiplier, 1, 2);
  EXPECT_TRUE(fixture_.reap(1));
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
  // A kick for a queue that is not there, one between two queues.
  pci_.window_write(pci_.notify_offset() + 400, 1, 2);
  pci_.window_write(pci_.notify_offset() + 2, 1, 2);
  EXPECT_EQ(fixture_.life->guest_faults(), 2U);
  pci_.window_write(pci_.common_offset() + kCommonDeviceStatus, 0, 1);
  EXPECT_EQ(pci_.window_read(pci_.common_offset() + kCommonDeviceStatus, 1), 0U);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 14.
TEST_P(VirtioPciDeviceTest, TheWindowShowsNothingBeyondTheBar) {
  ASSERT_TRUE(fixture_.bring_up());
  std::uint64_t faults = 0;
  for (const auto& [offset, width] : {std::pair<std::uint32_t, unsigned>{0x8000, 4},
                                      {0xffffffff, 1},
                                      {0xfffffffc, 4},
                                      {0x7fff, 2},
                                      {1, 4},
                                      {0, 3},
                                      {0, 8}}) {
    pci_.config_write(pci_.window() + 4, 0, 1);
    pci_.config_write(pci_.window() + 8, offset, 4);
    pci_.config_write(pci_.window() + 12, width, 4);
    pci_.config_write(pci_.window() + 16, 0xffffffff, 4);
    static_cast<void>(pci_.config_read(pci_.window() + 16, 4));
    faults += 2;
    EXPECT_EQ(fixture_.life->guest_faults(), faults);
  }
  // Another BAR.
  pci_.config_write(pci_.window() + 4, 5, 1);
  pci_.config_write(pci_.window() + 8, 0, 4);
  pci_.config_write(pci_.window() + 12, 4, 4);
  EXPECT_EQ(pci_.config_read(pci_.window() + 16, 4), 0xffffffffU);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 14: odd widths and straddles read 0 and write nothing.
TEST_P(VirtioPciDeviceTest, TakesRegistersByTheirWidthOnly) {
  ASSERT_TRUE(fixture_.bring_up());
  std::uint64_t faults = 0;
  const auto reads_nothing = [&](std::uint32_t offset, unsigned width) {
    EXPECT_EQ(fixture_.port.load(pci_.bar() + offset, width), 0U) << offset << '/' << width;
    EXPECT_EQ(fixture_.life->guest_faults(), ++faults) << offset << '/' << width;
  };
  const auto writes_nothing = [&](std::uint32_t offset, unsigned width) {
    fixture_.port.store(pci_.bar() + offset, 0, width);
    EXPECT_EQ(fixture_.life->guest_faults(), ++faults) << offset << '/' << width;
  };
  reads_nothing(kCommonDeviceStatus, 2);
  reads_nothing(kCommonDeviceFeature, 8);
  reads_nothing(kCommonDeviceFeature + 1, 1);
  reads_nothing(kCommonQueueDesc + 4, 8);
  reads_nothing(kCommonQueueDesc + 2, 4);
  reads_nothing(kCommonCfgBytes, 4);
  reads_nothing(0xffc, 8);
  reads_nothing(pci_.isr_offset() + 4, 4);
  reads_nothing(pci_.table_offset() + 2, 4);
  reads_nothing(pci_.table_offset() + 4, 8);
  reads_nothing(pci_.table_offset() + 16 * 3, 4);
  reads_nothing(pci_.pending_offset(), 1);
  reads_nothing(0x7000, 4);
  writes_nothing(kCommonDeviceStatus, 4);
  writes_nothing(kCommonDeviceFeature, 4);
  writes_nothing(kCommonNumQueues, 2);
  writes_nothing(kCommonQueueEnable, 2);  // only 1 is ever written
  writes_nothing(kCommonQueueSize, 1);
  writes_nothing(pci_.isr_offset(), 1);
  writes_nothing(pci_.table_offset() + 12, 2);
  writes_nothing(pci_.pending_offset(), 8);
  writes_nothing(0x6000, 4);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 14.
TEST_P(VirtioPciDeviceTest, VectorsThatAreAbsentReadBackAsNone) {
  ASSERT_TRUE(fixture_.bring_up());
  for (const std::uint16_t vector : {std::uint16_t{3}, std::uint16_t{2047}, kMsiNoVector}) {
    pci_.set_common(kCommonQueueSelect, 0, 2);
    pci_.set_common(kCommonQueueMsixVector, vector, 2);
    EXPECT_EQ(pci_.common(kCommonQueueMsixVector, 2), kMsiNoVector);
    pci_.set_common(kCommonConfigMsixVector, vector, 2);
    EXPECT_EQ(pci_.common(kCommonConfigMsixVector, 2), kMsiNoVector);
    EXPECT_TRUE(fixture_.echoes(0, 1));
    EXPECT_FALSE(fixture_.interrupted(0));
  }
  EXPECT_EQ(fixture_.life->guest_faults(), 4U);
  // Without a vector the cause can still be read, once.
  EXPECT_EQ(fixture_.port.load(pci_.bar() + pci_.isr_offset(), 1), kInterruptUsedBuffer);
  EXPECT_EQ(fixture_.port.load(pci_.bar() + pci_.isr_offset(), 1), 0U);
}

// Row 20: the queue's vector changes while it runs.
TEST_P(VirtioPciDeviceTest, AQueueChangesItsVectorWhileLive) {
  ASSERT_TRUE(fixture_.bring_up());
  for (unsigned i = 0; i < 30; ++i) {
    const auto vector = static_cast<std::uint16_t>(i % 3);
    pci_.set_common(kCommonQueueSelect, 0, 2);
    pci_.set_common(kCommonQueueMsixVector, vector, 2);
    fixture_.vm.clear_delivered();
    ASSERT_TRUE(fixture_.echoes(0, 1));
    fixture_.settle();
    EXPECT_EQ(fixture_.vm.delivered_count(TransportFixture::message(vector)), 1U);
    EXPECT_EQ(fixture_.vm.delivered().size(), 1U);
  }
}

// Row 20: masked, polled, unmasked.
TEST_P(VirtioPciDeviceTest, KeepsWhatIsMaskedPending) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 20; ++i) {
    fixture_.vm.clear_delivered();
    pci_.mask_vector(1, true);
    EXPECT_EQ(pci_.pending_bits(), 0U);
    for (int n = 0; n < 3; ++n) ASSERT_TRUE(fixture_.echoes(0, 1));
    fixture_.settle();
    for (int poll = 0; poll < 5; ++poll) EXPECT_EQ(pci_.pending_bits(), 2U);
    EXPECT_TRUE(fixture_.vm.delivered().empty());
    pci_.mask_vector(1, false);
    EXPECT_EQ(fixture_.vm.delivered_count(TransportFixture::message(1)), 1U);
    EXPECT_EQ(pci_.pending_bits(), 0U);
    // Masked and unmasked with nothing new: nothing comes.
    pci_.mask_vector(1, true);
    pci_.mask_vector(1, false);
    EXPECT_EQ(fixture_.vm.delivered().size(), 1U);
  }
}

TEST_P(VirtioPciDeviceTest, MasksTheWholeFunction) {
  ASSERT_TRUE(fixture_.bring_up());
  pci_.set_msix_control(kMsixControlEnable | kMsixControlMaskAll);
  EXPECT_TRUE(fixture_.vm.irqfds().empty());
  ASSERT_TRUE(fixture_.echoes(0, 1));
  ASSERT_TRUE(fixture_.echoes(1, 1));
  fixture_.settle();
  EXPECT_EQ(pci_.pending_bits(), 6U);
  pci_.mask_vector(2, true);
  fixture_.vm.clear_delivered();
  pci_.set_msix_control(kMsixControlEnable);
  EXPECT_EQ(fixture_.vm.delivered(), std::vector<MsiMessage>{TransportFixture::message(1)});
  EXPECT_EQ(pci_.pending_bits(), 4U);
  pci_.mask_vector(2, false);
  EXPECT_EQ(fixture_.vm.delivered().size(), 2U);
  // Disabled: nothing is kept.
  pci_.set_msix_control(0);
  ASSERT_TRUE(fixture_.echoes(0, 1));
  fixture_.settle();
  EXPECT_EQ(pci_.pending_bits(), 0U);
  fixture_.vm.clear_delivered();
  pci_.set_msix_control(kMsixControlEnable);
  EXPECT_TRUE(fixture_.vm.delivered().empty());
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(fixture_.interrupted(0));
}

// Row 20: the message changes while the vector is open, by words and by pairs of words.
TEST_P(VirtioPciDeviceTest, RewritesAVectorWhileLive) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t entry = pci_.bar() + pci_.table_offset() + 16;
  fixture_.port.store(entry + 8, 0x99, 4);
  fixture_.vm.clear_delivered();
  ASSERT_TRUE(fixture_.echoes(0, 1));
  fixture_.settle();
  EXPECT_EQ(fixture_.vm.delivered_count({.address = 0xfee00000, .data = 0x99}), 1U);
  fixture_.port.store(entry, 0xfee01000, 8);
  fixture_.port.store(entry + 8, 0x77, 8);
  EXPECT_EQ(fixture_.port.load(entry, 8), 0xfee01000U);
  EXPECT_EQ(fixture_.port.load(entry + 8, 4), 0x77U);
  ASSERT_TRUE(fixture_.echoes(0, 1));
  fixture_.settle();
  EXPECT_EQ(fixture_.vm.delivered_count({.address = 0xfee01000, .data = 0x77}), 1U);
  // A message that the host does not take: the interrupt waits for a better one.
  fixture_.port.store(entry, testing::FakeHostBinder::kRefusedAddress, 8);
  ASSERT_TRUE(fixture_.echoes(0, 1));
  fixture_.settle();
  EXPECT_EQ(pci_.pending_bits(), 2U);
  fixture_.port.store(entry, 0xfee00000, 8);
  EXPECT_EQ(fixture_.vm.delivered_count({.address = 0xfee00000, .data = 0x77}), 1U);
}

// A driver that writes such a message again and again fills no log.
TEST_P(VirtioPciDeviceTest, RefusedMessagesMakeFewLines) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t entry = pci_.bar() + pci_.table_offset() + 16;
  ::testing::internal::CaptureStderr();
  for (unsigned i = 0; i < 1000; ++i) {
    fixture_.port.store(entry, testing::FakeHostBinder::kRefusedAddress, 8);
    fixture_.port.store(entry + 8, i, 4);
  }
  const std::string all = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(all, '\n'), log::Limiter::kBurst) << all;
  fixture_.port.store(entry, 0xfee00000, 8);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 20: rewritten over and over while the device interrupts.
TEST_P(VirtioPciDeviceTest, LosesNoInterruptWhileMaskedAndUnmasked) {
  ASSERT_TRUE(fixture_.bring_up());
  std::atomic<bool> enough{false};
  std::thread other([&] {
    while (!enough) {
      pci_.mask_vector(1, true);
      static_cast<void>(pci_.pending_bits());
      pci_.mask_vector(1, false);
    }
  });
  for (int i = 0; i < 300; ++i) {
    fixture_.add(0, 1);
    if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
    ASSERT_TRUE(eventually([&] {
      return fixture_.vm.delivered_count(TransportFixture::message(1)) != 0;
    })) << i;
    ASSERT_TRUE(fixture_.rings[0].reap().has_value()) << "interrupted before the answer was there";
    fixture_.settle();
    fixture_.vm.clear_delivered();
  }
  enough = true;
  other.join();
}

TEST_P(VirtioPciDeviceTest, AllVectorsStartMasked) {
  ASSERT_TRUE(pci_.probe());
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(fixture_.port.load(pci_.bar() + pci_.table_offset() + 16 * i + 12, 4), 1U);
  }
  EXPECT_TRUE(fixture_.vm.irqfds().empty());
  EXPECT_EQ(fixture_.vm.routes(), 0U) << "routes are taken when they are needed";
}

TEST_P(VirtioPciDeviceTest, ConfigurationInterruptComesWithNeedsReset) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.vm.clear_delivered();
  fixture_.rings[0].break_ring();
  fixture_.driver->kick(0);
  EXPECT_TRUE(
      eventually([&] { return fixture_.vm.delivered_count(TransportFixture::message(0)) != 0; }));
  EXPECT_NE(fixture_.port.load(pci_.bar() + pci_.isr_offset(), 1) & kInterruptConfig, 0U);
}

TEST_P(VirtioPciDeviceTest, HostsThatKnowExactWidthsOnlyAreServedToo) {
  struct OldBinder final : HostBinder {
    explicit OldBinder(HostBinder& host) : next(&host) {}
    Status attach_doorbell(const EventFd& doorbell, const IoEventMatch& match,
                           Server server) override {
      if (match.length == 0) return fail("wildcards are unknown", EINVAL);
      return next->attach_doorbell(doorbell, match, server);
    }
    void detach_doorbell(const EventFd& doorbell, const IoEventMatch& match) noexcept override {
      next->detach_doorbell(doorbell, match);
    }
    Result<unsigned> allocate_msi() override { return next->allocate_msi(); }
    Status set_msi(unsigned gsi, std::uint64_t address, std::uint32_t data) override {
      return next->set_msi(gsi, address, data);
    }
    void free_msi(unsigned gsi) noexcept override { next->free_msi(gsi); }
    Status attach_interrupt(const EventFd& event, unsigned gsi) override {
      return next->attach_interrupt(event, gsi);
    }
    void detach_interrupt(const EventFd& event, unsigned gsi) noexcept override {
      next->detach_interrupt(event, gsi);
    }
    HostBinder* next;
  } old(fixture_.binder);
  const DeviceWiring wiring{.memory = &fixture_.memory,
                            .threads = {fixture_.thread.get()},
                            .notify = GetParam(),
                            .ring_features = testing::tested_ring_features()};
  auto device = testing::must(
      VirtioPciDevice::create(std::make_unique<testing::EchoDevice>(TransportFixture::kQueues),
                              wiring, old, {&fixture_.mmio, &fixture_.ports}));
  testing::PciRegisterDriver driver(fixture_.port, testing::must(fixture_.root.add(*device)));
  ASSERT_TRUE(driver.probe());
  ASSERT_TRUE(driver.bring_up(TransportFixture::features(), fixture_.configs()));
  for (const unsigned width : {1U, 2U, 4U}) {
    fixture_.add(0, static_cast<std::uint8_t>(width));
    if (fixture_.rings[0].offer()) fixture_.port.store(driver.notify_address(0), 0, width);
    EXPECT_TRUE(fixture_.reap(0));
  }
  for (const auto& doorbell : fixture_.vm.ioeventfds()) EXPECT_EQ(doorbell.match.length, 2U);
  fixture_.root.reset();
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

// A machine reset, as after power-on: every register and every entry that a driver can write.
TEST_P(VirtioPciDeviceTest, AMachineResetTakesBackWhatTheDriverHasWritten) {
  const auto space = [&] {
    std::vector<std::uint32_t> all;
    for (std::uint32_t at = 0; at < 256; at += 4) {
      // What the configuration window shows is a register of the BAR, not one of these.
      if (pci_.window() == 0 || at - pci_.window() >= 20) all.push_back(pci_.config_read(at, 4));
    }
    return all;
  };
  const auto entries = [&] {
    EXPECT_TRUE(pci_.probe());
    std::vector<std::uint64_t> all;
    for (unsigned word = 0; word < 4 * (TransportFixture::kQueues + 1U); ++word) {
      all.push_back(fixture_.port.load(pci_.bar() + pci_.table_offset() + 4 * word, 4));
    }
    all.push_back(pci_.pending_bits());
    return all;
  };
  ASSERT_TRUE(pci_.probe());
  fixture_.root.reset();
  const auto space_at_first = space();
  const auto entries_at_first = entries();
  ASSERT_TRUE(fixture_.bring_up());
  // Something is pending when it comes.
  for (unsigned vector = 0; vector <= TransportFixture::kQueues; ++vector) {
    pci_.mask_vector(vector, true);
  }
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(eventually([&] { return pci_.pending_bits() != 0; }));
  for (unsigned vector = 0; vector <= TransportFixture::kQueues; ++vector) {
    pci_.write_vector(vector, 0xfee0f000, 0x1234, false);
  }
  pci_.config_write(kPciInterruptLineOffset, 11, 1);
  fixture_.root.reset();
  EXPECT_EQ(space(), space_at_first);
  EXPECT_EQ(entries(), entries_at_first);
  EXPECT_TRUE(fixture_.works_after_reset());
}

TEST_P(VirtioPciDeviceTest, ComesBackFromAMachineReset) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(fixture_.bring_up());
    ASSERT_TRUE(fixture_.echoes(0, 1));
    pci_.move_bar(kElsewhere);
    fixture_.life->pause();
    fixture_.root.reset();
    fixture_.life->resume();
    EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
    EXPECT_TRUE(fixture_.vm.irqfds().empty());
    EXPECT_EQ(pci_.config_read(kPciCommandOffset, 2), 0U);
    pci_.locate();
    EXPECT_EQ(pci_.bar(), 0xe0000000U);
    EXPECT_EQ(pci_.status(), 0xff);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, VirtioPciDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const ::testing::TestParamInfo<NotifyMode>& p) {
                           return std::string(to_string(p.param));
                         });

}  // namespace
}  // namespace bellhop

// The measuring guest and the floors on the host's real KVM. No test looks at how long things take.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "probe/floor_guest.h"
#include "probe/probe.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kDevice = 0xd0000000;

class KvmProbeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kvm = open_kvm();
    if (!kvm && ::access("/dev/kvm", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "this host has no KVM for us: " << kvm.error().message;
    }
    ASSERT_TRUE(kvm) << kvm.error().message;
    hypervisor_ = std::move(*kvm);
    const std::array specs{GuestMemory::RegionSpec{GuestAddress(0), 2U << 20U}};
    memory_.emplace(std::move(GuestMemory::create(specs).value()));
    vm_ = std::move(hypervisor_->create_vm().value());
    ASSERT_TRUE(vm_->map_memory(*memory_));
    vcpu_ = std::move(vm_->create_vcpu(0, 1).value());
    guest_.emplace(FloorGuest::create(*memory_, GuestAddress(0x10000)).value());
  }

  std::optional<GuestMemory> memory_;
  std::unique_ptr<Hypervisor> hypervisor_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
  std::optional<FloorGuest> guest_;
};

TEST_F(KvmProbeTest, EveryWriteReachesTheHandler) {
  for (const IoSpace space : {IoSpace::kMmio, IoSpace::kPio}) {
    for (const unsigned width : {1U, 2U, 4U}) {
      const std::uint64_t address = space == IoSpace::kMmio ? kDevice + 0x104 : 0xc104;
      unsigned seen = 0;
      const auto ticks = guest_->measure_writes(*vcpu_, {space, address, width, 0x01020304, 10},
                                                [&](VcpuExit& exit) {
                                                  ++seen;
                                                  EXPECT_EQ(exit.address, address);
                                                  EXPECT_EQ(exit.data.size(), width);
                                                  EXPECT_EQ(exit.data[0], std::byte{4});
                                                });
      ASSERT_TRUE(ticks) << ticks.error().message;
      EXPECT_EQ(ticks->size(), 10U);
      EXPECT_EQ(seen, 10U);
      for (const std::uint32_t tick : *ticks) EXPECT_GT(tick, 0U);
    }
  }
}

TEST_F(KvmProbeTest, ArmedWritesDoNotExit) {
  const auto event = std::move(EventFd::create().value());
  ASSERT_TRUE(vm_->attach_ioeventfd(event, {IoSpace::kMmio, kDevice, 2, std::nullopt}));
  const auto ticks = guest_->measure_writes(*vcpu_, {IoSpace::kMmio, kDevice, 2, 0, 100},
                                            [](VcpuExit&) { ADD_FAILURE() << "an exit"; });
  ASSERT_TRUE(ticks) << ticks.error().message;
  EXPECT_EQ(event.consume(), 100U);
}

TEST_F(KvmProbeTest, RefusesWhatItCannotDo) {
  EXPECT_FALSE(guest_->measure_writes(*vcpu_, {IoSpace::kMmio, kDevice, 3, 0, 1}, {}));
  EXPECT_FALSE(guest_->measure_writes(*vcpu_, {IoSpace::kMmio, kDevice + 1, 2, 0, 1}, {}));
  EXPECT_FALSE(guest_->measure_writes(*vcpu_, {IoSpace::kMmio, kDevice, 4, 0, 100000}, {}));
  EXPECT_FALSE(FloorGuest::create(*memory_, GuestAddress(0x1f8000)));
  vcpu_->kick();
  EXPECT_FALSE(guest_->measure_loop(*vcpu_, FloorGuest::Ring::kUser, 10));
}

TEST_F(KvmProbeTest, CountsMoreIoeventfdsThanOldKernelsHad) {
  const auto limit = count_ioeventfds(*hypervisor_, 16);
  ASSERT_TRUE(limit) << limit.error().message;
  EXPECT_GE(limit->allowed, 6U);
}

TEST_F(KvmProbeTest, FloorsAreMeasured) {
  std::vector<std::string> notes;
  const auto floors = measure_floors(*hypervisor_, {}, notes);
  ASSERT_TRUE(floors) << floors.error().message;
  for (const std::string& note : notes) std::printf("note: %s\n", note.c_str());
  EXPECT_GT(floors->userspace_exit_us.value_or(0), 0);
  EXPECT_GT(floors->userspace_exit_pio_us.value_or(0), 0);
  EXPECT_GT(floors->ioeventfd_kick_us.value_or(0), 0);
  EXPECT_GT(floors->wake_same_core_us.value_or(0), 0);
  EXPECT_GT(floors->kernel_mode_ratio.value_or(0), 0);
  if (allowed_cpus().size() > 1) {
    EXPECT_GT(floors->irqfd_to_handler_us.value_or(0), 0);
  }
}

}  // namespace
}  // namespace bellhop

// The KVM layer against the host's real KVM, with guests of a few bytes of machine code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <initializer_list>
#include <thread>

#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/kvm_system.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using Reason = VcpuExit::Reason;

constexpr std::uint64_t kCode = 0x1000;
constexpr std::uint64_t kRamSize = 2U << 20U;
constexpr std::uint64_t kDevice = 0xd0000000;

class KvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kvm = open_kvm();
    if (!kvm && ::access("/dev/kvm", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "this host has no KVM for us: " << kvm.error().message;
    }
    ASSERT_TRUE(kvm) << kvm.error().message;
    hypervisor_ = std::move(*kvm);
    const std::array specs{GuestMemory::RegionSpec{GuestAddress(0), kRamSize}};
    memory_.emplace(std::move(GuestMemory::create(specs).value()));
    vm_ = std::move(hypervisor_->create_vm().value());
    ASSERT_TRUE(vm_->map_memory(*memory_));
    auto vcpu = vm_->create_vcpu(0, 1);
    ASSERT_TRUE(vcpu) << vcpu.error().message;
    vcpu_ = std::move(*vcpu);
  }

  void start(std::initializer_list<std::uint8_t> code) {
    ASSERT_TRUE(memory_->write(GuestAddress(kCode), std::as_bytes(std::span(code))));
    BootRegisters registers;
    registers.rip = kCode;
    registers.rsp = 0x8000;
    registers.rbx = 0x12345678;
    const auto status = vcpu_->set_boot_registers(registers);
    ASSERT_TRUE(status) << status.error().message;
  }

  VcpuExit run() {
    auto exit = vcpu_->run();
    EXPECT_TRUE(exit) << exit.error().message;
    return exit.value_or(VcpuExit{});
  }

  std::optional<GuestMemory> memory_;
  std::unique_ptr<Hypervisor> hypervisor_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
};

std::uint32_t value_of(const VcpuExit& exit) {
  std::uint32_t value = 0;
  std::memcpy(&value, exit.data.data(), std::min(exit.data.size(), sizeof value));
  return value;
}

TEST_F(KvmTest, PortAndMemoryAccessesExit) {
  start({
      0x66, 0xba, 0xf4, 0x00,              // mov dx, 0xf4
      0xb0, 0x41, 0xee,                    // mov al, 0x41; out dx, al
      0xed,                                // in eax, dx
      0xa3, 0x00, 0x00, 0x00, 0xd0,        // mov [0xd0000000], eax
      0x66, 0xa1, 0x08, 0x00, 0x00, 0xd0,  // mov ax, [0xd0000008]
      0x89, 0xd8, 0xef,                    // mov eax, ebx; out dx, eax
      0xeb, 0xfe,                          // jmp $
  });
  VcpuExit exit = run();
  ASSERT_EQ(exit.reason, Reason::kPioOut) << vcpu_->dump();
  EXPECT_EQ(exit.address, 0xf4U);
  ASSERT_EQ(exit.data.size(), 1U);
  EXPECT_EQ(value_of(exit), 0x41U);

  exit = run();
  ASSERT_EQ(exit.reason, Reason::kPioIn);
  ASSERT_EQ(exit.data.size(), 4U);
  const std::uint32_t answer = 0xcafe1234;
  std::memcpy(exit.data.data(), &answer, sizeof answer);

  exit = run();
  ASSERT_EQ(exit.reason, Reason::kMmioWrite);
  EXPECT_EQ(exit.address, kDevice);
  EXPECT_EQ(value_of(exit), answer);

  exit = run();
  ASSERT_EQ(exit.reason, Reason::kMmioRead);
  EXPECT_EQ(exit.address, kDevice + 8);
  EXPECT_EQ(exit.data.size(), 2U);
  std::memset(exit.data.data(), 0, exit.data.size());

  exit = run();
  ASSERT_EQ(exit.reason, Reason::kPioOut);
  EXPECT_EQ(value_of(exit), 0x12345678U) << "PVH's start info pointer";
  EXPECT_EQ(vcpu_->exits(), 5U);
  EXPECT_THAT(vcpu_->dump(), HasSubstr("rip 000000000000101"));
}

TEST_F(KvmTest, StringOutputComesAsOneExitForEachElement) {
  start({
      0xbe, 0x18, 0x10, 0x00, 0x00,  // mov esi, 0x1018
      0xb9, 0x03, 0x00, 0x00, 0x00,  // mov ecx, 3
      0x66, 0xba, 0xf8, 0x03,        // mov dx, 0x3f8
      0xfc, 0xf3, 0x6e,              // cld; rep outsb
      0xeb, 0xfe,                    // jmp $
      0x90, 0x90, 0x90, 0x90, 0x90,  //
      'a',  'b',  'c',
  });
  for (const char letter : {'a', 'b', 'c'}) {
    const VcpuExit exit = run();
    ASSERT_EQ(exit.reason, Reason::kPioOut) << vcpu_->dump();
    ASSERT_EQ(exit.data.size(), 1U);
    EXPECT_EQ(value_of(exit), static_cast<std::uint32_t>(letter));
  }
}

TEST_F(KvmTest, IoeventfdTakesTheWriteInTheKernel) {
  const auto event = std::move(EventFd::create().value());
  const IoEventMatch match{IoSpace::kMmio, kDevice, 4, std::nullopt};
  ASSERT_TRUE(vm_->attach_ioeventfd(event, match));
  EXPECT_EQ(vm_->attach_ioeventfd(event, match).error().code, EEXIST);
  start({
      0xa3, 0x00, 0x00, 0x00, 0xd0,  // mov [0xd0000000], eax
      0xa3, 0x00, 0x00, 0x00, 0xd0,  // again
      0xa2, 0x00, 0x00, 0x00, 0xd0,  // one byte: another length, so it exits
      0xa3, 0x00, 0x00, 0x00, 0xd0,  // a word, after the ioeventfd is gone
      0xeb, 0xfe,
  });
  VcpuExit exit = run();
  ASSERT_EQ(exit.reason, Reason::kMmioWrite) << vcpu_->dump();
  EXPECT_EQ(exit.data.size(), 1U);
  EXPECT_EQ(event.consume(), 2U);
  ASSERT_TRUE(vm_->detach_ioeventfd(event, match));
  exit = run();
  EXPECT_EQ(exit.reason, Reason::kMmioWrite);
  EXPECT_EQ(exit.data.size(), 4U);
  EXPECT_EQ(event.consume(), 0U);
  EXPECT_EQ(vm_->detach_ioeventfd(event, match).error().code, ENOENT);
}

TEST_F(KvmTest, PortIoeventfdWithDatamatchAndAnyLength) {
  const auto one = std::move(EventFd::create().value());
  const auto any = std::move(EventFd::create().value());
  ASSERT_TRUE(vm_->attach_ioeventfd(one, {IoSpace::kPio, 0x510, 2, 1}));
  ASSERT_TRUE(vm_->attach_ioeventfd(any, {IoSpace::kPio, 0x520, 0, std::nullopt}));
  start({
      0x66, 0xb8, 0x01, 0x00,  // mov ax, 1
      0x66, 0xba, 0x10, 0x05,  // mov dx, 0x510
      0x66, 0xef,              // out dx, ax
      0x66, 0xba, 0x20, 0x05,  // mov dx, 0x520
      0xee, 0xef,              // out dx, al; out dx, eax
      0x66, 0xba, 0x10, 0x05,  // mov dx, 0x510
      0xb0, 0x02,              // mov al, 2
      0x66, 0xef,              // out dx, ax: another value
      0xeb, 0xfe,
  });
  const VcpuExit exit = run();
  ASSERT_EQ(exit.reason, Reason::kPioOut) << vcpu_->dump();
  EXPECT_EQ(exit.address, 0x510U);
  EXPECT_EQ(value_of(exit), 2U);
  EXPECT_EQ(one.consume(), 1U);
  EXPECT_EQ(any.consume(), 2U);
}

TEST_F(KvmTest, KickInterruptsARunningGuestExactlyOnce) {
  start({0xeb, 0xfe});  // jmp $
  std::thread kicker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    vcpu_->kick();
  });
  EXPECT_EQ(run().reason, Reason::kInterrupted);
  kicker.join();
  vcpu_->kick();
  vcpu_->kick();
  EXPECT_EQ(run().reason, Reason::kInterrupted) << "a kick before run() is not lost";
  std::atomic<bool> back = false;
  std::thread guard([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(back) << "two kicks before run() are one interruption";
    vcpu_->kick();
  });
  EXPECT_EQ(run().reason, Reason::kInterrupted);
  back = true;
  guard.join();
  EXPECT_EQ(vcpu_->exits(), 0U);
}

// Queues of several devices share a port; the value says which, and 0 is one like others.
TEST_F(KvmTest, ValuesOfOnePortHaveEventsOfTheirOwn) {
  std::vector<EventFd> events;
  for (std::uint64_t value = 0; value < 3; ++value) {
    events.push_back(std::move(EventFd::create().value()));
    ASSERT_TRUE(vm_->attach_ioeventfd(events.back(), {IoSpace::kPio, 0x510, 2, value})) << value;
  }
  start({
      0x66, 0xba, 0x10, 0x05,  // mov dx, 0x510
      0x66, 0xb8, 0x01, 0x00,  // mov ax, 1
      0x66, 0xef,              // out dx, ax
      0x66, 0xb8, 0x00, 0x00,  // mov ax, 0
      0x66, 0xef, 0x66, 0xef,  // out dx, ax, twice
      0x66, 0xb8, 0x02, 0x00,  // mov ax, 2
      0x66, 0xef,              // out dx, ax
      0x66, 0xb8, 0x03, 0x00,  // mov ax, 3
      0x66, 0xef,              // out dx, ax: nobody's
      0xeb, 0xfe,
  });
  const VcpuExit exit = run();
  ASSERT_EQ(exit.reason, Reason::kPioOut) << vcpu_->dump();
  EXPECT_EQ(value_of(exit), 3U);
  EXPECT_EQ(events[0].consume(), 2U);
  EXPECT_EQ(events[1].consume(), 1U);
  EXPECT_EQ(events[2].consume(), 1U);
}

// Some come while the one before is being taken: as when a pause and the end of the machine, or
// two pauses, are asked for at once. What is asked for before a kick is seen after it.
TEST_F(KvmTest, NoneOfSeveralKicksInARowIsLost) {
  start({0xeb, 0xfe});  // jmp $
  constexpr int kRows = 300;
  std::atomic<int> asked = 0;
  std::atomic<int> served = 0;
  std::thread runner([&] {
    while (served < kRows) {
      const auto exit = vcpu_->run();
      if (!exit || exit->reason != Reason::kInterrupted) return;
      served = asked.load();
    }
  });
  bool alive = true;
  for (int row = 1; row <= kRows && alive; ++row) {
    for (int kick = 0; kick < row % 4; ++kick) vcpu_->kick();
    asked = row;
    vcpu_->kick();
    alive = testing::eventually([&] { return served == row; });
    EXPECT_TRUE(alive) << "the last kick of row " << row << " was lost";
  }
  asked = kRows;
  served = kRows;
  vcpu_->kick();
  runner.join();
}

TEST_F(KvmTest, NoKickIsLost) {
  start({0xeb, 0xfe});
  constexpr int kKicks = 200;
  std::atomic<int> seen = 0;
  std::thread runner([&] {
    while (seen < kKicks) {
      if (vcpu_->run()->reason == Reason::kInterrupted) ++seen;
    }
  });
  for (int i = 0; i < kKicks; ++i) {
    vcpu_->kick();
    if (!testing::eventually([&] { return seen > i; })) {
      ADD_FAILURE() << "kick " << i << " was lost";
      seen = kKicks;
      vcpu_->kick();
      break;
    }
  }
  runner.join();
  EXPECT_EQ(seen, kKicks);
}

TEST_F(KvmTest, TripleFaultIsAShutdownAndResetRevives) {
  start({0x0f, 0x0b});  // ud2, without an IDT
  EXPECT_EQ(run().reason, Reason::kShutdown);
  ASSERT_TRUE(vm_->reset());
  const auto status = vcpu_->reset();
  ASSERT_TRUE(status) << status.error().message;
  start({0x66, 0xba, 0xf4, 0x00, 0xee, 0xeb, 0xfe});
  EXPECT_EQ(run().reason, Reason::kPioOut);
}

// KVM keeps an unfinished instruction in the vCPU. Left alone, it would be finished after the
// reset: its value in a register, its length added to the first instruction's address.
TEST_F(KvmTest, AResetDuringAReadLeavesNothingOfIt) {
  // mov eax, [0xd0000000]: 5 bytes, as long as the trap below
  const std::initializer_list<std::uint8_t> kMmioRead = {0xa1, 0x00, 0x00, 0x00, 0xd0};
  // mov dx, 0xf4; in eax, dx
  const std::initializer_list<std::uint8_t> kPioRead = {0x66, 0xba, 0xf4, 0x00, 0xed};
  // mov edi, 0x3000; mov dx, 0xf4; mov ecx, 3; rep insb
  const std::initializer_list<std::uint8_t> kStringRead = {0xbf, 0x00, 0x30, 0x00, 0x00, 0x66,
                                                           0xba, 0xf4, 0x00, 0xb9, 0x03, 0x00,
                                                           0x00, 0x00, 0xf3, 0x6c};
  for (const auto& read : {kMmioRead, kPioRead, kStringRead}) {
    start(read);
    const VcpuExit exit = run();
    ASSERT_TRUE(exit.reason == Reason::kMmioRead || exit.reason == Reason::kPioIn);
    std::ranges::fill(exit.data, std::byte{0x77});
    ASSERT_TRUE(vm_->reset());
    ASSERT_TRUE(vcpu_->reset());
    // out 0xf5, eax: what the read would have changed; then nops, which it would have skipped.
    start({0xe7, 0xf5, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xe7, 0xf6});
    const VcpuExit first = run();
    EXPECT_EQ(first.reason, Reason::kPioOut);
    EXPECT_EQ(first.address, 0xf5U) << "the first instruction was skipped";
    EXPECT_EQ(value_of(first), 0U);
    ASSERT_TRUE(vm_->reset());
    ASSERT_TRUE(vcpu_->reset());
  }
}

TEST_F(KvmTest, AKickBeforeAResetIsStillOwed) {
  start({0xe5, 0xf4});  // in eax, 0xf4
  EXPECT_EQ(run().reason, Reason::kPioIn);
  vcpu_->kick();
  ASSERT_TRUE(vcpu_->reset());
  start({0xeb, 0xfe});
  EXPECT_EQ(run().reason, Reason::kInterrupted);
}

TEST_F(KvmTest, RoutesAndIrqfds) {
  const auto event = std::move(EventFd::create().value());
  const auto gsi = vm_->allocate_msi_route();
  ASSERT_TRUE(gsi);
  EXPECT_EQ(*gsi, 24U);
  ASSERT_TRUE(vm_->set_msi_route(*gsi, {0xfee00000, 0x40}));
  ASSERT_TRUE(vm_->attach_irqfd(event, *gsi));
  EXPECT_EQ(vm_->attach_irqfd(event, *gsi).error().code, EBUSY);
  ASSERT_TRUE(vm_->set_msi_route(*gsi, {0xfee00000, 0x41}));
  ASSERT_TRUE(vm_->detach_irqfd(event, *gsi));
  vm_->free_msi_route(*gsi);
  EXPECT_EQ(vm_->set_msi_route(*gsi, {}).error().code, EINVAL);
  EXPECT_TRUE(vm_->set_irq_line(4, true));
  EXPECT_TRUE(vm_->set_irq_line(4, false));
  EXPECT_TRUE(vm_->signal_msi({0xfee00000, 0x40}));
}

TEST(KvmOpenTest, ErrorsSayWhatIsWrong) {
  const auto missing = KvmSystem::open("/nonexistent/kvm");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("is missing"));
  const auto other = KvmSystem::open("/dev/null");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("does not answer as KVM"));
}

}  // namespace
}  // namespace bellhop

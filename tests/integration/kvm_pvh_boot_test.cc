// The PVH loader's result on the host's real KVM, and the start of a second vCPU.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "machine/boot/memory_layout.h"
#include "machine/boot/pvh_loader.h"
#include "testing/elf_builder.h"

namespace bellhop {
namespace {

using Reason = VcpuExit::Reason;

class KvmPvhBootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kvm = open_kvm();
    if (!kvm && ::access("/dev/kvm", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "this host has no KVM for us: " << kvm.error().message;
    }
    ASSERT_TRUE(kvm) << kvm.error().message;
    hypervisor_ = std::move(*kvm);
    memory_.emplace(std::move(GuestMemory::create(ram_layout(4U << 20U).value()).value()));
    vm_ = std::move(hypervisor_->create_vm().value());
    ASSERT_TRUE(vm_->map_memory(*memory_));
  }

  std::optional<GuestMemory> memory_;
  std::unique_ptr<Hypervisor> hypervisor_;
  std::unique_ptr<Vm> vm_;
};

TEST_F(KvmPvhBootTest, KernelStartsWithItsStartInfo) {
  auto vcpu = std::move(vm_->create_vcpu(0, 1).value());
  KernelBoot boot;
  boot.kernel = "tiny";
  for (const auto width : {ElfBuilder::Class::k32, ElfBuilder::Class::k64}) {
    const auto registers = load_kernel_image(*memory_, boot, ElfBuilder::tiny_kernel(width), {});
    ASSERT_TRUE(registers) << registers.error().message;
    ASSERT_TRUE(vcpu->reset());
    ASSERT_TRUE(vcpu->set_boot_registers(*registers));
    const auto exit = vcpu->run();
    ASSERT_TRUE(exit) << exit.error().message;
    ASSERT_EQ(exit->reason, Reason::kPioOut) << vcpu->dump();
    EXPECT_EQ(exit->address, 0xf4U);
    std::uint32_t info = 0;
    ASSERT_EQ(exit->data.size(), sizeof info);
    std::memcpy(&info, exit->data.data(), sizeof info);
    EXPECT_EQ(info, registers->rbx);
  }
}

TEST_F(KvmPvhBootTest, SecondVcpuWaitsForItsStartup) {
  auto first = std::move(vm_->create_vcpu(0, 2).value());
  auto second = std::move(vm_->create_vcpu(1, 2).value());
  // 32 bits: enable the LAPIC; INIT, then SIPI with page 8 to APIC id 1; spin.
  constexpr std::array<std::uint8_t, 59> kFirst{
      0xbb, 0x00, 0x00, 0xe0, 0xfe,                                // mov ebx, 0xfee00000
      0xc7, 0x83, 0xf0, 0x00, 0x00, 0x00, 0xff, 0x01, 0x00, 0x00,  // [ebx+0xf0] = 0x1ff
      0xc7, 0x83, 0x10, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,  // ICR high: id 1
      0xc7, 0x83, 0x00, 0x03, 0x00, 0x00, 0x00, 0x45, 0x00, 0x00,  // INIT
      0xc7, 0x83, 0x10, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,  //
      0xc7, 0x83, 0x00, 0x03, 0x00, 0x00, 0x08, 0x46, 0x00, 0x00,  // SIPI
      0xf3, 0x90, 0xeb, 0xfc,                                      // pause; jmp
  };
  // 16 bits at 0x8000: mov al, 7; out 0xf4, al; spin.
  constexpr std::array<std::uint8_t, 6> kSecond{0xb0, 0x07, 0xe6, 0xf4, 0xeb, 0xfe};
  ASSERT_TRUE(memory_->write(GuestAddress(0x1000), std::as_bytes(std::span(kFirst))));
  ASSERT_TRUE(memory_->write(GuestAddress(0x8000), std::as_bytes(std::span(kSecond))));
  BootRegisters registers;
  registers.rip = 0x1000;
  ASSERT_TRUE(first->set_boot_registers(registers));

  for (int round = 0; round < 2; ++round) {
    std::thread other([&] {
      const auto exit = second->run();
      ASSERT_TRUE(exit) << exit.error().message;
      EXPECT_EQ(exit->reason, Reason::kPioOut) << second->dump();
      EXPECT_EQ(exit->data[0], std::byte{7});
      first->kick();
    });
    const auto exit = first->run();
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->reason, Reason::kInterrupted) << first->dump();
    other.join();
    // The same again after a reset.
    ASSERT_TRUE(vm_->reset());
    ASSERT_TRUE(first->reset());
    ASSERT_TRUE(second->reset());
    ASSERT_TRUE(first->set_boot_registers(registers));
  }
  // A vCPU that waits for its startup can be kicked.
  std::thread kicker([&] { second->kick(); });
  EXPECT_EQ(second->run()->reason, Reason::kInterrupted);
  kicker.join();
}

}  // namespace
}  // namespace bellhop

#include "hypervisor/kvm/msi_routes.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "hypervisor/kvm/kvm_abi.h"

namespace bellhop {
namespace {

std::vector<kvm_irq_routing_entry> entries_of(const MsiRoutes& routes) {
  const auto table = routes.table();
  KvmListHeader header;
  std::memcpy(&header, table.data(), sizeof header);
  std::vector<kvm_irq_routing_entry> entries(header.count);
  EXPECT_EQ(table.size(), sizeof header + entries.size() * sizeof entries[0]);
  std::memcpy(entries.data(), table.data() + sizeof header, table.size() - sizeof header);
  return entries;
}

/// The kernel: counts the tables that it is given, and refuses them as told.
struct FakeKernel {
  MsiRoutes::Apply apply() {
    return [this](std::span<const std::byte> table) -> Status {
      ++tables;
      if (refuse) return fail("no such message", EINVAL);
      last.assign(table.begin(), table.end());
      return {};
    };
  }
  unsigned tables = 0;
  bool refuse = false;
  std::vector<std::byte> last;
};

TEST(MsiRoutesTest, PinsStayWhateverIsRouted) {
  MsiRoutes routes(4096);
  const auto pins = entries_of(routes);
  ASSERT_EQ(pins.size(), 40U);  // 24 pins of the IOAPIC, 16 of the PICs
  unsigned ioapic = 0;
  for (const auto& entry : pins) {
    EXPECT_EQ(entry.type, static_cast<unsigned>(KVM_IRQ_ROUTING_IRQCHIP));
    if (entry.u.irqchip.irqchip == KVM_IRQCHIP_IOAPIC) {
      ++ioapic;
      EXPECT_EQ(entry.u.irqchip.pin, entry.gsi);
    } else {
      EXPECT_EQ(entry.u.irqchip.pin + (entry.u.irqchip.irqchip == KVM_IRQCHIP_PIC_SLAVE ? 8U : 0U),
                entry.gsi);
    }
  }
  EXPECT_EQ(ioapic, 24U);
  const unsigned gsi = routes.allocate().value();
  EXPECT_EQ(gsi, 24U);
  EXPECT_EQ(entries_of(routes).size(), 40U) << "no message yet";
  FakeKernel kernel;
  EXPECT_TRUE(routes.set(gsi, {0x1'fee0'1000, 0x4123}, kernel.apply()));
  EXPECT_TRUE(routes.set(gsi, {0x1'fee0'1000, 0x4123}, kernel.apply()));
  EXPECT_EQ(kernel.tables, 1U) << "nothing new";
  EXPECT_EQ(kernel.last, routes.table());
  const auto all = entries_of(routes);
  ASSERT_EQ(all.size(), 41U);
  EXPECT_EQ(all[40].gsi, gsi);
  EXPECT_EQ(all[40].type, static_cast<unsigned>(KVM_IRQ_ROUTING_MSI));
  EXPECT_EQ(all[40].u.msi.address_lo, 0xfee01000U);
  EXPECT_EQ(all[40].u.msi.address_hi, 1U);
  EXPECT_EQ(all[40].u.msi.data, 0x4123U);
}

TEST(MsiRoutesTest, FreedNumbersComeBack) {
  MsiRoutes routes(4096);
  EXPECT_EQ(routes.allocate().value(), 24U);
  EXPECT_EQ(routes.allocate().value(), 25U);
  FakeKernel kernel;
  ASSERT_TRUE(routes.set(24, {1, 1}, kernel.apply()));
  routes.free(24);
  EXPECT_EQ(entries_of(routes).size(), 40U);
  EXPECT_EQ(routes.set(24, {1, 1}, kernel.apply()).error().code, EINVAL);
  EXPECT_EQ(routes.allocate().value(), 24U);
  routes.free(3);  // a pin: not ours to free
  routes.free(4000);
  EXPECT_EQ(routes.set(3, {1, 1}, kernel.apply()).error().code, EINVAL);
}

// It would be in every table from then on, and those of other devices be refused with it.
TEST(MsiRoutesTest, AMessageThatTheKernelRefusesIsNotKept) {
  MsiRoutes routes(4096);
  FakeKernel kernel;
  const unsigned gsi = routes.allocate().value();
  const unsigned other = routes.allocate().value();
  kernel.refuse = true;
  EXPECT_EQ(routes.set(gsi, {0xdead0000, 1}, kernel.apply()).error().code, EINVAL);
  EXPECT_EQ(entries_of(routes).size(), 40U);
  EXPECT_FALSE(routes.set(gsi, {0xdead0000, 1}, kernel.apply())) << "asked again";
  EXPECT_EQ(kernel.tables, 2U);

  kernel.refuse = false;
  ASSERT_TRUE(routes.set(gsi, {0xfee00000, 2}, kernel.apply()));
  kernel.refuse = true;
  EXPECT_FALSE(routes.set(gsi, {0xdead0000, 1}, kernel.apply()));
  kernel.refuse = false;
  ASSERT_TRUE(routes.set(other, {0xfee00000, 3}, kernel.apply()));
  const auto all = entries_of(routes);
  ASSERT_EQ(all.size(), 42U);
  EXPECT_EQ(all[40].u.msi.address_lo, 0xfee00000U) << "the message before";
  EXPECT_EQ(all[40].u.msi.data, 2U);
  EXPECT_TRUE(routes.set(gsi, {0xfee00000, 2}, kernel.apply()));
  EXPECT_EQ(kernel.tables, 5U) << "the kernel has it still";
}

TEST(MsiRoutesTest, TheHostsTableHasAnEnd) {
  MsiRoutes routes(64);
  FakeKernel kernel;
  unsigned count = 0;
  for (;;) {
    const auto gsi = routes.allocate();
    if (!gsi) {
      EXPECT_EQ(gsi.error().code, ENOSPC);
      break;
    }
    ASSERT_TRUE(routes.set(*gsi, {0xfee00000, count++}, kernel.apply()));
  }
  EXPECT_EQ(entries_of(routes).size(), 64U);
}

}  // namespace
}  // namespace bellhop

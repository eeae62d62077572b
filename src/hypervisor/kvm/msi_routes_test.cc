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
  EXPECT_TRUE(routes.set(gsi, {0x1'fee0'1000, 0x4123}).value());
  EXPECT_FALSE(routes.set(gsi, {0x1'fee0'1000, 0x4123}).value()) << "nothing new";
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
  ASSERT_TRUE(routes.set(24, {1, 1}));
  routes.free(24);
  EXPECT_EQ(entries_of(routes).size(), 40U);
  EXPECT_EQ(routes.set(24, {1, 1}).error().code, EINVAL);
  EXPECT_EQ(routes.allocate().value(), 24U);
  routes.free(3);  // a pin: not ours to free
  routes.free(4000);
  EXPECT_EQ(routes.set(3, {1, 1}).error().code, EINVAL);
}

TEST(MsiRoutesTest, TheHostsTableHasAnEnd) {
  MsiRoutes routes(64);
  unsigned count = 0;
  for (;;) {
    const auto gsi = routes.allocate();
    if (!gsi) {
      EXPECT_EQ(gsi.error().code, ENOSPC);
      break;
    }
    ASSERT_TRUE(routes.set(*gsi, {0xfee00000, count++}));
  }
  EXPECT_EQ(entries_of(routes).size(), 64U);
}

}  // namespace
}  // namespace bellhop

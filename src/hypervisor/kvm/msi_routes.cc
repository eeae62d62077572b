#include "hypervisor/kvm/msi_routes.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "hypervisor/kvm/kvm_abi.h"

namespace bellhop {
namespace {

constexpr unsigned kPicPins = 16;

kvm_irq_routing_entry pin_entry(unsigned gsi, unsigned chip, unsigned pin) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.irqchip = chip;
  entry.u.irqchip.pin = pin;
  return entry;
}

kvm_irq_routing_entry msi_entry(unsigned gsi, const MsiMessage& message) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
  entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32U);
  entry.u.msi.data = message.data;
  return entry;
}

}  // namespace

Result<unsigned> MsiRoutes::allocate() {
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (!routes_[i].allocated) {
      routes_[i] = Route{true, std::nullopt};
      return kFirstMsiGsi + static_cast<unsigned>(i);
    }
  }
  // The pins take their share of the table: one entry each, and one more for each pin of the PIC.
  if (routes_.size() + kFirstMsiGsi + kPicPins >= max_routes_) {
    return fail(
        fmt::format("the host's interrupt routing table of {} entries is full", max_routes_),
        ENOSPC);
  }
  routes_.push_back(Route{true, std::nullopt});
  return kFirstMsiGsi + static_cast<unsigned>(routes_.size() - 1);
}

void MsiRoutes::free(unsigned gsi) noexcept {
  if (gsi < kFirstMsiGsi || gsi - kFirstMsiGsi >= routes_.size()) return;
  routes_[gsi - kFirstMsiGsi] = Route{};
}

Status MsiRoutes::set(unsigned gsi, const MsiMessage& message, const Apply& apply) {
  if (gsi < kFirstMsiGsi || gsi - kFirstMsiGsi >= routes_.size() ||
      !routes_[gsi - kFirstMsiGsi].allocated) {
    return fail(fmt::format("GSI {} is not an MSI route", gsi), EINVAL);
  }
  auto& held = routes_[gsi - kFirstMsiGsi].message;
  if (held == message) return {};
  const auto before = std::exchange(held, message);
  auto applied = apply(table());
  // It would be in every later table, which the kernel then refuses for its sake.
  if (!applied) held = before;
  return applied;
}

std::vector<std::byte> MsiRoutes::table() const {
  std::vector<kvm_irq_routing_entry> entries;
  for (unsigned pin = 0; pin < kFirstMsiGsi; ++pin) {
    if (pin < kPicPins) {
      const unsigned chip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
      entries.push_back(pin_entry(pin, chip, pin % 8));
    }
    entries.push_back(pin_entry(pin, KVM_IRQCHIP_IOAPIC, pin));
  }
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (routes_[i].message) {
      entries.push_back(msi_entry(kFirstMsiGsi + static_cast<unsigned>(i), *routes_[i].message));
    }
  }
  return make_kvm_list(std::span<const kvm_irq_routing_entry>(entries));
}

}  // namespace bellhop

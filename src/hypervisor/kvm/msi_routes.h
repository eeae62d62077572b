#pragma once

#include <linux/kvm.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"

namespace bellhop {

/// The table that says what each GSI number means. KVM takes it as a whole, so this holds the pins
/// of the PIC and IOAPIC as well as the MSI routes after them. Not thread-safe.
class MsiRoutes {
 public:
  /// Pins 0 to 23 belong to the IOAPIC, the first 16 of them to the PIC as well.
  static constexpr unsigned kFirstMsiGsi = 24;

  explicit MsiRoutes(unsigned max_routes) : max_routes_(max_routes) {}

  /// Errors: the host's table is full (ENOSPC).
  Result<unsigned> allocate();
  void free(unsigned gsi) noexcept;
  /// Hands a table to the kernel.
  using Apply = std::function<Status(std::span<const std::byte> table)>;
  /// Gives `gsi` its message, by `apply` if that changes the table. Errors: `gsi` was not allocated
  /// (EINVAL); `apply` fails, and the message is what it was before.
  Status set(unsigned gsi, const MsiMessage& message, const Apply& apply);

  /// The whole table in KVM's form: kvm_irq_routing and its entries.
  [[nodiscard]] std::vector<std::byte> table() const;

 private:
  struct Route {
    bool allocated = false;
    std::optional<MsiMessage> message;
  };

  unsigned max_routes_;
  std::vector<Route> routes_;  // index 0 is kFirstMsiGsi
};

}  // namespace bellhop

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/log_limiter.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "transport/host_binder.h"

namespace bellhop {

/// MSI-X of one function: the table and the pending bits (PCI 3.0, 6.8.2). Each vector is an
/// eventfd. While the vector may interrupt, the host turns its signals into messages; while it is
/// masked they stay in the eventfd's counter, which thereby is the pending bit. Any thread.
class Msix {
 public:
  static constexpr unsigned kEntryBytes = 16;

  enum class Delivery : std::uint8_t {
    kDisabled,  ///< MSI-X is not enabled: nothing is delivered, and nothing is kept
    kMasked,    ///< by the function mask, or since the function may not write to memory
    kOpen,
  };

  /// All vectors masked. Errors: no descriptors left.
  static Result<std::unique_ptr<Msix>> create(HostBinder& host, unsigned vectors);
  ~Msix();
  Msix(const Msix&) = delete;
  Msix& operator=(const Msix&) = delete;

  [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(vectors_.size()); }
  /// What to signal for `vector`; null for one that is not there (kMsiNoVector among them).
  [[nodiscard]] const EventFd* event(std::uint16_t vector) const noexcept {
    return vector < vectors_.size() ? &vectors_[vector].event : nullptr;
  }

  /// Accesses of 4 or 8 aligned bytes; others read 0 and write nothing, as does what lies past the
  /// last vector. False for those. The pending bits are read-only.
  bool read_table(std::uint64_t offset, std::span<std::byte> data) noexcept;
  bool write_table(std::uint64_t offset, std::span<const std::byte> data) noexcept;
  bool read_pending(std::uint64_t offset, std::span<std::byte> data) noexcept;

  void set_delivery(Delivery delivery) noexcept;
  /// Back to the state after power-on: all vectors masked, nothing pending.
  void reset() noexcept;

 private:
  struct Vector {
    EventFd event;
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    std::uint32_t control = 1;
    std::optional<unsigned> gsi;       ///< allocated when first needed
    std::uint64_t routed_address = 0;  ///< what the host was told last
    std::uint32_t routed_data = 0;
    bool attached = false;
  };

  explicit Msix(HostBinder& host) noexcept : host_(&host) {}
  void update(Vector& vector) noexcept;
  Status open(Vector& vector);
  void close(Vector& vector) noexcept;
  [[nodiscard]] std::uint32_t entry_word(const Vector& vector, unsigned word) const noexcept;

  HostBinder* host_;
  std::mutex lock_;
  std::vector<Vector> vectors_;
  Delivery delivery_ = Delivery::kDisabled;
  log::Limiter log_;  ///< a driver can write what the host refuses, again and again
};

}  // namespace bellhop

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// Registers behind a range of ports or addresses. Called by whichever vCPU thread made the access,
/// by several at once. Offsets are bytes from the range's base; an access lies within the range and
/// is 1, 2, 4 or 8 bytes wide.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual void read(std::uint64_t offset, std::span<std::byte> data) noexcept = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> data) noexcept = 0;
};

/// Which device answers at which port or address. One object for ports, one for memory.
///
/// Lookup takes no lock and writes nothing shared: the table is read under a sequence number that
/// insert() and remove() raise, and read again if it changed meanwhile. A range can therefore come
/// and go while vCPUs run, even from inside a device's write(), as when the guest moves a BAR. An
/// access that was looked up before remove() may still arrive after it: a device must outlive the
/// vCPUs' running, or at least the next pause.
class Bus {
 public:
  /// Accesses that no device took. They read as all ones, and writes are dropped.
  struct Faults {
    std::uint64_t unmapped = 0;    ///< no range at the address
    std::uint64_t straddling = 0;  ///< began in a range and went past its end
  };

  /// `name` for messages; `last` is the highest address there is (0xffff for ports).
  explicit Bus(std::string name, std::uint64_t last = UINT64_MAX);
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;
  ~Bus();

  /// Any thread. Errors: an empty range, one that wraps or goes past the last address (EINVAL), one
  /// that overlaps another (EEXIST).
  Status insert(std::uint64_t base, std::uint64_t size, BusDevice& device);
  /// Takes out the range that begins at `base`. False if there is none. Any thread.
  bool remove(std::uint64_t base) noexcept;

  /// True if a device took the access. Any thread; no locks, no allocation.
  bool read(std::uint64_t address, std::span<std::byte> data) const noexcept;
  bool write(std::uint64_t address, std::span<const std::byte> data) const noexcept;

  [[nodiscard]] Faults faults() const noexcept;

 private:
  struct Range {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    BusDevice* device = nullptr;
  };
  struct Table;

  Range find(std::uint64_t address, std::size_t length) const noexcept;
  void publish() noexcept;

  std::string name_;
  std::uint64_t last_;
  std::mutex mutex_;           // writers only
  std::vector<Range> ranges_;  // ascending; the writers' copy
  // Tables outgrown are kept, since a reader may still be in one. Each is twice its forerunner, so
  // all of them together are smaller than the last one twice.
  std::vector<std::unique_ptr<Table>> tables_;
  std::atomic<Table*> table_;
  std::atomic<std::uint64_t> sequence_ = 0;  // odd while the table changes
  mutable std::atomic<std::uint64_t> unmapped_ = 0;
  mutable std::atomic<std::uint64_t> straddling_ = 0;
};

}  // namespace bellhop

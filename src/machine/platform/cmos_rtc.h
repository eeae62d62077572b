#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <mutex>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// The clock of a PC with its 128 bytes of CMOS memory (Motorola MC146818), at an index and a data
/// port. It gives the host's time in UTC, shifted if the guest sets it, and has no alarm and no
/// interrupt. Any vCPU thread.
class CmosRtc final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 2;

  /// Seconds since 1970, UTC.
  using Clock = std::function<std::time_t()>;

  explicit CmosRtc(Clock clock = [] { return std::time(nullptr); });

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;
  /// Back to the state after power-on. A battery keeps the time.
  void reset() noexcept;

 private:
  [[nodiscard]] std::tm now() const noexcept;
  [[nodiscard]] std::uint8_t read_cell(std::uint8_t index) const noexcept;
  void write_cell(std::uint8_t index, std::uint8_t value) noexcept;
  void write_time(std::uint8_t index, std::uint8_t value) noexcept;
  [[nodiscard]] bool being_set() const noexcept;

  Clock clock_;
  std::mutex lock_;
  std::time_t shift_ = 0;  ///< the guest's time less the host's, seconds
  std::tm held_{};         ///< what is read and written while the guest sets the clock
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, 128> cells_{};
};

}  // namespace bellhop

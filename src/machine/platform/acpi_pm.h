#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "bus/bus.h"
#include "machine/power_button.h"

namespace bellhop {

/// ACPI's fixed hardware (ACPI 6.5, 4.8): the PM1 event and control registers with the power
/// button, the power management timer, and the general-purpose events. Registers from any vCPU
/// thread, press_power_button() and raise() from any thread.
class AcpiPm final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 16;
  static constexpr std::uint64_t kEventOffset = 0;    ///< status and enable, 2 bytes each
  static constexpr std::uint64_t kControlOffset = 4;  ///< 2 bytes
  static constexpr std::uint64_t kTimerOffset = 8;    ///< 4 bytes, counts at 3.579545 MHz
  static constexpr std::uint64_t kGpeOffset = 12;     ///< status and enable, 2 bytes each
  static constexpr std::uint8_t kSci = 9;
  /// What the DSDT's _S5 names.
  static constexpr unsigned kSleepTypeOff = 5;

  /// `power_off`: on the vCPU thread that asked for it. `line`: the SCI's level, on any of the
  /// threads, with the lock held.
  AcpiPm(std::function<void()> power_off, std::function<void(bool)> line);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

  /// As a person would: the guest's operating system decides what comes of it. A driver that comes
  /// later may find the press, but Linux clears it before it listens.
  ButtonPress press_power_button() noexcept;
  /// Signals a general-purpose event (4.8.4.1): the guest's method of its number is run. `event`
  /// is below 16.
  void raise(unsigned event) noexcept;
  /// Back to the state after power-on. The timer runs on.
  void reset() noexcept;

 private:
  [[nodiscard]] std::uint8_t read_byte(std::uint64_t offset, std::uint32_t timer) const noexcept;
  void update_line() noexcept;

  std::function<void()> power_off_;
  std::function<void(bool)> line_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex lock_;
  std::uint16_t status_ = 0;
  std::uint16_t enable_ = 0;
  std::uint16_t control_ = 1;  ///< SCI_EN: there is no other mode
  std::uint16_t events_ = 0;   ///< general-purpose ones that are signalled
  std::uint16_t events_enabled_ = 0;
  bool level_ = false;
  bool set_up_ = false;  ///< a driver has written the event registers
};

}  // namespace bellhop

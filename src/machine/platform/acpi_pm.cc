#include "machine/platform/acpi_pm.h"

#include <utility>

namespace bellhop {

namespace {

constexpr std::uint16_t kPowerButton = 1U << 8U;
constexpr std::uint16_t kSciEnable = 1U << 0U;
constexpr std::uint16_t kSleepEnable = 1U << 13U;
constexpr unsigned kSleepTypeShift = 10;
constexpr unsigned kSleepTypeMask = 7;
constexpr std::uint64_t kTimerHz = 3'579'545;

std::uint16_t with_byte(std::uint16_t word, bool high, std::uint8_t byte) {
  return static_cast<std::uint16_t>(high ? (word & 0x00ffU) | (unsigned{byte} << 8U)
                                         : (word & 0xff00U) | byte);
}

}  // namespace

AcpiPm::AcpiPm(std::function<void()> power_off, std::function<void(bool)> line)
    : power_off_(std::move(power_off)), line_(std::move(line)) {}

void AcpiPm::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  const auto passed = std::chrono::steady_clock::now() - start_;
  const auto ns = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count());
  // Seconds and their fractions apart, so that no year of uptime overflows.
  constexpr std::uint64_t kSecond = 1'000'000'000;
  const auto timer =
      static_cast<std::uint32_t>(ns / kSecond * kTimerHz + ns % kSecond * kTimerHz / kSecond);
  const std::lock_guard<std::mutex> hold(lock_);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::byte{read_byte(offset + i, timer)};
}

std::uint8_t AcpiPm::read_byte(std::uint64_t offset, std::uint32_t timer) const noexcept {
  const auto byte = [](std::uint32_t value, std::uint64_t index) {
    return static_cast<std::uint8_t>(value >> (8 * index));
  };
  if (offset < 2) return byte(status_, offset);
  if (offset < kControlOffset) return byte(enable_, offset - 2);
  if (offset < kControlOffset + 2) return byte(control_, offset - kControlOffset);
  if (offset >= kTimerOffset && offset < kTimerOffset + 4)
    return byte(timer, offset - kTimerOffset);
  if (offset >= kGpeOffset + 2) return byte(events_enabled_, offset - kGpeOffset - 2);
  if (offset >= kGpeOffset) return byte(events_, offset - kGpeOffset);
  return 0;
}

void AcpiPm::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  bool off = false;
  {
    const std::lock_guard<std::mutex> hold(lock_);
    for (std::size_t i = 0; i < data.size(); ++i) {
      const std::uint64_t at = offset + i;
      const auto value = std::to_integer<std::uint8_t>(data[i]);
      const bool high = at % 2 != 0;
      set_up_ = set_up_ || at < kControlOffset;
      const unsigned ones = unsigned{value} << (high ? 8U : 0U);
      // Of a status, ones clear.
      if (at < 2) {
        status_ = static_cast<std::uint16_t>(status_ & ~ones);
      } else if (at < kControlOffset) {
        enable_ = with_byte(enable_, high, value);
      } else if (at < kControlOffset + 2) {
        control_ = static_cast<std::uint16_t>(with_byte(control_, high, value) | kSciEnable);
      } else if (at >= kGpeOffset + 2) {
        events_enabled_ = with_byte(events_enabled_, high, value);
      } else if (at >= kGpeOffset) {
        events_ = static_cast<std::uint16_t>(events_ & ~ones);
      }
    }
    if ((control_ & kSleepEnable) != 0) {
      // SLP_EN reads as zero. No other sleep than off is offered.
      off = ((control_ >> kSleepTypeShift) & kSleepTypeMask) == kSleepTypeOff;
      control_ = static_cast<std::uint16_t>(control_ & ~kSleepEnable);
    }
    update_line();
  }
  if (off && power_off_) power_off_();
}

ButtonPress AcpiPm::press_power_button() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  status_ |= kPowerButton;
  update_line();
  if ((enable_ & kPowerButton) != 0) return ButtonPress::kHeard;
  return set_up_ ? ButtonPress::kUnheard : ButtonPress::kNoDriver;
}

void AcpiPm::raise(unsigned event) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  events_ = static_cast<std::uint16_t>(events_ | 1U << event);
  update_line();
}

void AcpiPm::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  status_ = 0;
  enable_ = 0;
  events_ = 0;
  events_enabled_ = 0;
  control_ = kSciEnable;
  set_up_ = false;
  update_line();
}

void AcpiPm::update_line() noexcept {
  const bool level = (status_ & enable_ & kPowerButton) != 0 || (events_ & events_enabled_) != 0;
  if (level == std::exchange(level_, level)) return;
  if (line_) line_(level);
}

}  // namespace bellhop

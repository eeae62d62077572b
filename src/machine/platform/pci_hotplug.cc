#include "machine/platform/pci_hotplug.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bellhop {

PciHotplug::PciHotplug(std::function<void()> changed, std::function<void()> let_go)
    : changed_(std::move(changed)), on_let_go_(std::move(let_go)) {}

void PciHotplug::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  std::uint32_t value = 0;
  if (data.size() != sizeof value) return;
  {
    const std::lock_guard hold(lock_);
    if (offset == kUpOffset) value = std::exchange(up_, 0);
    if (offset == kDownOffset) value = std::exchange(down_, 0);
  }
  std::memcpy(data.data(), &value, sizeof value);
}

void PciHotplug::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  std::uint32_t numbers = 0;
  if (offset != kEjectOffset || data.size() != sizeof numbers) return;
  std::memcpy(&numbers, data.data(), sizeof numbers);
  {
    // One that was not asked for stays: it is not the guest's to take away.
    const std::lock_guard hold(lock_);
    numbers &= asked_;
    asked_ &= ~numbers;
    down_ &= ~numbers;
    up_ &= ~numbers;
    let_go_ |= numbers;
  }
  if (numbers != 0) on_let_go_();
}

void PciHotplug::has_come(unsigned number) noexcept {
  {
    const std::lock_guard hold(lock_);
    up_ |= 1U << number;
  }
  changed_();
}

void PciHotplug::ask_for(unsigned number) noexcept {
  {
    const std::lock_guard hold(lock_);
    down_ |= 1U << number;
    asked_ |= 1U << number;
  }
  changed_();
}

std::uint32_t PciHotplug::take_let_go() noexcept {
  const std::lock_guard hold(lock_);
  return std::exchange(let_go_, 0);
}

void PciHotplug::forget(unsigned number) noexcept {
  const std::lock_guard hold(lock_);
  for (std::uint32_t* const bits : {&up_, &down_, &asked_, &let_go_}) *bits &= ~(1U << number);
}

void PciHotplug::reset() noexcept {
  const std::lock_guard hold(lock_);
  up_ = 0;
  down_ = 0;
  let_go_ |= std::exchange(asked_, 0);
}

}  // namespace bellhop

#pragma once

#include <cstdint>

namespace bellhop {

/// How a driver's kick is to reach the host.
enum class NotifyMode : std::uint8_t {
  kSync,       ///< as an exit: the vCPU thread drains the queue before the guest goes on
  kIoEventFd,  ///< KVM signals an eventfd, the I/O thread drains
};

/// As the option notify= takes it.
constexpr const char* to_string(NotifyMode mode) noexcept {
  return mode == NotifyMode::kSync ? "sync" : "ioeventfd";
}

}  // namespace bellhop

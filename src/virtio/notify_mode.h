#pragma once

#include <cstdint>

namespace bellhop {

/// How a kick of a queue reaches the host.
enum class NotifyMode : std::uint8_t {
  kSync,       ///< the vCPU thread drains the queue before the guest goes on
  kIoEventFd,  ///< KVM signals an eventfd, the I/O thread drains
};

constexpr const char* to_string(NotifyMode mode) noexcept {
  return mode == NotifyMode::kSync ? "sync" : "ioeventfd";
}

}  // namespace bellhop

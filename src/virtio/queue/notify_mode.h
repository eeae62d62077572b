#pragma once

#include <cstdint>

namespace bellhop {

/// How a kick of a queue reaches the host.
enum class NotifyMode : std::uint8_t {
  kSync,       ///< the vCPU thread drains the queue before the guest goes on
  kIoEventFd,  ///< KVM signals an eventfd, the I/O thread drains
  kKernel,     ///< KVM signals an eventfd, the kernel itself drains (vhost); no user's choice
};

constexpr const char* to_string(NotifyMode mode) noexcept {
  switch (mode) {
    case NotifyMode::kSync:
      return "sync";
    case NotifyMode::kIoEventFd:
      return "ioeventfd";
    case NotifyMode::kKernel:
      return "vhost";
  }
  return "";
}

}  // namespace bellhop

#pragma once

#include <cstdint>

namespace bellhop {

/// How a driver's kick is to reach the host.
enum class NotifyMode : std::uint8_t {
  kSync,       ///< as an exit: the vCPU thread drains the queue before the guest goes on
  kIoEventFd,  ///< KVM signals an eventfd, the I/O thread drains
  kPoll,       ///< the same, and the I/O thread looks at the ring as long as there is traffic
  kAdaptive,   ///< of a device: for each queue the best of these, by measurement, while it runs
};

inline constexpr NotifyMode kNotifyModes[] = {NotifyMode::kSync, NotifyMode::kIoEventFd,
                                              NotifyMode::kPoll, NotifyMode::kAdaptive};

/// As the option notify= takes it.
constexpr const char* to_string(NotifyMode mode) noexcept {
  switch (mode) {
    case NotifyMode::kSync:
      return "sync";
    case NotifyMode::kIoEventFd:
      return "ioeventfd";
    case NotifyMode::kPoll:
      return "poll";
    case NotifyMode::kAdaptive:
      return "adaptive";
  }
  return "";
}

}  // namespace bellhop

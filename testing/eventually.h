#pragma once

#include <chrono>
#include <thread>

namespace bellhop::testing {

/// Far longer than anything takes on a busy machine: who waits so long waits for a fault.
inline constexpr std::chrono::seconds kPatience{60};

/// Looks at `condition` until it holds; false if it does not within `patience`. What a test waits
/// for goes through here, so that broken code fails and does not hang.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition, std::chrono::nanoseconds patience = kPatience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace bellhop::testing

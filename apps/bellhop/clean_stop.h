#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "machine/power_button.h"

namespace bellhop {

/// How a machine is asked to end so that its guest loses nothing: the first signal presses the
/// power button, and the guest has a while to switch itself off. A second signal or the end of that
/// while end the machine; so does the first where there is nothing to wait for: no while was given,
/// or the guest has no driver of the button.
///
/// A button that nobody hears is pressed again each second, and one that was heard each ten:
/// between the kernel's driver and the service that obeys it lies a part of the boot.
///
/// Two signals within half a second are one (timeout(1) sends its own twice), and SIGHUP is never
/// the second (a session that ends sends it beside SIGTERM).
class CleanStop {
 public:
  /// Two signals within this time are one: timeout(1) sends its own twice.
  static constexpr std::chrono::milliseconds kOneSignal{500};
  using Clock = std::chrono::steady_clock;

  struct Hooks {
    std::function<ButtonPress()> press;
    /// A line for the user.
    std::function<void(const std::string&)> tell;
  };

  /// `patience`: 0 ends at once.
  CleanStop(std::chrono::nanoseconds patience, Hooks hooks)
      : patience_(patience), hooks_(std::move(hooks)) {}

  /// A signal has come: SIGINT, SIGTERM or SIGHUP. True: the machine is to be ended now.
  bool take(int signal, Clock::time_point now);
  /// When look() has something to do. Empty: nothing is waited for.
  [[nodiscard]] std::optional<Clock::time_point> next() const;
  /// True: the machine is to be ended now.
  bool look(Clock::time_point now);
  /// The first signal that came, or 0. Any thread; the others are the signals' thread's.
  [[nodiscard]] int signal() const noexcept { return signal_.load(); }

 private:
  [[nodiscard]] std::string left(Clock::time_point now) const;
  /// True if the guest has heard it for the first time.
  bool press(Clock::time_point now);

  std::chrono::nanoseconds patience_;
  Hooks hooks_;
  std::atomic<int> signal_{0};
  Clock::time_point begun_;
  Clock::time_point next_press_;
  Clock::time_point next_line_;
  ButtonPress heard_ = ButtonPress::kUnheard;
  bool waiting_ = false;
};

}  // namespace bellhop

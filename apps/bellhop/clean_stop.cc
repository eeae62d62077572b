#include "apps/bellhop/clean_stop.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <ratio>

namespace bellhop {

namespace {

using namespace std::chrono_literals;

constexpr auto kUnheardPause = 1s;
constexpr auto kHeardPause = 10s;
constexpr auto kLinePause = 10s;

const char* name_of(int signal) {
  if (signal == SIGINT) return "SIGINT";
  return signal == SIGHUP ? "SIGHUP" : "SIGTERM";
}

}  // namespace

std::string CleanStop::left(Clock::time_point now) const {
  using Tenths = std::chrono::duration<std::int64_t, std::deci>;
  const std::int64_t tenths = std::chrono::round<Tenths>(begun_ + patience_ - now).count();
  return tenths % 10 == 0 ? fmt::format("{} s", tenths / 10)
                          : fmt::format("{}.{} s", tenths / 10, tenths % 10);
}

bool CleanStop::press(Clock::time_point now) {
  const ButtonPress before = heard_;
  heard_ = hooks_.press();
  next_press_ = now + (heard_ == ButtonPress::kHeard ? kHeardPause : kUnheardPause);
  return heard_ == ButtonPress::kHeard && before != heard_;
}

bool CleanStop::take(int signal, Clock::time_point now) {
  if (signal_.load() != 0) {
    if (!waiting_) return true;
    if (signal == SIGHUP || now - begun_ < kOneSignal) return false;
    waiting_ = false;
    hooks_.tell(fmt::format("{}: the machine is ended", name_of(signal)));
    return true;
  }
  signal_ = signal;
  begun_ = now;
  if (patience_ == 0ns) return true;
  const bool heard = press(now);
  if (heard_ == ButtonPress::kNoDriver) return true;
  waiting_ = true;
  next_line_ = now + kLinePause;
  hooks_.tell(fmt::format(
      "{}: {}; it has {} to switch itself off (a second signal ends it at once)", name_of(signal),
      heard ? "pressed the guest's power button"
            : "the guest does not listen to its power button, which is pressed until it does",
      left(now)));
  return false;
}

std::optional<CleanStop::Clock::time_point> CleanStop::next() const {
  if (!waiting_) return std::nullopt;
  return std::min({next_press_, next_line_, begun_ + patience_});
}

bool CleanStop::look(Clock::time_point now) {
  if (!waiting_) return false;
  if (now >= begun_ + patience_) {
    waiting_ = false;
    if (heard_ != ButtonPress::kNoDriver) {
      hooks_.tell(fmt::format(
          "the guest has not switched itself off within {}: the machine is ended", left(begun_)));
    }
    return true;
  }
  const bool heard = now >= next_press_ && press(now);
  if (heard) hooks_.tell("pressed the guest's power button: it listens now");
  if (now < next_line_) return false;
  next_line_ = now + kLinePause;
  // With no driver any more it has ended, and what it has printed is on its way.
  if (heard || heard_ == ButtonPress::kNoDriver) return false;
  hooks_.tell(fmt::format("waiting for the guest to switch itself off{}: {} left",
                          heard_ == ButtonPress::kHeard ? "" : " (it does not listen)", left(now)));
  return false;
}

}  // namespace bellhop

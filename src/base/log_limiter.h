#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"

namespace bellhop::log {

/// Lines that a guest or a peer can cause, of one device or connection: kBurst of them at once,
/// then one in each kInterval. The next line that is written says how many were left out; if none
/// comes, the end of the limiter does. Any thread; never on the data path.
class Limiter {
 public:
  using Clock = std::chrono::steady_clock;
  using Now = Clock::time_point (*)();
  static constexpr std::uint32_t kBurst = 10;
  static constexpr std::chrono::seconds kInterval{60};

  explicit Limiter(Now now = &Clock::now) noexcept : now_(now), last_(now()) {}
  ~Limiter();
  Limiter(const Limiter&) = delete;
  Limiter& operator=(const Limiter&) = delete;

  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    put(Level::kInfo, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) {
    put(Level::kWarning, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    put(Level::kError, format, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void put(Level level, fmt::format_string<Args...> format, Args&&... args) {
    if (const auto left_out = admit()) {
      write_line(level, fmt::format(format, std::forward<Args>(args)...), *left_out);
    }
  }
  /// How many lines were left out before this one; nothing if it is to be left out, too.
  std::optional<std::uint64_t> admit() noexcept;
  void write_line(Level level, std::string line, std::uint64_t left_out);

  const Now now_;
  std::mutex mutex_;
  Clock::time_point last_;  ///< when `tokens_` was last filled
  std::uint32_t tokens_ = kBurst;
  std::uint64_t left_out_ = 0;
  Level last_level_ = Level::kInfo;
  std::string last_line_;  ///< of those that were written
};

}  // namespace bellhop::log

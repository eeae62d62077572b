#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace bellhop::log {

/// Lines for the operator, on standard error. Never called on the data path.
enum class Level : std::uint8_t { kInfo, kWarning, kError };

/// How lines look.
enum class Format : std::uint8_t {
  kText,  ///< "bellhop: warning: LINE"
  kJson,  ///< {"time":"2026-11-29T19:00:31.123456Z","level":"warning","message":"LINE"}
};

/// Of all lines from here on. Where standard error is systemd's journal (JOURNAL_STREAM,
/// systemd.exec(5)) each one begins with its priority there (sd-daemon(3)), "<4>", and as text has
/// no "bellhop: ", which the journal says itself. Before there are other threads.
void set_format(Format format);

/// Any thread.
void write(Level level, std::string_view line);

/// What the program has to say of itself, such as why it ends: as text without its level. Any
/// thread.
void tell(Level level, std::string_view line);

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace bellhop::log

#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/log_stream.h"

namespace bellhop::log {

namespace {

struct Style {
  Format format = Format::kText;
  bool journal = false;
};
Style style;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): set before threads

/// Another's line that is not at its end.
std::atomic<bool> line_open{false};

/// Made at the first line; most runs never write one.
spdlog::logger& logger() {
  static const auto made = [] {
    // https://no-color.org: whatever it is, unless it is empty. A terminal is looked for by spdlog.
    const char* const plain = std::getenv("NO_COLOR");
    const bool never = plain != nullptr && *plain != '\0';
    auto logger = spdlog::stderr_color_mt(
        "bellhop", never ? spdlog::color_mode::never : spdlog::color_mode::automatic);
    logger->set_pattern("%n: %^%l%$: %v");
    return logger;
  }();
  return *made;
}

/// Whether standard error is the file that JOURNAL_STREAM names, "DEVICE:INODE": who starts a
/// program with another one leaves the variable as it was.
bool is_journal() {
  const char* const named = std::getenv("JOURNAL_STREAM");
  if (named == nullptr) return false;
  const std::string_view text(named);
  dev_t device = 0;
  ino_t inode = 0;
  const auto [colon, bad] = std::from_chars(text.data(), text.data() + text.size(), device);
  if (bad != std::errc() || colon == text.data() + text.size() || *colon != ':') return false;
  const auto [end, worse] = std::from_chars(colon + 1, text.data() + text.size(), inode);
  if (worse != std::errc() || end != text.data() + text.size()) return false;
  struct stat info {};
  return ::fstat(STDERR_FILENO, &info) == 0 && info.st_dev == device && info.st_ino == inode;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

std::string_view priority_of(Level level) {
  switch (level) {
    case Level::kInfo:
      return "<6>";
    case Level::kWarning:
      return "<4>";
    case Level::kError:
      return "<3>";
  }
  return "<3>";
}

/// In UTC, without the C library's calendar: that one opens files.
std::string now() {
  using std::chrono::floor;
  const auto time = floor<std::chrono::microseconds>(std::chrono::system_clock::now());
  const auto midnight = floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss clock(time - midnight);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

std::string json_of(Level level, std::string_view line) {
  using Json = nlohmann::ordered_json;
  return Json{{"time", now()}, {"level", name_of(level)}, {"message", line}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

/// In one piece: several threads write, and standard error keeps nothing back. What cannot be
/// written is nobody's to tell.
void print(std::string_view text) { (void)std::fwrite(text.data(), 1, text.size(), stderr); }

/// Each of its lines with its priority.
void print_to_journal(Level level, std::string_view text) {
  std::string all(line_open.exchange(false, std::memory_order_relaxed) ? "\n" : "");
  while (true) {
    const auto end = text.find('\n');
    all += priority_of(level);
    all += text.substr(0, end);
    all += '\n';
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  print(all);
}

}  // namespace

void set_line_open(bool open) noexcept { line_open.store(open, std::memory_order_relaxed); }

void set_format(Format format) { style = {.format = format, .journal = is_journal()}; }

void write(Level level, std::string_view line) {
  if (style.format == Format::kText && style.journal) {
    print_to_journal(level, fmt::format("{}: {}", name_of(level), line));
    return;
  }
  if (style.format == Format::kJson) {
    tell(level, line);
    return;
  }
  switch (level) {
    case Level::kInfo:
      logger().info(line);
      return;
    case Level::kWarning:
      logger().warn(line);
      return;
    case Level::kError:
      logger().error(line);
      return;
  }
}

void tell(Level level, std::string_view line) {
  const bool json = style.format == Format::kJson;
  if (style.journal) {
    print_to_journal(level, json ? json_of(level, line) : std::string(line));
  } else if (json) {
    print(json_of(level, line) + '\n');
  } else {
    print(fmt::format("bellhop: {}\n", line));
  }
}

}  // namespace bellhop::log

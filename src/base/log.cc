#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace bellhop::log {

namespace {

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

}  // namespace

void write(Level level, std::string_view line) {
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

}  // namespace bellhop::log

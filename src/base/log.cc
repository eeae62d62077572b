#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace bellhop::log {

namespace {

/// Made at the first line; most runs never write one.
spdlog::logger& logger() {
  static const auto made = [] {
    auto logger = spdlog::stderr_color_mt("bellhop");
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

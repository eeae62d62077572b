#include "base/log_limiter.h"

#include <algorithm>

namespace bellhop::log {

std::optional<std::uint64_t> Limiter::admit() noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto intervals = (now_() - last_) / kInterval;
  last_ += intervals * kInterval;
  tokens_ = static_cast<std::uint32_t>(std::min<std::int64_t>(kBurst, tokens_ + intervals));
  if (tokens_ == 0) {
    ++left_out_;
    return std::nullopt;
  }
  --tokens_;
  return std::exchange(left_out_, 0);
}

void Limiter::write_line(Level level, std::string line, std::uint64_t left_out) {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    last_level_ = level;
    last_line_ = line;
  }
  if (left_out != 0) line += fmt::format(" ({} more lines were left out before)", left_out);
  write(level, line);
}

Limiter::~Limiter() {
  if (left_out_ == 0) return;
  write(last_level_, fmt::format("{} ({} more lines were left out since)", last_line_, left_out_));
}

}  // namespace bellhop::log

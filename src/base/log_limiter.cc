#include "base/log_limiter.h"

#include <algorithm>
#include <atomic>

namespace bellhop::log {

std::optional<std::uint64_t> Limiter::admit() noexcept {
  // Never waited for: vCPUs that flood together would spend their time on it.
  const std::unique_lock<std::mutex> hold(mutex_, std::try_to_lock);
  const std::atomic_ref<std::uint64_t> left_out(left_out_);
  if (!hold.owns_lock()) {
    left_out.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  const auto intervals = (now_() - last_) / kInterval;
  last_ += intervals * kInterval;
  tokens_ = static_cast<std::uint32_t>(std::min<std::int64_t>(kBurst, tokens_ + intervals));
  if (tokens_ == 0) {
    left_out.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  --tokens_;
  return left_out.exchange(0, std::memory_order_relaxed);
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

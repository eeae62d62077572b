#include "apps/bellhop/bench_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace bellhop {

namespace {

constexpr double kWorthALine = 2;  // seconds

/// A line that cannot be written ends no sweep.
void print(const std::string& text) {
  (void)std::fputs(text.c_str(), stderr);
  (void)std::fflush(stderr);
}

}  // namespace

std::string describe_time(double seconds) {
  const auto all = static_cast<unsigned long>(std::lround(std::max(seconds, 0.0)));
  if (all < 60) return fmt::format("{} s", all);
  if (all < 600) return fmt::format("{} min {} s", all / 60, all % 60);
  if (all < 3600) return fmt::format("{} min", (all + 30) / 60);
  return fmt::format("{} h {} min", all / 3600, all % 3600 / 60);
}

std::string announce(const bench::SweepSize& size, double repeat_s) {
  const auto time = [repeat_s](std::size_t repeats) {
    return describe_time(static_cast<double>(repeats) * repeat_s);
  };
  std::string text = fmt::format("{} cell{}", size.cells, size.cells == 1 ? "" : "s");
  if (size.not_run > 0) text += fmt::format(" ({} more cannot be run here)", size.not_run);
  if (size.from_file > 0) text += fmt::format(", {} repeats are there already", size.from_file);
  if (size.repeats == size.at_most) {
    return text + fmt::format(", {} repeat{}: about {}", size.repeats, size.repeats == 1 ? "" : "s",
                              time(size.repeats));
  }
  return text + fmt::format(", {} to {} repeats: about {} to {}", size.repeats, size.at_most,
                            time(size.repeats), time(size.at_most));
}

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}

void ProgressLine::begin(const bench::SweepSize& size, double repeat_s) {
  print("[bench] " + announce(size, repeat_s) + "\n");
  silent_ = static_cast<double>(size.at_most) * repeat_s < kWorthALine;
  repeat_s_ = repeat_s;
  start_ = Clock::now();
}

void ProgressLine::show(std::size_t number, std::size_t total, const std::string& what) {
  if (silent_) return;
  // What was seen so far tells better than what was expected, repeats that are made again too.
  const auto done = static_cast<double>(number - 1);
  const double passed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double each = number == 1 ? repeat_s_ : passed / done;
  const std::string left = describe_time(static_cast<double>(total - number + 1) * each);
  const std::string line = fmt::format("[{}/{}] {}, {} left", number, total, what, left);
  print(terminal_ ? "\r\x1b[K" + line : line + "\n");
}

void ProgressLine::clear() {
  if (terminal_ && !silent_) print("\r\x1b[K");
}

}  // namespace bellhop

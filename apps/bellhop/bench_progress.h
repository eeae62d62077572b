#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "bench/harness/interleave.h"

namespace bellhop {

/// "45 s", "4 min 10 s", "2 h 5 min".
std::string describe_time(double seconds);
/// What a sweep is about to do: "24 cells, 72 repeats: about 4 min 10 s". `repeat_s` is what one
/// repeat takes.
std::string announce(const bench::SweepSize& size, double repeat_s);

/// Which cell is being run and how much time is left, on standard error: one line that changes on a
/// terminal, else a line for each. Nothing where all of it takes less than two seconds.
class ProgressLine {
 public:
  ProgressLine();
  /// Says what is about to be done, and begins to count the time.
  void begin(const bench::SweepSize& size, double repeat_s);
  void show(std::size_t number, std::size_t total, const std::string& what);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool terminal_;
  bool silent_ = false;
  double repeat_s_ = 0;
  Clock::time_point start_;
};

}  // namespace bellhop

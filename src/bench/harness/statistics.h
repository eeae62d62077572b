#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

// What repeats tell. All of it is the same in each run of the program: random numbers come from a
// seed, and not from the standard library's distributions, which differ from one to the next.
namespace bellhop::bench {

/// The one in the middle; of an even number, the mean of the two there. 0 where there are none.
double median(std::vector<double> values);

/// Numbers that look random, and follow from the seed (SplitMix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept;
  /// From 0 to `limit` - 1; `limit` is not 0.
  std::size_t below(std::size_t limit) noexcept;
  /// From 0 on, less than 1.
  double fraction() noexcept;

 private:
  std::uint64_t state_;
};

/// 0 to `count` - 1 in an order that follows from the seed.
std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed);

/// In which a figure lies with 95 %, by the percentiles of a bootstrap. Of fewer than six repeats
/// it is no wider than what was seen, and holds less than that: 94 % of five, 75 % of three.
struct Interval {
  double low = 0;
  double high = 0;
};

/// Of median(above) / median(below). Value i of both was measured in round i, and rounds are drawn
/// as a whole, so that what slowed a round down for both takes no part; where the numbers differ,
/// each is drawn by itself. Nothing for fewer than two values, and where `below` has a zero.
std::optional<Interval> ratio_interval(const std::vector<double>& above,
                                       const std::vector<double>& below, std::uint64_t seed);

/// Values that lie in two groups.
struct TwoPeaks {
  double low = 0;   ///< the median of the lower group
  double high = 0;  ///< of the upper one
  std::size_t in_low = 0;
};
/// The test: of all ways to cut the sorted values into two groups of at least two, that with the
/// least variance within the groups. Its share of the whole variance must be less than in 99 of
/// 100 samples of as many values that are spread evenly (which has no peak at all, so that one
/// peak passes the less), and the groups' medians 10 % apart. Nothing for fewer than six values.
std::optional<TwoPeaks> find_two_peaks(std::vector<double> values);

}  // namespace bellhop::bench

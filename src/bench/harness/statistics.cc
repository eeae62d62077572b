#include "bench/harness/statistics.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace bellhop::bench {

namespace {

constexpr std::size_t kResamples = 2000;
constexpr double kTail = 0.025;  // beyond each end of the interval

/// Moves the values about.
double median_of(std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Interval percentiles(std::vector<double>& figures) {
  std::ranges::sort(figures);
  const auto outside = static_cast<std::size_t>(kTail * static_cast<double>(figures.size()));
  return {figures[outside], figures[figures.size() - 1 - outside]};
}

/// The best cut of sorted values.
struct Cut {
  std::size_t in_low = 0;
  double share = 1;  ///< of the variance, within the groups
};
Cut best_cut(const std::vector<double>& sorted) {
  constexpr std::size_t kLeastInGroup = 2;
  const auto count = static_cast<double>(sorted.size());
  const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / count;
  double total = 0;
  for (const double value : sorted) total += (value - mean) * (value - mean);
  Cut best;
  if (total <= 0) return best;
  double sum = 0;  // of what lies below the cut, from the mean
  for (std::size_t low = 1; low + kLeastInGroup <= sorted.size(); ++low) {
    sum += sorted[low - 1] - mean;
    if (low < kLeastInGroup) continue;
    const auto below = static_cast<double>(low);
    const double between = sum * sum / below + sum * sum / (count - below);
    const double share = 1 - between / total;
    if (share < best.share) best = {low, share};
  }
  return best;
}

/// The share that one of 100 even samples of so many values stays below.
double share_of_even_samples(std::size_t count) {
  constexpr std::size_t kSamples = 1000;
  constexpr std::size_t kRank = kSamples / 100;
  Random random(count);
  std::vector<double> shares(kSamples);
  std::vector<double> sample(count);
  for (double& share : shares) {
    for (double& value : sample) value = random.fraction();
    std::ranges::sort(sample);
    share = best_cut(sample).share;
  }
  std::ranges::nth_element(shares, shares.begin() + kRank);
  return shares[kRank];
}

}  // namespace

double median(std::vector<double> values) { return median_of(values); }

std::uint64_t Random::next() noexcept {
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

std::size_t Random::below(std::size_t limit) noexcept {
  // Not even to the last bit, by less than anything that is measured here.
  return static_cast<std::size_t>(next() % limit);
}

double Random::fraction() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  Random random(seed);
  for (std::size_t left = count; left > 1; --left)
    std::swap(order[left - 1], order[random.below(left)]);
  return order;
}

std::optional<Interval> ratio_interval(const std::vector<double>& above,
                                       const std::vector<double>& below, std::uint64_t seed) {
  if (above.size() < 2 || below.size() < 2 || std::ranges::min(below) <= 0) return std::nullopt;
  const bool paired = above.size() == below.size();
  Random random(seed);
  std::vector<double> figures(kResamples);
  std::vector<double> a(above.size());
  std::vector<double> b(below.size());
  for (double& figure : figures) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::size_t round = random.below(a.size());
      a[i] = above[round];
      if (paired) b[i] = below[round];
    }
    if (!paired) {
      for (double& value : b) value = below[random.below(b.size())];
    }
    figure = median_of(a) / median_of(b);
  }
  return percentiles(figures);
}

std::optional<TwoPeaks> find_two_peaks(std::vector<double> values) {
  constexpr std::size_t kLeastValues = 6;
  constexpr double kApart = 1.1;
  if (values.size() < kLeastValues) return std::nullopt;
  std::ranges::sort(values);
  const Cut cut = best_cut(values);
  if (cut.in_low == 0) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(cut.in_low);
  const TwoPeaks peaks{median({values.begin(), middle}), median({middle, values.end()}),
                       cut.in_low};
  if (peaks.high < peaks.low * kApart) return std::nullopt;
  if (cut.share >= share_of_even_samples(values.size())) return std::nullopt;
  return peaks;
}

}  // namespace bellhop::bench

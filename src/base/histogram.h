#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace bellhop {

/// A log-linear histogram of times, in whatever unit: 32 buckets for every power of two, so that a
/// quantile is at most 3.2 % above the truth. Values of 2^40 and more share the last bucket. A
/// plain value; one thread at a time.
class Histogram {
 public:
  void add(std::uint64_t value) noexcept {
    ++counts_[bucket(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }

  void merge(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = std::max(max_, other.max_);
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  /// 0 if there is nothing.
  [[nodiscard]] double mean() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }
  /// The upper end of the bucket that holds the value `part` (0 to 1) of the way up; 0 if there is
  /// nothing.
  [[nodiscard]] std::uint64_t quantile(double part) const noexcept {
    if (count_ == 0) return 0;
    // A little less than the product: what a double cannot hold must not count one more.
    const double exact = std::ceil(part * static_cast<double>(count_) - 1e-6);
    const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(exact));
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      below += counts_[i];
      if (below >= rank) return i + 1 == kBuckets ? max_ : std::min(upper_end(i), max_);
    }
    return max_;
  }

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr std::size_t kSub = std::size_t{1} << kSubBits;
  static constexpr unsigned kMaxBits = 40;
  static constexpr std::size_t kBuckets = (kMaxBits - kSubBits + 1) * kSub;

  static std::size_t bucket(std::uint64_t value) noexcept {
    if (value < kSub) return value;
    const auto top = static_cast<unsigned>(std::bit_width(value)) - 1;
    if (top >= kMaxBits) return kBuckets - 1;
    const unsigned shift = top - kSubBits;
    return (shift + 1) * kSub + ((value >> shift) & (kSub - 1));
  }

  static std::uint64_t upper_end(std::size_t index) noexcept {
    if (index < kSub) return index;
    const auto shift = static_cast<unsigned>(index / kSub - 1);
    return ((kSub + index % kSub + 1) << shift) - 1;
  }

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace bellhop

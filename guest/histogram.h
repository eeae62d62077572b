#pragma once

#include <cstddef>
#include <cstdint>

namespace bellhop::guest {

/// Log-linear histogram of cycles: 64 buckets for every power of two, so at most 1.6 % off.
class Histogram {
 public:
  void add(std::uint64_t value) {
    ++counts_[bucket(value)];
    ++total_;
    if (value > max_) max_ = value;
  }

  void clear() { *this = Histogram{}; }

  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    if (other.max_ > max_) max_ = other.max_;
  }

  /// Upper edge of the bucket that holds the value at `per_million` of the way; 0 when empty.
  std::uint64_t percentile(std::uint64_t per_million) const {
    if (total_ == 0) return 0;
    const std::uint64_t rank = (total_ * per_million + 999'999) / 1'000'000;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen >= rank && seen > 0) {
        const std::uint64_t edge = upper_edge(i);
        return edge < max_ ? edge : max_;
      }
    }
    return max_;
  }

  std::uint64_t max() const { return max_; }
  std::uint64_t total() const { return total_; }

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr std::size_t kSub = std::size_t{1} << kSubBits;
  static constexpr unsigned kMaxBits = 40;  // longer waits share the last buckets
  static constexpr std::size_t kBuckets = (kMaxBits - kSubBits + 1) * kSub;

  static std::size_t bucket(std::uint64_t value) {
    if (value < kSub) return value;
    const unsigned top = 63 - static_cast<unsigned>(__builtin_clzll(value));
    if (top >= kMaxBits) return kBuckets - 1;
    const unsigned shift = top - kSubBits;
    return (shift + 1) * kSub + ((value >> shift) & (kSub - 1));
  }

  static std::uint64_t upper_edge(std::size_t index) {
    if (index < kSub) return index;
    const auto shift = static_cast<unsigned>(index / kSub - 1);
    return ((kSub + index % kSub + 1) << shift) - 1;
  }

  std::uint32_t counts_[kBuckets] = {};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace bellhop::guest

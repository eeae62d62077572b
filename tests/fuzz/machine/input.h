#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace bellhop::fuzz {

/// Takes numbers off an input from the front. At its end all are 0.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  std::uint8_t u8() noexcept { return take<std::uint8_t>(); }
  std::uint16_t u16() noexcept { return take<std::uint16_t>(); }
  std::uint32_t u32() noexcept { return take<std::uint32_t>(); }
  std::uint64_t u64() noexcept { return take<std::uint64_t>(); }
  /// 0 to `count` - 1; `count` is at most 256.
  unsigned below(unsigned count) noexcept { return u8() % count; }
  bool chance(unsigned one_in) noexcept { return u8() % one_in == one_in - 1; }
  template <class T, std::size_t kCount>
  T pick(const T (&list)[kCount]) noexcept {
    return list[u8() % kCount];
  }
  /// What is left of the input, or the first `count` bytes of it.
  std::span<const std::uint8_t> bytes(std::size_t count) noexcept {
    const auto part = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(part.size());
    return part;
  }
  /// The later half of what is left, as an input of its own.
  Input split() noexcept {
    const auto half = bytes_.subspan(bytes_.size() / 2);
    bytes_ = bytes_.first(bytes_.size() / 2);
    return Input(half);
  }

 private:
  template <class T>
  T take() noexcept {
    T value = 0;
    const auto part = bytes(sizeof value);
    if (!part.empty()) std::memcpy(&value, part.data(), part.size());
    return value;
  }

  std::span<const std::uint8_t> bytes_;
};

}  // namespace bellhop::fuzz

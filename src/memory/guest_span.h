#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace bellhop {

/// A bounded view of guest RAM: the only thing that leaves memory/. The guest may change the bytes
/// at any moment, so values are copied out whole, checked, and the copy is used. All offsets and
/// lengths are in bytes; going past the end is our own bug (callers check sizes first) and is cut
/// short rather than obeyed.
class GuestSpan {
 public:
  constexpr GuestSpan() noexcept = default;
  GuestSpan(std::byte* data, std::size_t size) noexcept : vec_{data, size} {}

  [[nodiscard]] std::size_t size() const noexcept { return vec_.iov_len; }
  [[nodiscard]] bool empty() const noexcept { return vec_.iov_len == 0; }

  /// Bytes from `offset` to `offset + length`, cut to what there is.
  [[nodiscard]] GuestSpan part(std::size_t offset, std::size_t length = SIZE_MAX) const noexcept {
    if (offset > size()) offset = size();
    if (length > size() - offset) length = size() - offset;
    return GuestSpan(data() + offset, length);
  }

  /// Copies min(size(), to.size()) bytes and returns how many.
  std::size_t copy_out(std::span<std::byte> to) const noexcept {
    const std::size_t n = to.size() < size() ? to.size() : size();
    if (n != 0) std::memcpy(to.data(), data(), n);
    return n;
  }
  std::size_t copy_in(std::span<const std::byte> from) const noexcept {
    const std::size_t n = from.size() < size() ? from.size() : size();
    if (n != 0) std::memcpy(data(), from.data(), n);
    return n;
  }
  void fill(std::byte value) const noexcept {
    if (!empty()) std::memset(data(), static_cast<int>(value), size());
  }

  /// The object at `offset`, fetched once. False if it does not fit.
  template <class T>
  [[nodiscard]] bool load(std::size_t offset, T& value) const noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    if (offset > size() || sizeof(T) > size() - offset) return false;
    std::memcpy(&value, data() + offset, sizeof(T));
    return true;
  }
  template <class T>
  [[nodiscard]] bool store(std::size_t offset, const T& value) const noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    if (offset > size() || sizeof(T) > size() - offset) return false;
    std::memcpy(data() + offset, &value, sizeof(T));
    return true;
  }

  /// A 16-bit ring index shared with the guest; `offset` must be even and in bounds (checked when
  /// the queue is activated).
  [[nodiscard]] std::atomic_ref<std::uint16_t> atomic16(std::size_t offset) const noexcept {
    return std::atomic_ref<std::uint16_t>(*reinterpret_cast<std::uint16_t*>(data() + offset));
  }

  /// For system calls that read or write guest RAM in place (zero copy).
  [[nodiscard]] const iovec& as_iovec() const noexcept { return vec_; }

 private:
  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(vec_.iov_base); }

  iovec vec_{nullptr, 0};
};

static_assert(sizeof(GuestSpan) == sizeof(iovec));

/// The same bytes as an iovec array, for readv and its kin. No copy.
inline std::span<const iovec> as_iovecs(std::span<const GuestSpan> spans) noexcept {
  return {reinterpret_cast<const iovec*>(spans.data()), spans.size()};
}

inline std::size_t total_bytes(std::span<const GuestSpan> spans) noexcept {
  std::size_t sum = 0;
  for (const GuestSpan& span : spans) sum += span.size();
  return sum;
}

}  // namespace bellhop

#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "memory/guest_span.h"

namespace bellhop {

/// Buffers in one chain at most, whatever the size of its ring: as many as the largest ring of a
/// device whose size is not chosen by the user has (virtio 1.3, 2.7.5.3.1: a chain may be as long
/// as its queue), and as the pages of the largest pipe that Linux passes to a console in one chain.
/// Devices advertise a seg_max below it.
inline constexpr std::size_t kMaxChainBuffers = 258;

/// Device-readable or device-writable buffers of a chain, as one run of bytes. A view: valid as
/// long as its chain is.
class BufferRun {
 public:
  BufferRun() noexcept = default;
  explicit BufferRun(std::span<const GuestSpan> buffers) noexcept : buffers_(buffers) {}

  [[nodiscard]] std::span<const GuestSpan> buffers() const noexcept { return buffers_; }

  /// Copies from byte `offset` of the run. Returns how many bytes there were.
  std::size_t copy_out(std::size_t offset, std::span<std::byte> to) const noexcept {
    return walk(offset, to.size(), [&](const GuestSpan& part, std::size_t done) {
      part.copy_out(to.subspan(done, part.size()));
    });
  }
  std::size_t copy_in(std::size_t offset, std::span<const std::byte> from) const noexcept {
    return walk(offset, from.size(), [&](const GuestSpan& part, std::size_t done) {
      part.copy_in(from.subspan(done, part.size()));
    });
  }

 private:
  template <class Visit>
  std::size_t walk(std::size_t offset, std::size_t length, Visit visit) const noexcept {
    std::size_t done = 0;
    for (const GuestSpan& buffer : buffers_) {
      if (done == length) break;
      if (offset >= buffer.size()) {
        offset -= buffer.size();
        continue;
      }
      const GuestSpan part = buffer.part(offset, length - done);
      visit(part, done);
      done += part.size();
      offset = 0;
    }
    return done;
  }

  std::span<const GuestSpan> buffers_;
};

/// What a ring must know of a chain to give it back.
struct ChainId {
  std::uint16_t head = 0;
  std::uint16_t slots = 0;
  std::uint16_t entry = 0;
};

/// One request taken from a ring: its buffers, bounds-checked, in guest RAM. It must be given
/// back by complete(): dropping one is our own bug. Lives inside a device's request
/// object so that taking one neither allocates nor copies.
class DescriptorChain {
 public:
  DescriptorChain() noexcept {}  // NOLINT: leaves buffers_ as it is
  DescriptorChain(DescriptorChain&& other) noexcept { *this = std::move(other); }
  DescriptorChain& operator=(DescriptorChain&& other) noexcept {
    if (this == &other) return *this;
    assert(!taken_);
    head_ = other.head_;
    next_avail_ = other.next_avail_;
    slots_ = other.slots_;
    entry_ = other.entry_;
    taken_ = std::exchange(other.taken_, false);
    readable_ = std::exchange(other.readable_, std::uint16_t{0});
    writable_ = std::exchange(other.writable_, std::uint16_t{0});
    readable_bytes_ = std::exchange(other.readable_bytes_, 0U);
    writable_bytes_ = std::exchange(other.writable_bytes_, 0U);
    std::copy_n(other.buffers_.begin(), readable_ + writable_, buffers_.begin());
    return *this;
  }
  ~DescriptorChain() { assert(!taken_ && "a chain was dropped instead of completed"); }

  /// Device-readable buffers, in the driver's order.
  [[nodiscard]] std::span<GuestSpan> readable() noexcept { return {buffers_.data(), readable_}; }
  /// Device-writable buffers, which follow them. A device may cut bytes off the end of the last one
  /// (a status that comes after the data); writable_bytes() stays as it was.
  [[nodiscard]] std::span<GuestSpan> writable() noexcept {
    return {buffers_.data() + readable_, writable_};
  }
  /// The same with the last one as long as it was.
  template <class Visit>
  void for_each_writable(Visit&& visit) noexcept {
    std::size_t left = writable_bytes_;
    const std::span<GuestSpan> buffers = writable();
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      auto* const begin = static_cast<std::byte*>(buffers[i].as_iovec().iov_base);
      const std::size_t size = i + 1 == buffers.size() ? left : buffers[i].size();
      visit(GuestSpan(begin, size));
      left -= size;
    }
  }
  /// Total bytes; both together stay below 2^32.
  [[nodiscard]] std::uint32_t readable_bytes() const noexcept { return readable_bytes_; }
  [[nodiscard]] std::uint32_t writable_bytes() const noexcept { return writable_bytes_; }
  /// What the driver finds it by: its first descriptor, or the buffer id in a packed ring.
  [[nodiscard]] std::uint16_t head() const noexcept { return head_; }
  /// Between pop() and complete().
  [[nodiscard]] bool taken() const noexcept { return taken_; }

 private:
  friend class SplitRing;
  friend class PackedRing;
  friend class TrackedPackedRing;
  friend class ChainWalker;
  template <class Kind>
  friend class InOrderRing;

  [[nodiscard]] ChainId id() const noexcept { return {head_, slots_, entry_}; }

  bool taken_ = false;
  std::uint16_t head_ = 0;
  std::uint16_t next_avail_ = 0;  ///< taken() of its ring with this chain as the last, for rewind()
  std::uint16_t readable_ = 0;
  std::uint16_t writable_ = 0;
  std::uint16_t slots_ = 0;  ///< descriptors that it fills in a packed ring
  std::uint16_t entry_ = 0;  ///< by which a packed ring's InflightPacked knows it
  std::uint32_t readable_bytes_ = 0;
  std::uint32_t writable_bytes_ = 0;
  // Left uninitialised on purpose: only the first readable_ + writable_ are ever looked at.
  union {
    std::array<GuestSpan, kMaxChainBuffers> buffers_;
  };
};

}  // namespace bellhop

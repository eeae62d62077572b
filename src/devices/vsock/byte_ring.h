#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <sys/uio.h>

#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

/// Bytes that wait for a reader, in their order, bounded. Memory is touched as it is used.
class ByteRing {
 public:
  /// `capacity`: a power of two.
  explicit ByteRing(std::size_t capacity)
      : data_(std::make_unique_for_overwrite<std::byte[]>(capacity)), mask_(capacity - 1) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t room() const noexcept { return mask_ + 1 - size_; }

  /// Appends `bytes` bytes from `offset` of the run on; there must be room().
  void push(const BufferRun& from, std::size_t offset, std::size_t bytes) noexcept {
    while (bytes != 0) {
      const std::size_t at = (begin_ + size_) & mask_;
      const std::size_t part = std::min(bytes, mask_ + 1 - at);
      from.copy_out(offset, {data_.get() + at, part});
      size_ += part;
      offset += part;
      bytes -= part;
    }
  }
  /// All that waits, in two parts at most.
  [[nodiscard]] std::size_t parts(std::array<iovec, 2>& to) const noexcept {
    const std::size_t first = std::min(size_, mask_ + 1 - begin_);
    to[0] = {data_.get() + begin_, first};
    to[1] = {data_.get(), size_ - first};
    return size_ == first ? 1 : 2;
  }
  void pop(std::size_t bytes) noexcept {
    begin_ = (begin_ + bytes) & mask_;
    size_ -= bytes;
  }

 private:
  std::unique_ptr<std::byte[]> data_;
  std::size_t mask_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace bellhop

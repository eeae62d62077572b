#pragma once

#include "block/block_backend.h"

namespace bellhop {

/// Requests in order, linked through their scratch: no allocation.
class IoList {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] BlockIo* front() const noexcept { return first_; }
  void push(BlockIo& io) noexcept {
    io.scratch.next = nullptr;
    (last_ == nullptr ? first_ : last_->scratch.next) = &io;
    last_ = &io;
  }
  void push_front(BlockIo& io) noexcept {
    io.scratch.next = first_;
    first_ = &io;
    if (last_ == nullptr) last_ = &io;
  }
  [[nodiscard]] BlockIo* pop() noexcept {
    BlockIo* const io = first_;
    if (io == nullptr) return nullptr;
    first_ = io->scratch.next;
    if (first_ == nullptr) last_ = nullptr;
    return io;
  }
  /// Moves all of `other` to the end.
  void append(IoList& other) noexcept {
    if (other.empty()) return;
    (last_ == nullptr ? first_ : last_->scratch.next) = other.first_;
    last_ = other.last_;
    other.first_ = other.last_ = nullptr;
  }

 private:
  BlockIo* first_ = nullptr;
  BlockIo* last_ = nullptr;
};

}  // namespace bellhop

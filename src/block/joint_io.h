#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "block/io_list.h"

namespace bellhop {

/// Neighbours of one batch, done as one request: a medium with latency does sixteen small ones
/// no faster than one after the other, and the kernel pays for each.
struct JointIo : BlockIo {
  static constexpr std::size_t kMaxSpans = 64;
  /// Larger requests gain nothing from being joined.
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{256} << 10;

  IoList parts;
  void* owner = nullptr;
  JointIo* next_free = nullptr;
  std::array<GuestSpan, kMaxSpans> spans;
};

/// Finds neighbours. Used by one thread at a time, allocates nothing after it is made.
class JointPool {
 public:
  using Completed = void (*)(BlockIo& io, int error) noexcept;

  /// `completed` is called for a joint request as for any other; its `owner` is as given here.
  JointPool(void* owner, Completed completed);

  /// Puts a joint request in the place of each run of reads, or of writes, that follow one another
  /// in `list` and on the medium. Returns how many it made. Those with a bounce buffer, with
  /// progress, or marked `alone` stay as they are, and none gets longer than `max_bytes`.
  unsigned join(IoList& list, std::uint64_t max_bytes = JointIo::kMaxBytes) noexcept;
  void give_back(JointIo& joint) noexcept;

 private:
  static constexpr std::size_t kJoints = 32;
  [[nodiscard]] JointIo* take() noexcept;

  std::unique_ptr<JointIo[]> joints_;
  JointIo* free_ = nullptr;
};

}  // namespace bellhop

#include "devices/balloon/balloon_queue.h"

#include <algorithm>
#include <cassert>

#include "devices/balloon/balloon_device.h"
#include "virtio/abi/balloon.h"

namespace bellhop {

namespace {

/// Page numbers copied out at once.
constexpr std::size_t kNumbersAtOnce = 256;
/// What a request costs of a turn's pages at least.
constexpr std::size_t kMinCost = 16;

}  // namespace

bool BalloonRun::add(std::uint32_t number) noexcept {
  if (count_ != 0) {
    // Linux fills its lists upwards or downwards, as its allocator goes.
    if (number == first_ + count_ && number != 0 && pages_.is_ram(first_, count_ + 1ULL)) {
      ++count_;
      return false;
    }
    if (number + 1 == first_ && first_ != 0 && pages_.is_ram(number, count_ + 1ULL)) {
      first_ = number;
      ++count_;
      return false;
    }
  }
  const bool ended = end();
  first_ = number;
  count_ = 1;
  return ended;
}

bool BalloonRun::end() noexcept {
  if (count_ == 0) return false;
  pages_.inflate(first_, count_);
  count_ = 0;
  return true;
}

void BalloonPageQueue::begin_turn() noexcept {
  pages_left_ = kPagesInOneTurn;
  calls_left_ = kCallsInOneTurn;
}

void BalloonPageQueue::drain() noexcept {
  begin_turn();
  while (pages_left_ != 0 && calls_left_ != 0) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    const std::size_t bytes = chain_.readable_bytes();
    // 5.5.6: a list of 32-bit numbers, and nothing but it. What is whole in it is taken.
    if (next_ == 0 && (bytes == 0 || bytes % sizeof(std::uint32_t) != 0)) {
      counters_.guest_faults.add();
    }
    next_ = take(BufferRun(chain_.readable()), bytes, next_);
    if (next_ < bytes / sizeof(std::uint32_t)) {
      [[maybe_unused]] const bool back = runner_.rewind(chain_);
      assert(back);
      break;
    }
    next_ = 0;
    pages_left_ -= std::min(pages_left_, kMinCost);
    runner_.complete(chain_, 0);
  }
  runner_.yield();
}

std::size_t BalloonPageQueue::take(const BufferRun& list, std::size_t bytes,
                                   std::size_t first) noexcept {
  const std::size_t count = bytes / sizeof(std::uint32_t);
  std::size_t next = std::min(first, count);
  while (next < count && pages_left_ != 0 && calls_left_ != 0) {
    std::array<std::uint32_t, kNumbersAtOnce> numbers{};
    const std::size_t some = std::min({kNumbersAtOnce, count - next, pages_left_});
    list.copy_out(next * sizeof(std::uint32_t),
                  std::as_writable_bytes(std::span(numbers).first(some)));
    for (std::size_t i = 0; i < some && calls_left_ != 0; ++i, ++next) {
      --pages_left_;
      take(numbers[i]);
    }
  }
  // The driver counts the pages as gone when it gets its list back.
  if (run_.end() && calls_left_ != 0) --calls_left_;
  return next;
}

void BalloonPageQueue::take(std::uint32_t number) noexcept {
  if (!pages_.is_ram(number)) {
    counters_.guest_faults.add();
  } else if (direction_ == Direction::kDeflate) {
    pages_.deflate(number);
  } else if (run_.add(number)) {
    --calls_left_;
  }
}

void BalloonReportQueue::drain() noexcept {
  bytes_left_ = kBytesInOneTurn;
  buffers_left_ = kBuffersInOneTurn;
  while (bytes_left_ != 0 && buffers_left_ != 0) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    if (chain_.writable_bytes() == 0) counters_.guest_faults.add();
    if (!release_some()) {
      [[maybe_unused]] const bool back = runner_.rewind(chain_);
      assert(back);
      break;
    }
    done_ = 0;
    buffers_left_ -= std::min<std::size_t>(buffers_left_, 1);
    runner_.complete(chain_, 0);
  }
  runner_.yield();
}

/// From byte done_ of the report on. True if that is all of it.
bool BalloonReportQueue::release_some() noexcept {
  const bool keep = device_.contents_matter();
  std::size_t skip = done_;
  for (const GuestSpan& buffer : chain_.writable()) {
    if (skip >= buffer.size()) {
      skip -= buffer.size();
      continue;
    }
    if (bytes_left_ == 0 || buffers_left_ == 0) return false;
    const GuestSpan rest = buffer.part(skip);
    skip = 0;
    GuestSpan part = rest;
    if (rest.size() > bytes_left_) {
      // Cut between two pages, or the one in the middle would never go.
      const auto begin = reinterpret_cast<std::uintptr_t>(rest.as_iovec().iov_base);
      const std::size_t most = std::max<std::size_t>(bytes_left_, virtio::kBalloonPageBytes);
      part = rest.part(0, most - (begin + most) % virtio::kBalloonPageBytes);
    }
    done_ += part.size();
    bytes_left_ -=
        std::min(bytes_left_, std::max<std::size_t>(part.size(), virtio::kBalloonPageBytes));
    --buffers_left_;
    counters_.reported_bytes.add(part.size());
    if (!keep) pages_.release(part);
    if (part.size() < rest.size()) return false;
  }
  return true;
}

}  // namespace bellhop

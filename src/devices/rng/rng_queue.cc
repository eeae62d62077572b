#include "devices/rng/rng_queue.h"

#include <sys/uio.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <system_error>

#include "base/log.h"

namespace bellhop {

namespace {

/// When a source that had nothing is asked again. Not every source can be waited for, and nobody
/// who wants random bytes is in that much of a hurry.
constexpr std::chrono::milliseconds kAskAgain{10};
/// The same for a source that failed, or came to its end.
constexpr std::chrono::milliseconds kAskAgainAfterError{1000};
/// What a request costs of a turn at least, however short it is.
constexpr std::size_t kMinCost = 64;

}  // namespace

RngQueue::~RngQueue() {
  runner_.thread().run_sync([this] { runner_.thread().loop().stop_timer(*this); });
}

void RngQueue::drain() noexcept {
  std::size_t turn = kBytesInOneTurn;
  while (turn != 0) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    if (chain_.writable_bytes() == 0) {
      device_.counters_.guest_faults.add();
      runner_.complete(chain_, 0);
      turn -= std::min(turn, kMinCost);
      continue;
    }
    const std::size_t allowed = allowance();
    if (allowed == 0) {
      device_.counters_.limited.add();
      [[maybe_unused]] const bool back = runner_.rewind(chain_);
      assert(back);
      return wait(device_.period_ends_ - Clock::now());
    }
    const ssize_t result = read(std::min(turn, allowed));
    if (result <= 0) return put_back_and_wait(result);
    const auto bytes = static_cast<std::size_t>(result);
    if (device_.options_.limit.bytes != 0) device_.left_ -= bytes;
    turn -= std::min(turn, std::max(bytes, kMinCost));
    device_.counters_.requests.add();
    device_.counters_.bytes.add(bytes);
    runner_.complete(chain_, static_cast<std::uint32_t>(bytes));
  }
  runner_.yield();
}

/// What the guest may have now.
std::size_t RngQueue::allowance() noexcept {
  const RngLimit& limit = device_.options_.limit;
  if (limit.bytes == 0) return SIZE_MAX;
  const auto now = Clock::now();
  if (now >= device_.period_ends_) {
    device_.left_ = limit.bytes;
    device_.period_ends_ = now + limit.period;
  }
  return device_.left_;
}

/// Reads into the chain: bytes, or -errno.
ssize_t RngQueue::read(std::size_t most) noexcept {
  std::size_t count = 0;
  for (const GuestSpan& buffer : chain_.writable()) {
    if (most == 0) break;
    room_[count] = buffer.part(0, most).as_iovec();
    most -= room_[count++].iov_len;
  }
  ssize_t done = 0;
  do {
    done = ::readv(device_.source_.get(), room_.data(), static_cast<int>(count));
    runner_.counters().system_calls.add();
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : done;
}

void RngQueue::put_back_and_wait(ssize_t result) noexcept {
  [[maybe_unused]] const bool back = runner_.rewind(chain_);
  assert(back);
  if (result == -EAGAIN) {
    device_.counters_.source_empty.add();
    return wait(kAskAgain);
  }
  device_.counters_.source_errors.add();
  if (!std::exchange(device_.error_logged_, true)) {
    // Its thread shall not wait for a terminal.
    runner_.thread().loop().post([id = device_.options_.id, source = device_.options_.source,
                                  result] {
      log::warn("{}: {} gives nothing: {}; the guest waits", id, source,
                result == 0 ? "it has come to its end"
                            : std::generic_category().message(static_cast<int>(-result)).c_str());
    });
  }
  wait(kAskAgainAfterError);
}

void RngQueue::wait(std::chrono::nanoseconds time) noexcept {
  runner_.park();
  IoThread& thread = runner_.thread();
  if (thread.is_current()) {
    thread.loop().start_timer(*this, time);
  } else {
    thread.loop().post([this, time] { runner_.thread().loop().start_timer(*this, time); });
  }
}

}  // namespace bellhop

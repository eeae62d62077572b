#include "devices/vsock/vsock_queues.h"

#include <cassert>

namespace bellhop {

using namespace virtio;

namespace {

/// Packets before the other queues of the thread get their turn.
constexpr unsigned kPacketsInOneTurn = 64;
/// Bytes for the guest that are worth being shown before the turn's end.
constexpr std::size_t kShowAfter = 16 * 1024;
/// Packets after which a driver that waits for room in its ring gets some back.
constexpr unsigned kShowEvery = 16;

}  // namespace

void VsockRx::drain() noexcept {
  VsockMuxer::PendingWork todo;
  {
    const VsockMuxer::Hold held = board_.hold();
    unsigned packets = 0;
    unshown_ = 0;
    while (packets < kPacketsInOneTurn && fill()) ++packets;
    if (packets == kPacketsInOneTurn) runner_.yield();
    todo = board_.pending_work();
  }
  board_.act(todo);
}

/// One packet more; false if there is none, or no buffer for it.
bool VsockRx::fill() noexcept {
  while (board_.has_packets()) {
    if (runner_.pop(chain_) != Pop::kChain) {
      counters_.rx_starved.add();
      return false;
    }
    if (chain_.writable_bytes() <= sizeof(VsockHeader)) {
      // 5.10.6.1: room for a header and something behind it.
      counters_.guest_faults.add();
      runner_.complete(chain_, 0);
      continue;
    }
    const std::size_t bytes = board_.put(chain_.writable(), chain_.writable_bytes());
    if (bytes == 0) {
      if (!runner_.rewind(chain_)) runner_.complete(chain_, 0);
      break;
    }
    unshown_ += bytes;
    const bool show = unshown_ >= kShowAfter;
    if (show) unshown_ = 0;
    runner_.complete(chain_, static_cast<std::uint32_t>(bytes),
                     show ? Batch::kMayEnd : Batch::kGoesOn);
    return true;
  }
  runner_.park();
  board_.rx_parks();
  return false;
}

void VsockTx::drain() noexcept {
  VsockMuxer::PendingWork todo;
  {
    const VsockMuxer::Hold held = board_.hold();
    unsigned packets = 0;
    while (packets < kPacketsInOneTurn) {
      if (!board_.takes_packets()) {
        counters_.tx_blocked.add();
        runner_.park();
        board_.tx_parks();
        break;
      }
      if (runner_.pop(chain_) != Pop::kChain) break;
      board_.take(BufferRun(chain_.readable()), chain_.readable_bytes());
      const bool show = ++packets % kShowEvery == 0;
      runner_.complete(chain_, 0, show ? Batch::kMayEnd : Batch::kGoesOn);
    }
    if (packets == kPacketsInOneTurn) runner_.yield();
    todo = board_.pending_work();
  }
  board_.act(todo);
}

void VsockEvents::drain() noexcept {
  while (due_.load(std::memory_order_acquire)) {
    // The driver's next buffer ends the wait.
    if (runner_.pop(chain_) != Pop::kChain) return;
    const VsockEvent event{kVsockEventTransportReset};
    std::uint32_t written = 0;
    if (chain_.writable_bytes() >= sizeof event) {
      BufferRun(chain_.writable()).copy_in(0, std::as_bytes(std::span(&event, 1)));
      written = sizeof event;
      due_.store(false, std::memory_order_relaxed);
    } else {
      counters_.other_faults.add();
    }
    runner_.complete(chain_, written);
  }
  runner_.park();
}

void VsockEvents::transport_reset() noexcept {
  due_.store(true, std::memory_order_release);
  runner_.wake();
}

}  // namespace bellhop

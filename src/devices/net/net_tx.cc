#include "devices/net/net_tx.h"

#include <cassert>

#include "devices/net/net_offloads.h"

namespace bellhop {

using namespace virtio;

namespace {

/// Frames before the other queues of the thread get their turn.
constexpr unsigned kFramesInOneTurn = 64;
/// Frames after which a driver that waits for room in its ring gets some back.
constexpr unsigned kShowEvery = 16;

}  // namespace

NetTx::NetTx(NetDevice& device, unsigned pair, QueueRunner& runner) noexcept
    : device_(device),
      index_(pair),
      pair_(device.backend_->pair(pair)),
      runner_(runner),
      counters_(device.tx_counters_[pair]) {}

Result<std::unique_ptr<NetTx>> NetTx::create(NetDevice& device, unsigned pair,
                                             QueueRunner& runner) {
  std::unique_ptr<NetTx> tx(new NetTx(device, pair, runner));
  Status made;
  runner.thread().run_sync([&] {
    auto watch = runner.thread().loop().watch_fd(tx->pair_.fd(), Readiness::kWritable, *tx);
    if (watch) {
      tx->watch_ = std::move(*watch);
    } else {
      made = forward(watch);
    }
  });
  if (!made) return forward(made);
  return tx;
}

NetTx::~NetTx() {
  runner_.thread().run_sync([this] { watch_.reset(); });
}

void NetTx::drain() noexcept {
  for (unsigned frames = 0; frames < kFramesInOneTurn; ++frames) {
    if (runner_.pop(chain_) != Pop::kChain) return flush();
    if (!send()) return wait_for_room();
  }
  flush();
  runner_.yield();
}

/// What a back end has gathered goes with the batch; what finds no room goes when there is some,
/// whether there are more frames by then or not.
void NetTx::flush() noexcept {
  const ssize_t result = pair_.flush();
  if (result == 0) return;
  runner_.counters().system_calls.add();
  if (result == -EAGAIN) return arm();
  if (result == -EBADFD && device_.in_use(index_)) {
    device_.backend_gone(runner_.thread(), static_cast<int>(-result));
  }
}

/// False: no room, and the chain is in the ring again.
bool NetTx::send() noexcept {
  const std::size_t bytes = chain_.readable_bytes();
  NetHeader header{};
  if (bytes < sizeof header) {
    counters_.guest_faults.add();
    give_back();
    return true;
  }
  const std::size_t frame_bytes = bytes - sizeof header;
  BufferRun(chain_.readable()).copy_out(0, std::as_writable_bytes(std::span(&header, 1)));
  if (!check_sent_header(header, frame_bytes, device_.to_host_) || !device_.in_use(index_)) {
    counters_.guest_faults.add();
    give_back();
    return true;
  }
  if (!device_.link_up()) {
    counters_.dropped_link_down.add();
    give_back();
    return true;
  }
  frame_[0] = {&header, sizeof header};
  std::size_t count = 1;
  std::size_t skip = sizeof header;  // framing is the driver's choice: it may share a buffer
  for (const GuestSpan& buffer : chain_.readable()) {
    if (buffer.size() <= skip) {
      skip -= buffer.size();
      continue;
    }
    frame_[count++] = buffer.part(skip).as_iovec();
    skip = 0;
  }
  ssize_t result = 0;
  do {
    result = pair_.send({frame_.data(), count});
    runner_.counters().system_calls.add();
  } while (result == -EINTR);
  if (result == -EAGAIN) {
    [[maybe_unused]] const bool back = runner_.rewind(chain_);
    assert(back);
    return false;
  }
  judge(result, frame_bytes);
  give_back();
  return true;
}

void NetTx::give_back() noexcept {
  const bool show = ++given_back_ % kShowEvery == 0;
  runner_.complete(chain_, 0, show ? Batch::kMayEnd : Batch::kGoesOn);
}

void NetTx::judge(ssize_t result, std::size_t frame_bytes) noexcept {
  if (result >= 0) {
    counters_.frames.add();
    counters_.bytes.add(frame_bytes);
    return;
  }
  switch (result) {
    case -EINVAL:  // the host's own check of the header found more than ours
      counters_.guest_faults.add();
      return;
    case -EIO:
    case -ENETDOWN:
      counters_.dropped_link_down.add();
      return;
    case -EBADFD:
      counters_.dropped_link_down.add();
      if (device_.in_use(index_)) {
        device_.backend_gone(runner_.thread(), static_cast<int>(-result));
      }
      return;
    default:
      counters_.dropped_error.add();
      return;
  }
}

void NetTx::wait_for_room() noexcept {
  counters_.blocked.add();
  runner_.doze();
  arm();
}

void NetTx::arm() noexcept {
  if (runner_.thread().is_current()) {
    watch_->arm();
  } else {
    runner_.thread().loop().post([this] { watch_->arm(); });
  }
}

}  // namespace bellhop

#include "devices/net/net_tx.h"

#include <cassert>

#include "devices/net/net_offloads.h"

namespace bellhop {

using namespace virtio;

namespace {

/// Frames after which a driver that waits for room in its ring gets some back.
constexpr std::size_t kShowAfterFrames = 16;

}  // namespace

NetTx::NetTx(NetDevice& device, unsigned pair, QueueRunner& runner)
    : device_(device),
      index_(pair),
      pair_(device.backend_->pair(pair)),
      runner_(runner),
      counters_(device.tx_counters_[pair]),
      joins_(device.joins_frames()),
      chains_(std::make_unique<DescriptorChain[]>(kMaxChains)),
      rate_(runner, device.limit_of(device.tx_throttle_), device.tx_throttle_) {}

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
  runner_.thread().run_sync([this] {
    rate_.stop();
    watch_.reset();
  });
}

void NetTx::drain() noexcept {
  // A turn does not end within a train.
  for (unsigned frames = 0; frames < NetDevice::kFramesInOneTurn || train_.is_open(); ++frames) {
    const bool taken = runner_.pop(chain(held_)) == Pop::kChain;
    if (taken) ++held_;
    const Sent sent = taken ? take() : send();
    if (sent == Sent::kAll && !taken) return flush();
    if (sent != Sent::kAll) put_back();
    if (sent == Sent::kNoRoom) return wait_for_room();
    if (sent == Sent::kLater) {
      flush();  // what a back end has gathered goes all the same
      return rate_.wait();
    }
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

/// Makes the frame in the last chain the train's next, after the train has left if it does not go
/// with it.
NetTx::Sent NetTx::take() noexcept {
  DescriptorChain& last = chain(held_ - 1);
  FrameTrain::Frame frame;
  RelaxedCounter* const dropped = look_at(last, frame);
  if (dropped != nullptr || !train_.add(frame, joins_)) {
    if (const Sent sent = send(); sent != Sent::kAll) return sent;
    if (dropped != nullptr) {
      dropped->add();
      give_back(1);
      return Sent::kAll;
    }
    [[maybe_unused]] const bool first = train_.add(frame, joins_);
    assert(first);
  }
  // What nothing can join need not wait for what follows.
  return train_.is_open() ? Sent::kAll : send();
}

/// What of a frame is looked at. Not null: it goes nowhere, and counts there.
RelaxedCounter* NetTx::look_at(DescriptorChain& chain, FrameTrain::Frame& frame) noexcept {
  const std::size_t bytes = chain.readable_bytes();
  if (bytes < sizeof frame.header) return &counters_.guest_faults;
  frame.bytes = bytes - sizeof frame.header;
  frame.buffers = chain.readable();
  const BufferRun run(frame.buffers);
  run.copy_out(0, std::as_writable_bytes(std::span(&frame.header, 1)));
  if (!check_sent_header(frame.header, frame.bytes, device_.to_host_) || !device_.in_use(index_)) {
    return &counters_.guest_faults;
  }
  if (!device_.link_up()) return &counters_.dropped_link_down;
  if (joins_) run.copy_out(sizeof frame.header, frame.head);
  return nullptr;
}

/// Lets the train leave.
NetTx::Sent NetTx::send() noexcept {
  if (train_.frames() == 0) return Sent::kAll;
  if (!rate_.may_go()) return Sent::kLater;
  const std::span<const iovec> parts = train_.finish();
  ssize_t result = 0;
  do {
    result = pair_.send(parts);
    runner_.counters().system_calls.add();
  } while (result == -EINTR);
  if (result == -EAGAIN) return Sent::kNoRoom;
  if (result == -EINVAL && train_.frames() > 1) {
    joins_ = false;
    return Sent::kSingly;
  }
  judge(result);
  rate_.gone(train_.frames(), train_.frame_bytes());
  give_back(train_.frames());
  train_.clear();
  return Sent::kAll;
}

/// The first `chains` at hand to the driver.
void NetTx::give_back(std::size_t chains) noexcept {
  unshown_ += chains;
  const Batch last = unshown_ >= kShowAfterFrames ? Batch::kMayEnd : Batch::kGoesOn;
  if (last == Batch::kMayEnd) unshown_ = 0;
  for (std::size_t i = 0; i < chains; ++i) {
    runner_.complete(chain(i), 0, i + 1 < chains ? Batch::kGoesOn : last);
  }
  held_ -= chains;
  // From the same place again, where the next one may be in a cache still.
  first_ = held_ == 0 ? 0 : (first_ + chains) % kMaxChains;
}

/// All chains at hand to the ring.
void NetTx::put_back() noexcept {
  train_.clear();
  for (; held_ != 0; --held_) {
    DescriptorChain& last = chain(held_ - 1);
    if (runner_.rewind(last)) continue;
    // Chains that made no sense were between.
    counters_.guest_faults.add();
    runner_.complete(last, 0);
  }
}

DescriptorChain& NetTx::chain(std::size_t i) noexcept { return chains_[(first_ + i) % kMaxChains]; }

/// What became of the train.
void NetTx::judge(ssize_t result) noexcept {
  const std::uint64_t frames = train_.frames();
  if (result >= 0) {
    counters_.frames.add(frames);
    counters_.joined.add(frames - 1);
    counters_.bytes.add(train_.frame_bytes());
    return;
  }
  switch (result) {
    case -EINVAL:  // the host's own check of the header found more than ours
      counters_.guest_faults.add();
      return;
    case -EIO:
    case -ENETDOWN:
      counters_.dropped_link_down.add(frames);
      return;
    case -EBADFD:
      counters_.dropped_link_down.add(frames);
      if (device_.in_use(index_)) {
        device_.backend_gone(runner_.thread(), static_cast<int>(-result));
      }
      return;
    default:
      counters_.dropped_error.add(frames);
      return;
  }
}

void NetTx::wait_for_room() noexcept {
  counters_.blocked.add();
  runner_.park();
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

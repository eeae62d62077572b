#include "devices/net/net_rx.h"

#include <algorithm>
#include <cstring>

#include "devices/net/net_offloads.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::size_t kLongest = kNetHeaderBytes + kMaxFrameBytes;
/// Chains of one frame at most. A driver of mergeable buffers may make them as short as it likes
/// (5.1.6.3.1): the frame is dropped only if all of a ring does not hold it, or so many.
constexpr std::size_t kMaxChains = 1024;
static_assert((kMaxChains & (kMaxChains - 1)) == 0);
/// Buffers offered to one read. The kernel takes 1024, but has to look at each.
constexpr std::size_t kMaxBuffers = kMaxChainBuffers;
static_assert(kMaxBuffers < 1024);
/// What a frame is expected to need at first: an Ethernet frame of the usual size.
constexpr std::size_t kFirstGuess = kNetHeaderBytes + 1518;
/// Received bytes that are worth being shown to the driver before the turn's end, so that it works
/// on them meanwhile. Small frames are shown together: each time costs both sides a cache line, and
/// an interrupt if the driver is quicker than the wire.
constexpr std::size_t kShowAfterBytes = 16 * 1024;
/// How long a frame waits for buffers that the driver may never bring.
constexpr std::chrono::milliseconds kBufferPatience{100};

}  // namespace

NetRx::NetRx(NetDevice& device, unsigned pair, QueueRunner& runner)
    : device_(device),
      index_(pair),
      pair_(device.backend_->pair(pair)),
      runner_(runner),
      counters_(device.rx_counters_[pair]),
      mergeable_(device.negotiated(kNetFeatureMrgRxbuf)),
      max_chains_(std::min<std::size_t>(device.traits().queue_max_size, kMaxChains)),
      chains_(std::make_unique<DescriptorChain[]>(max_chains_)),
      wanted_(kFirstGuess),
      room_(kMaxBuffers + 1),
      spill_(std::make_unique_for_overwrite<std::byte[]>(kLongest)),
      rate_(runner, device.limit_of(device.rx_throttle_), device.rx_throttle_) {}

Result<std::unique_ptr<NetRx>> NetRx::create(NetDevice& device, unsigned pair,
                                             QueueRunner& runner) {
  std::unique_ptr<NetRx> rx(new NetRx(device, pair, runner));
  Status made;
  runner.thread().run_sync([&] {
    auto watch = runner.thread().loop().watch_fd(rx->pair_.fd(), Readiness::kReadable, *rx);
    if (watch) {
      rx->watch_ = std::move(*watch);
    } else {
      made = forward(watch);
    }
  });
  if (!made) return forward(made);
  return rx;
}

NetRx::~NetRx() {
  runner_.thread().run_sync([this] {
    runner_.thread().loop().stop_timer(*this);
    rate_.stop();
    watch_.reset();
  });
}

void NetRx::taken_into_use() noexcept {
  runner_.thread().loop().post([this] { runner_.wake(); });
}

void NetRx::drain() noexcept {
  if (!device_.in_use(index_)) return runner_.park();
  unshown_ = 0;
  for (unsigned frames = 0; frames < NetDevice::kFramesInOneTurn; ++frames) {
    if ((parked_ != 0 ? unpark() : receive()) == Next::kWait) return;
  }
  put_back();
  runner_.yield();
}

NetRx::Next NetRx::receive() noexcept {
  if (!rate_.may_go()) {
    put_back();
    rate_.wait();
    return Next::kWait;
  }
  gather(wanted_);
  if (held_ == 0) {
    // What the driver offers next ends the wait: frames stay where they are meanwhile.
    counters_.starved.add();
    return Next::kWait;
  }
  const std::size_t in_chains = lay_out_room();
  ssize_t result = 0;
  do {
    result = pair_.receive({room_.data(), room_count_});
    runner_.counters().system_calls.add();
  } while (result == -EINTR);
  // An end, as a socket has one, is no frame either.
  if (result <= 0) return nothing_came(result == 0 ? -EBADFD : result);

  const auto bytes = static_cast<std::size_t>(result);
  if (!device_.link_up()) {
    counters_.dropped_link_down.add();
    return Next::kFrame;
  }
  if (!is_wanted(bytes)) return Next::kFrame;
  if (bytes > in_chains) {
    if (mergeable_) gather(bytes);
    if (held_bytes_ < bytes) {
      if (!mergeable_) {
        counters_.dropped_no_room.add();
        return Next::kFrame;
      }
      park(bytes, in_chains);
      return Next::kWait;
    }
    copy_in(in_chains, {spill_.get(), bytes - in_chains});
  }
  deliver(bytes);
  return Next::kFrame;
}

NetRx::Next NetRx::nothing_came(ssize_t result) noexcept {
  put_back();
  if (result == -EAGAIN) {
    wait_for_frames();
    return Next::kWait;
  }
  if (!device_.in_use(index_)) {
    runner_.park();
    return Next::kWait;
  }
  if (result == -ENOMEM || result == -ENOBUFS) {
    counters_.dropped_error.add();
    wait_for_frames();
    return Next::kWait;
  }
  // Neither frames nor an end of this are to be expected.
  device_.backend_gone(runner_.thread(), static_cast<int>(-result));
  runner_.park();
  return Next::kWait;
}

/// Fills room_ with the buffers of the chains at hand, then spill_ for what they do not hold.
/// Returns how many bytes they hold.
std::size_t NetRx::lay_out_room() noexcept {
  std::size_t bytes = 0;
  room_count_ = 0;
  for (std::size_t i = 0; i < held_ && bytes < kLongest; ++i) {
    const auto buffers = as_iovecs(chain(i).writable());
    if (room_count_ + buffers.size() > kMaxBuffers) break;
    std::ranges::copy(buffers, room_.begin() + static_cast<std::ptrdiff_t>(room_count_));
    room_count_ += buffers.size();
    bytes += chain(i).writable_bytes();
  }
  if (bytes < kLongest) room_[room_count_++] = {spill_.get(), kLongest - bytes};
  return bytes;
}

/// Looks at the head of what was read into room_, once, and counts it if it is dropped.
bool NetRx::is_wanted(std::size_t bytes) noexcept {
  if (bytes < kNetHeaderBytes + kEthernetHeaderBytes) {
    counters_.dropped_error.add();
    return false;
  }
  std::array<std::byte, kNetHeaderBytes + RxFilter::kHeadBytes> head;
  std::size_t have = 0;
  for (std::size_t i = 0; i < room_count_ && have < head.size(); ++i) {
    const std::size_t part = std::min(room_[i].iov_len, head.size() - have);
    std::memcpy(head.data() + have, room_[i].iov_base, part);
    have += part;
  }
  have = std::min(have, bytes);
  const auto allowed = Offloads::from_bits(device_.to_guest_.load(std::memory_order_acquire));
  if (!check_received_header(std::to_integer<std::uint8_t>(head[0]),
                             std::to_integer<std::uint8_t>(head[1]), allowed)) {
    counters_.dropped_error.add();
    return false;
  }
  if (!device_.filter_.accepts(std::span(head).first(have).subspan(kNetHeaderBytes))) {
    counters_.dropped_filter.add();
    return false;
  }
  return true;
}

/// The first `bytes` of the chains at hand are a frame: they go to the driver together.
void NetRx::deliver(std::size_t bytes) noexcept {
  std::uint16_t used = 0;
  for (std::size_t sum = 0; sum < bytes; ++used) sum += chain(used).writable_bytes();
  copy_in(offsetof(NetHeader, num_buffers), std::as_bytes(std::span(&used, 1)));
  if (!Offloads::from_bits(device_.to_guest_.load(std::memory_order_relaxed)).has(Offload::kCsum)) {
    // 5.1.6.4.1: no flags for a driver that has nothing to do with checksums.
    constexpr std::byte kNone{0};
    copy_in(offsetof(NetHeader, flags), {&kNone, 1});
  }
  unshown_ += bytes;
  const Batch last = unshown_ >= kShowAfterBytes ? Batch::kMayEnd : Batch::kGoesOn;
  if (last == Batch::kMayEnd) unshown_ = 0;
  std::size_t left = bytes;
  for (std::uint16_t i = 0; i < used; ++i) {
    DescriptorChain& one = chain(0);
    const std::uint32_t room = one.writable_bytes();
    const std::size_t part = std::min<std::size_t>(left, room);
    left -= part;
    runner_.complete(one, static_cast<std::uint32_t>(part), i + 1U < used ? Batch::kGoesOn : last);
    --held_;
    // From the same place again, where the next one may be in a cache still.
    first_ = held_ == 0 ? 0 : (first_ + 1) & (max_chains_ - 1);
    held_bytes_ -= room;
  }
  counters_.frames.add();
  counters_.bytes.add(bytes - kNetHeaderBytes);
  rate_.gone(1, bytes - kNetHeaderBytes);
  adapt(bytes);
}

/// Room grows at once and shrinks slowly: too little costs a copy, too much a few more buffers for
/// the kernel to look at.
void NetRx::adapt(std::size_t bytes) noexcept {
  if (bytes >= wanted_) {
    wanted_ = std::min(bytes, kLongest);
  } else {
    wanted_ -= (wanted_ - bytes) / 16;
  }
}

/// Keeps the frame that was read into room_, since the driver has no buffers for all of it. The
/// chains stay at hand: the ring is empty, and asks to be told of more.
void NetRx::park(std::size_t bytes, std::size_t in_chains) noexcept {
  std::memmove(spill_.get() + in_chains, spill_.get(), bytes - in_chains);
  std::size_t done = 0;
  for (std::size_t i = 0; done < in_chains; ++i) {
    std::memcpy(spill_.get() + done, room_[i].iov_base, room_[i].iov_len);
    done += room_[i].iov_len;
  }
  parked_ = bytes;
  patience_over_.store(false, std::memory_order_relaxed);
  counters_.starved.add();
  runner_.thread().start_timer(*this, kBufferPatience);
}

NetRx::Next NetRx::unpark() noexcept {
  gather(parked_);
  if (held_bytes_ < parked_) {
    if (held_ < max_chains_ && !patience_over_.load(std::memory_order_relaxed)) return Next::kWait;
    counters_.dropped_no_room.add();
    parked_ = 0;
    return Next::kFrame;
  }
  const std::size_t bytes = std::exchange(parked_, 0);
  copy_in(0, {spill_.get(), bytes});
  deliver(bytes);
  return Next::kFrame;
}

void NetRx::on_timer() noexcept {
  patience_over_.store(true, std::memory_order_relaxed);
  runner_.wake();
}

void NetRx::wait_for_frames() noexcept {
  runner_.park();
  IoThread& thread = runner_.thread();
  if (thread.is_current()) {
    watch_->arm();
  } else {
    thread.loop().post([this] { watch_->arm(); });
  }
}

DescriptorChain& NetRx::chain(std::size_t i) noexcept {
  return chains_[(first_ + i) & (max_chains_ - 1)];
}

/// One chain more at hand; false if the driver has offered none, or no more can be held.
bool NetRx::take() noexcept {
  while (held_ < max_chains_) {
    DescriptorChain& next = chain(held_);
    if (runner_.pop(next) != Pop::kChain) return false;
    if (next.writable_bytes() >= kNetHeaderBytes && next.writable().size() <= kMaxBuffers) {
      ++held_;
      held_bytes_ += next.writable_bytes();
      return true;
    }
    // 5.1.6.3.1: room for the header at least.
    counters_.guest_faults.add();
    runner_.complete(next, 0);
  }
  return false;
}

void NetRx::gather(std::size_t bytes) noexcept {
  if (held_ == 0 && !take()) return;
  while (mergeable_ && held_bytes_ < bytes && take()) {
  }
}

void NetRx::put_back() noexcept {
  for (; held_ != 0; --held_) {
    DescriptorChain& last = chain(held_ - 1);
    // Chains that made no sense were between: their neighbours come back empty.
    if (!runner_.rewind(last)) runner_.complete(last, 0);
  }
  held_bytes_ = 0;
}

/// To byte `offset` of the chains at hand, taken as one run.
void NetRx::copy_in(std::size_t offset, std::span<const std::byte> from) noexcept {
  for (std::size_t i = 0; i < held_ && !from.empty(); ++i) {
    const std::size_t room = chain(i).writable_bytes();
    if (offset >= room) {
      offset -= room;
      continue;
    }
    from = from.subspan(BufferRun(chain(i).writable()).copy_in(offset, from));
    offset = 0;
  }
}

}  // namespace bellhop

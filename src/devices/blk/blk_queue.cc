#include "devices/blk/blk_queue.h"

#include <algorithm>
#include <cassert>
#include <memory>
#include <new>
#include <utility>

#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

BlkQueue::BlkQueue(BlkDevice& device, QueueRunner& runner, BlkTraffic& traffic,
                   std::uint64_t features)
    : device_(device),
      runner_(runner),
      traffic_(traffic),
      rules_{.capacity = device.capacity(),
             .logical_block = device.backend_->limits().logical_block,
             .read_only = device.backend_->limits().read_only,
             .discard = (features & feature_mask(kBlkFeatureDiscard)) != 0,
             .write_zeroes = (features & feature_mask(kBlkFeatureWriteZeroes)) != 0},
      can_flush_((features & feature_mask(kBlkFeatureFlush)) != 0),
      rate_(runner, device.options_.group != nullptr ? *device.options_.group : device.throttle_,
            device.throttle_) {}

Result<std::unique_ptr<BlkQueue>> BlkQueue::create(BlkDevice& device, QueueRunner& runner,
                                                   BlkTraffic& traffic, std::uint64_t features) {
  std::unique_ptr<BlkQueue> queue(new BlkQueue(device, runner, traffic, features));
  const std::uint16_t depth = device.traits().queue_max_size;
  // The back end and the loop are told on the thread to which they belong.
  Status made;
  runner.thread().run_sync([&] { made = queue->open(queue->wanted_sharing()); });
  if (!made) return forward(made);
  queue->pool_ = std::make_unique_for_overwrite<Slot[]>(depth);
  queue->depth_ = depth;
  return queue;
}

QueueSharing BlkQueue::wanted_sharing() const noexcept {
  return runner_.shares_with_vcpu() ? QueueSharing::kSharedWithVcpu : QueueSharing::kLoopOnly;
}

Status BlkQueue::open(QueueSharing sharing) {
  EventLoop& loop = runner_.thread().loop();
  auto io = device_.backend_->make_queue(loop, sharing, device_.traits().queue_max_size);
  if (!io) return forward(io);
  if (const EventFd* event = (*io)->completion_event()) {
    if (auto watched = loop.watch(*event, *this); !watched) return watched;
  }
  if (io_) {
    if (const EventFd* event = io_->completion_event()) loop.unwatch(*event);
  }
  io_ = std::move(*io);
  sharing_ = sharing;
  counted_system_calls_ = 0;
  return {};
}

Status BlkQueue::open_anew() {
  Status done;
  if (sharing_ == wanted_sharing()) return done;
  runner_.thread().run_sync([&] { done = open(wanted_sharing()); });
  return done;
}

BlkQueue::~BlkQueue() {
  if (!io_) return;
  runner_.thread().run_sync([this] {
    rate_.stop();
    if (const EventFd* event = io_->completion_event()) {
      runner_.thread().loop().unwatch(*event);
    }
    io_.reset();
  });
  for (std::size_t i = 0; i < made_; ++i) {
    std::destroy_at(std::launder(reinterpret_cast<BlkRequest*>(pool_[i].bytes)));
  }
}

/// One more request than was ever in flight, free. Null: there is one for each entry of the ring.
BlkRequest* BlkQueue::make_request() noexcept {
  if (made_ == depth_) return nullptr;
  auto* const request = ::new (pool_[made_++].bytes) BlkRequest;  // its buffers as they are
  request->owner = this;
  request->completed = &BlkQueue::on_completed;
  free_ = request;
  return request;
}

void BlkQueue::drain() noexcept {
  // A request for each head of the ring: the pool cannot run dry before the ring does.
  while (BlkRequest* const request = free_ != nullptr ? free_ : make_request()) {
    if (runner_.pop(request->chain) != Pop::kChain) return;
    if (!begin(*request)) {
      [[maybe_unused]] const bool back = runner_.rewind(request->chain);
      assert(back);
      return;
    }
  }
}

void BlkQueue::submit() noexcept {
  io_->submit();
  count_system_calls();
}

void BlkQueue::will_run(Drain drain) noexcept {
  if (sharing_ == QueueSharing::kSharedWithVcpu) io_->set_loop_only(drain == Drain::kByIoThread);
}

/// The driver hears of its mistake where it looks for an answer: with no status at all it would
/// take the request for done.
std::uint32_t BlkQueue::malformed(DescriptorChain& chain) noexcept {
  device_.counters_.guest_faults.add();
  if (chain.writable().empty()) return 0;
  const GuestSpan& last = chain.writable().back();
  return last.store(last.size() - 1, std::uint8_t{kBlkStatusIoError}) ? 1 : 0;
}

void BlkQueue::count_system_calls() noexcept {
  const std::uint64_t now = io_->system_calls();
  runner_.counters().system_calls.add(now - std::exchange(counted_system_calls_, now));
}

void BlkQueue::on_event(std::uint64_t /*count*/) noexcept {
  runner_.with_queue_lock([this] {
    io_->reap();
    count_system_calls();
  });
}

bool BlkQueue::keeps_rate(std::uint64_t bytes) noexcept {
  if (rate_.pass(1, bytes)) return true;
  rate_.wait();
  return false;
}

bool BlkQueue::begin(BlkRequest& request) noexcept {
  rules_.capacity = device_.capacity();  // may change at any time
  const BlkPlan plan = parse_blk_request(request, rules_);
  const bool is_long = plan.kind == BlkPlan::Kind::kSegments;
  if (is_long && long_ == kBlkMaxLongRequests) {
    long_waiting_ = true;
    runner_.park();
    return false;
  }
  if ((is_long || plan.kind == BlkPlan::Kind::kIo) && rate_.limited() && !keeps_rate(plan.length)) {
    return false;
  }
  free_ = request.next_free;
  switch (plan.kind) {
    case BlkPlan::Kind::kIo:
      // Write through (5.2.6.2): without FLUSH, or with the cache switched off by the driver.
      request.flush_after = plan.op == BlockOp::kWrite &&
                            (!can_flush_ || !device_.writeback_.load(std::memory_order_relaxed));
      if (plan.op == BlockOp::kFlush) traffic_.flush_ops.add();
      enqueue(request, plan.op, plan.offset, plan.length);
      break;
    case BlkPlan::Kind::kSegments:
      request.flush_after = false;
      request.range = 0;
      request.range_count = plan.segments;
      request.op = plan.op;
      request.is_long = true;
      ++long_;
      next_range(request);
      break;
    case BlkPlan::Kind::kGetId:
      get_id(request);
      break;
    case BlkPlan::Kind::kRefuse:
      if (plan.status != kBlkStatusOk) device_.counters_.guest_faults.add();
      answer(request, plan.status, 0);
      break;
    case BlkPlan::Kind::kDrop:
      device_.counters_.guest_faults.add();
      request.status_byte = {};
      answer(request, kBlkStatusIoError, 0);
      break;
  }
  return true;
}

void BlkQueue::enqueue(BlkRequest& request, BlockOp op, std::uint64_t offset,
                       std::uint64_t length) noexcept {
  request.op = op;
  request.offset = offset;
  request.length = length;
  io_->enqueue(request);
}

void BlkQueue::next_range(BlkRequest& request) noexcept {
  while (request.range < request.range_count) {
    const BlkRange& range = request.ranges[request.range++];
    if (range.length == 0) continue;
    request.may_unmap = range.may_unmap;
    request.offset = range.offset;
    request.length = range.length;
    request.data = {};
    io_->enqueue(request);
    return;
  }
  answer(request, kBlkStatusOk, 0);
}

void BlkQueue::get_id(BlkRequest& request) noexcept {
  // 5.2.6: 20 bytes, padded with zeros; a shorter buffer gets what fits.
  std::array<std::byte, kBlkIdBytes> id{};
  const std::string& name = device_.options_.id;
  std::memcpy(id.data(), name.data(), std::min<std::size_t>(name.size(), id.size()));
  const std::size_t room = std::min<std::size_t>(request.chain.writable_bytes() - 1U, id.size());
  BufferRun(request.chain.writable()).copy_in(0, std::span(id).first(room));
  answer(request, kBlkStatusOk, static_cast<std::uint32_t>(room));
}

void BlkQueue::on_completed(BlockIo& io, int error) noexcept {
  auto& request = static_cast<BlkRequest&>(io);
  BlkQueue& queue = *request.owner;
  if (error != 0) {
    queue.device_.counters_.io_errors.add();
    const bool unsupported = error == -EOPNOTSUPP;
    queue.answer(request, unsupported ? kBlkStatusUnsupported : kBlkStatusIoError, 0);
    return;
  }
  queue.count(request);
  if (request.flush_after) {
    request.flush_after = false;
    queue.enqueue(request, BlockOp::kFlush, 0, 0);
    queue.io_->submit();
    return;
  }
  if (io.op == BlockOp::kDiscard || io.op == BlockOp::kWriteZeroes) {
    const bool last = request.range == request.range_count;
    queue.next_range(request);
    if (!last) queue.io_->submit();
    return;
  }
  queue.answer(request, kBlkStatusOk, request.written);
}

/// wake() takes the queue lock, which is held here where a vCPU drains: the I/O thread does it
/// then.
void BlkQueue::end_long(BlkRequest& request) noexcept {
  request.is_long = false;
  --long_;
  if (!std::exchange(long_waiting_, false)) return;
  if (runner_.drain() == Drain::kByIoThread) return runner_.wake();
  runner_.thread().loop().post([&runner = runner_] { runner.wake(); });
}

void BlkQueue::count(const BlkRequest& request) noexcept {
  if (request.op == BlockOp::kRead) {
    traffic_.read_ops.add();
    traffic_.read_bytes.add(request.length);
  } else if (request.op == BlockOp::kWrite) {
    traffic_.write_ops.add();
    traffic_.write_bytes.add(request.length);
  }
}

void BlkQueue::answer(BlkRequest& request, std::uint8_t status, std::uint32_t written) noexcept {
  std::uint32_t total = 0;
  if (!request.status_byte.empty()) {
    (void)request.status_byte.store(0, status);
    // The used length counts up to the status byte only if all before it was written (2.7.8.2).
    total = written + 1;
  }
  if (request.is_long) end_long(request);
  runner_.complete(request.chain, total);
  request.next_free = std::exchange(free_, &request);
}

}  // namespace bellhop

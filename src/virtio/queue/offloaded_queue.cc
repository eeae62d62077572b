#include "virtio/queue/offloaded_queue.h"

#include <cassert>

namespace bellhop {

Result<std::unique_ptr<OffloadedQueue>> OffloadedQueue::create(const Setup& setup) {
  std::unique_ptr<OffloadedQueue> queue(new OffloadedQueue(setup));
  auto fault = EventFd::create();
  if (!fault) return forward(fault);
  queue->fault_ = std::move(*fault);
  return queue;
}

OffloadedQueue::~OffloadedQueue() { assert(!running()); }

Status OffloadedQueue::start(const RingAreas& ring, const RingState& state) {
  assert(!running() && back_end_ != nullptr);
  (void)fault_.consume();
  ring_ = OffloadedRing{ring, ring.packed ? packed_base(state) : state.next_avail, doorbell_,
                        interrupt_->event(), &fault_};
  if (auto started = back_end_->start(ring_); !started) return started;
  running_.store(true, std::memory_order_release);
  thread_->run_sync([this] {
    [[maybe_unused]] const bool watched = thread_->loop().watch(fault_, fault_watch_).has_value();
    assert(watched);
  });
  return {};
}

std::optional<RingState> OffloadedQueue::stop() {
  if (!running()) return std::nullopt;
  thread_->run_sync([this] { thread_->loop().unwatch(fault_); });
  const std::uint32_t base = back_end_->stop();
  const RingState state = ring_.packed ? ring_state_of_packed_base(base)
                                       : RingState{.next_avail = static_cast<std::uint16_t>(base),
                                                   .next_used = used_index(ring_)};
  // The back end waited for its signals and left the counter alone.
  (void)doorbell_->consume();
  running_.store(false, std::memory_order_release);
  return state;
}

void OffloadedQueue::interrupt_changed() noexcept {
  if (running()) back_end_->call_changed(interrupt_->event());
}

void OffloadedQueue::FaultWatch::on_event(std::uint64_t /*count*/) noexcept {
  // Once in a ring's life: a peer may signal without end, and others use this thread too.
  queue.thread_->loop().unwatch(queue.fault_);
  queue.counters_->broken.add();
  queue.faults_->queue_broken();
}

}  // namespace bellhop

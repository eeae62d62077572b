#include "virtio/queue/queue_runner.h"

#include <cassert>

namespace bellhop {

namespace {

/// Rounds of one drain before other queues of the thread get their turn.
constexpr unsigned kRoundsInOneDrain = 32;

}  // namespace

Result<std::unique_ptr<QueueRunner>> QueueRunner::create(const Setup& setup) {
  std::unique_ptr<QueueRunner> runner(new QueueRunner(setup));
  auto doorbell = EventFd::create();
  if (!doorbell) return forward(doorbell);
  runner->doorbell_ = std::move(*doorbell);
  return runner;
}

QueueRunner::~QueueRunner() { assert(!running()); }

void QueueRunner::start(SplitRing ring) {
  assert(!running() && handler_ != nullptr);
  {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    ring_.emplace(std::move(ring));
    stopping_ = false;
    parked_ = false;
    // A handler may have work without chains: bytes that its back end took before it stopped.
    woken_ = true;
  }
  at_rest_ = false;
  running_.store(true, std::memory_order_release);
  if (mode() == NotifyMode::kIoEventFd) {
    thread_->run_sync([this] {
      [[maybe_unused]] const bool watched = thread_->loop().watch(doorbell_, *this).has_value();
      assert(watched);
      // Wherever the ring comes from, the driver may still be asked not to kick.
      suppressed_ = true;
      thread_->loop().add_poller(*this);
    });
  }
}

Status QueueRunner::carry(SplitRing& ring) {
  assert(!running() && carrier_ != nullptr && mode() == NotifyMode::kKernel);
  if (!fault_.valid()) {
    auto made = EventFd::create();
    if (!made) return forward(made);
    fault_ = std::move(*made);
  }
  fault_.consume();
  OffloadedRing lent = ring.lend();
  lent.kick = &doorbell_;
  lent.call = interrupt_->event();
  lent.fault = &fault_;
  if (auto started = carrier_->start(lent); !started) return started;
  ring_.emplace(std::move(ring));
  running_.store(true, std::memory_order_release);
  thread_->run_sync([this] {
    [[maybe_unused]] const bool watched = thread_->loop().watch(fault_, fault_watch_).has_value();
    assert(watched);
  });
  return {};
}

std::optional<SplitRing> QueueRunner::take_back() {
  thread_->run_sync([this] { thread_->loop().unwatch(fault_); });
  ring_->take_back(carrier_->stop());
  // The carrier waited for its signals and left the counter alone.
  (void)doorbell_.consume();
  running_.store(false, std::memory_order_release);
  return std::exchange(ring_, std::nullopt);
}

void QueueRunner::FaultWatch::on_event(std::uint64_t /*count*/) noexcept {
  // Once in a ring's life: a peer may signal without end, and others use this thread too.
  runner.thread_->loop().unwatch(runner.fault_);
  runner.counters_.broken.add();
  runner.faults_->queue_broken();
}

void QueueRunner::interrupt_changed() noexcept {
  if (running() && mode() == NotifyMode::kKernel) carrier_->call_changed(interrupt_->event());
}

std::optional<SplitRing> QueueRunner::stop() {
  if (!running()) return std::nullopt;
  if (mode() == NotifyMode::kKernel) return take_back();
  thread_->run_sync([this] {
    if (mode() == NotifyMode::kIoEventFd) {
      thread_->loop().unwatch(doorbell_);
      thread_->loop().remove_poller(*this);
    }
    const std::lock_guard<std::mutex> hold(queue_lock_);
    stopping_ = true;
    handler_->let_go();
    publish(Ring::kNow);
    settle();
  });
  {
    std::unique_lock<std::mutex> hold(rest_mutex_);
    rest_changed_.wait(hold, [this] { return at_rest_; });
  }
  std::optional<SplitRing> ring;
  // The round that completed the last request may still be on its way out of run().
  thread_->run_sync([this, &ring] {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    publish(Ring::kNow);
    ring = std::move(ring_);
    ring_.reset();
    kicked_ = false;
    woken_ = false;
    // A round put off to the end of this one would come after the caller may have destroyed us.
    thread_->loop().cancel_deferred(*this);
    // Here, so that no wake() of this thread comes between the end and the next start.
    running_.store(false, std::memory_order_release);
  });
  return ring;
}

void QueueRunner::kick_once() noexcept {
  if (mode() == NotifyMode::kKernel) {
    doorbell_.signal();
    return;
  }
  // One message to the I/O thread in every mode: the caller may be any thread, with any lock.
  thread_->loop().post([this] {
    if (mode() == NotifyMode::kSync) {
      const std::lock_guard<std::mutex> hold(queue_lock_);
      if (ring_) serve_sync(false);
    } else if (ring_) {
      thread_->loop().defer(*this);
    }
  });
}

void QueueRunner::kick() noexcept {
  if (mode() != NotifyMode::kSync) {
    counters_.kicks_by_exit.add();  // may miss one if vCPUs race here; that it is none is exact
    doorbell_.signal();
    return;
  }
  const std::lock_guard<std::mutex> hold(queue_lock_);
  if (!ring_) return;
  counters_.kicks.add();
  counters_.kicks_by_exit.add();
  serve_sync(true);
}

void QueueRunner::on_event(std::uint64_t count) noexcept {
  counters_.kicks.add(count);
  kicked_ = true;
  thread_->loop().defer(*this);
}

void QueueRunner::run() noexcept {
  if (ring_) serve(std::exchange(kicked_, false));
}

Pop QueueRunner::pop(DescriptorChain& chain) noexcept {
  const Pop answer = ring_->pop(chain);
  if (answer == Pop::kChain) ++taken_;
  return answer;
}

bool QueueRunner::rewind(DescriptorChain& chain) noexcept {
  if (!ring_->rewind(chain)) return false;
  --taken_;
  return true;
}

void QueueRunner::complete(DescriptorChain& chain, std::uint32_t written, Batch batch) noexcept {
  ring_->complete(chain, written);
  if (!serving_) {
    thread_->loop().defer(*this);
  } else if (batch == Batch::kMayEnd && ring_->event_idx()) {
    // The driver works on the first while the device works on the rest: what a medium is for that
    // completes inside submit(). A sleeping driver is woken at once and finds more when it comes; a
    // driver that is awake says so, and none of the others rings. By flags, each would be an
    // interrupt: there the batch is published as a whole.
    publish(Ring::kNow);
  }
}

void QueueRunner::wake() noexcept {
  // Who starts the queue touches it as long as it does not run, and has it drained afterwards.
  if (!running()) return;
  if (mode() == NotifyMode::kSync) {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    parked_ = false;
    if (ring_) serve_sync(false);
    return;
  }
  parked_ = false;
  if (!ring_) return;
  woken_ = true;
  thread_->loop().defer(*this);
}

bool QueueRunner::drain_once(Ring ring) noexcept {
  ring_->suppress_kicks();
  serving_ = true;
  yielded_ = false;
  taken_ = 0;
  handler_->drain();
  if (taken_ != 0) handler_->submit();
  serving_ = false;
  publish(ring);
  if (!ring_->broken()) return taken_ != 0;
  faults_->queue_broken();
  return false;
}

void QueueRunner::serve(bool kicked) noexcept {
  const bool woken = std::exchange(woken_, false);
  if (stopping_ || parked_ || (!kicked && !woken && !ring_->has_available())) {
    if (kicked && parked_) counters_.spurious_kicks.add();
    publish(Ring::kWithNextSubmission);
    settle();
    return;
  }
  suppressed_ = true;
  for (unsigned round = 0; round < kRoundsInOneDrain; ++round) {
    if (!drain_once(Ring::kWithNextSubmission)) {
      if (kicked && round == 0) counters_.spurious_kicks.add();
      break;
    }
    if (parked_ || yielded_ || !ring_->has_available()) break;
  }
  settle();
  // Other queues first; the loop does not sleep before it has come back here.
  if (!parked_ && ring_->has_available()) thread_->loop().defer(*this);
}

bool QueueRunner::poll() noexcept {
  if (!ring_ || stopping_ || parked_ || !ring_->has_available()) return false;
  thread_->loop().defer(*this);
  return true;
}

bool QueueRunner::prepare_sleep() noexcept {
  if (!suppressed_ || !ring_ || stopping_ || parked_ || ring_->broken()) return false;
  suppressed_ = false;
  return ring_->enable_kicks() && poll();
}

void QueueRunner::serve_sync(bool kicked) noexcept {
  if (stopping_) {
    settle();
    return;
  }
  bool more = !parked_;
  if (parked_ && kicked) counters_.spurious_kicks.add();
  for (unsigned round = 0; more && round < kRoundsInOneDrain; ++round) {
    if (!drain_once(Ring::kNow) && kicked && round == 0) counters_.spurious_kicks.add();
    // Who parks is not to be kicked: the vCPU would leave its guest for nothing.
    more = !parked_ && ring_->enable_kicks();
  }
  // The vCPU has better things to do: the I/O thread goes on.
  if (more) kick_once();
  settle();
}

void QueueRunner::publish(Ring ring) noexcept {
  if (!ring_->publish()) return;
  const EventFd* event = interrupt_->prepare();
  if (event == nullptr) return;
  counters_.interrupts.add();
  if (ring == Ring::kNow) {
    event->signal();
  } else {
    thread_->loop().signal(*event);
  }
}

void QueueRunner::settle() noexcept {
  if (!stopping_ || ring_->in_flight() != 0) return;
  const std::lock_guard<std::mutex> hold(rest_mutex_);
  at_rest_ = true;
  rest_changed_.notify_all();
}

}  // namespace bellhop

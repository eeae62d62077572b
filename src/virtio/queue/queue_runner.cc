#include "virtio/queue/queue_runner.h"

#include <cassert>

#include "virtio/queue/usdt.h"

namespace bellhop {

namespace {

/// Rounds of one drain before other queues of the thread get their turn.
constexpr unsigned kRoundsInOneDrain = 32;

}  // namespace

Result<std::unique_ptr<QueueRunner>> QueueRunner::create(const Setup& setup) {
  std::unique_ptr<QueueRunner> runner(new QueueRunner(setup));
  if (runner->doorbell_ == nullptr) {
    auto doorbell = EventFd::create();
    if (!doorbell) return forward(doorbell);
    runner->own_doorbell_ = std::move(*doorbell);
    runner->doorbell_ = &runner->own_doorbell_;
  }
  if (setup.coalesce > std::chrono::nanoseconds(0)) {
    runner->delay_ = std::make_unique<InterruptDelay>(
        setup.coalesce, InterruptDelay::Queue{setup.thread, setup.interrupt, &runner->counters_,
                                              setup.device, setup.queue});
  }
  return runner;
}

void QueueRunner::set_handler(QueueHandler* handler) noexcept {
  handler_ = trace_ != nullptr && handler != nullptr ? &trace_->stand_before(*handler) : handler;
}

QueueRunner::~QueueRunner() { assert(!running()); }

void QueueRunner::set_doorbell(const EventFd* doorbell) noexcept {
  assert(!running() && (doorbell != nullptr || own_doorbell_.valid()));
  doorbell_ = doorbell != nullptr ? doorbell : &own_doorbell_;
}

void QueueRunner::start(Ring ring) {
  assert(!running() && handler_ != nullptr);
  {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    ring_.emplace(std::move(ring));
    stopping_ = false;
    parked_ = false;
    choice_.start(counters_);
    early_ = {};
    if (trace_ != nullptr) trace_->set_drain(drain());
    handler_->will_run(drain());
    // A handler may have work without chains: bytes that its back end took before it stopped.
    woken_ = true;
  }
  at_rest_ = false;
  running_.store(true, std::memory_order_release);
  if (drain() == Drain::kByIoThread) thread_->run_sync([this] { listen(); });
}

std::optional<RequestTimes> QueueRunner::take_request_times() {
  std::optional<RequestTimes> times;
  if (trace_ == nullptr) return times;
  thread_->run_sync([this, &times] {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    times = trace_->take();
  });
  return times;
}

void QueueRunner::listen() {
  [[maybe_unused]] const bool watched = thread_->loop().watch(*doorbell_, *this).has_value();
  assert(watched);
  // Wherever the ring comes from, the driver may still be asked not to kick.
  suppressed_ = true;
  thread_->loop().add_poller(*this);
}

std::optional<RingState> QueueRunner::stop() {
  if (!running()) return std::nullopt;
  begin_stop();
  {
    std::unique_lock<std::mutex> hold(rest_mutex_);
    rest_changed_.wait(hold, [this] { return at_rest_; });
  }
  return end_stop();
}

std::optional<RingState> QueueRunner::try_stop(std::chrono::nanoseconds patience) {
  if (!running()) return std::nullopt;
  begin_stop();
  {
    std::unique_lock<std::mutex> hold(rest_mutex_);
    (void)rest_changed_.wait_for(hold, patience, [this] { return at_rest_; });
  }
  bool goes_on = false;
  thread_->run_sync([this, &goes_on] {
    {
      const std::lock_guard<std::mutex> hold(queue_lock_);
      const std::lock_guard<std::mutex> rest(rest_mutex_);
      goes_on = !at_rest_;
      if (!goes_on) return;
      stopping_ = false;
      // As after a start: release() has given chains back that are to be taken again.
      parked_ = false;
      woken_ = true;
    }
    if (drain() == Drain::kByIoThread) listen();
  });
  if (!goes_on) return end_stop();
  kick_once();
  return std::nullopt;
}

/// Nothing more is taken from here on.
void QueueRunner::begin_stop() {
  thread_->run_sync([this] {
    if (drain() == Drain::kByIoThread) {
      thread_->loop().unwatch(*doorbell_);
      thread_->loop().remove_poller(*this);
    }
    const std::lock_guard<std::mutex> hold(queue_lock_);
    stopping_ = true;
    handler_->release();
    publish(Signal::kNow);
    settle();
  });
}

RingState QueueRunner::end_stop() {
  RingState state;
  // The round that completed the last request may still be on its way out of run().
  thread_->run_sync([this, &state] {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    publish(Signal::kNow);
    if (delay_ != nullptr) delay_->end();
    state = ring_->state();
    ring_.reset();
    if (trace_ != nullptr) trace_->stopped();
    kicked_ = false;
    woken_ = false;
    // A round put off to the end of this one would come after the caller may have destroyed us.
    thread_->loop().cancel_deferred(*this);
    // Here, so that no wake() of this thread comes between the end and the next start.
    running_.store(false, std::memory_order_release);
  });
  return state;
}

void QueueRunner::kick_once() noexcept {
  // One message to the I/O thread, whoever drains: the caller may be any thread, with any lock. One
  // at a time: a vCPU that passes work on at each exit may be quicker than that thread.
  if (kick_posted_.exchange(true, std::memory_order_acq_rel)) return;
  thread_->loop().post([this] {
    // Before the look at the ring: who finds it set has offered before that.
    kick_posted_.exchange(false, std::memory_order_acq_rel);
    if (!running()) return;  // who starts it kicks it once
    if (drain() == Drain::kByVcpu) {
      const std::lock_guard<std::mutex> hold(queue_lock_);
      if (ring_) serve_sync(false);
    } else if (ring_) {
      thread_->loop().defer(*this);
    }
  });
}

void QueueRunner::kick() noexcept {
  if (drain() == Drain::kByIoThread) {
    counters_.kicks_by_exit.add();  // may miss one if vCPUs race here; that it is none is exact
    doorbell_->signal();
    return;
  }
  const std::lock_guard<std::mutex> hold(queue_lock_);
  // If the other drains it by now, then it was started since this kick, and kicked once for it.
  if (!ring_ || drain() != Drain::kByVcpu) return;
  counters_.kicks.add();
  counters_.kicks_by_exit.add();
  BELLHOP_USDT2(kick_received, device_, queue_);
  serve_sync(true);
}

void QueueRunner::on_event(std::uint64_t count) noexcept {
  counters_.kicks.add(count);
  BELLHOP_USDT2(kick_received, device_, queue_);
  kicked_ = true;
  thread_->loop().defer(*this);
}

void QueueRunner::run() noexcept {
  if (ring_) serve(std::exchange(kicked_, false));
}

[[gnu::always_inline]] inline Pop QueueRunner::popped(const DescriptorChain& chain) noexcept {
  BELLHOP_USDT3(request_popped, device_, queue_, chain.head());
  return trace_ == nullptr ? Pop::kChain : stamp_taken(chain);
}

Pop QueueRunner::pop(DescriptorChain& chain) noexcept {
  if (turn_over()) return Pop::kEmpty;
  const Pop answer = ring_->pop(chain);
  if (answer == Pop::kMalformed) return give_back_malformed(chain);
  return answer == Pop::kChain ? popped(chain) : answer;
}

Pop QueueRunner::stamp_taken(const DescriptorChain& chain) noexcept {
  trace_->taken(chain.head());
  return Pop::kChain;
}

Pop QueueRunner::give_back_malformed(DescriptorChain& chain) noexcept {
  Pop answer = Pop::kMalformed;
  while (answer == Pop::kMalformed) {
    ring_->complete(chain, handler_->malformed(chain));
    if (turn_over()) return Pop::kEmpty;
    answer = ring_->pop(chain);
  }
  return answer == Pop::kChain ? popped(chain) : answer;
}

bool QueueRunner::rewind(DescriptorChain& chain) noexcept {
  if (!ring_->rewind(chain)) return false;
  if (trace_ != nullptr) trace_->rewound(chain.head());
  return true;
}

void QueueRunner::complete(DescriptorChain& chain, std::uint32_t written, Batch batch) noexcept {
  BELLHOP_USDT3(request_completed, device_, queue_, chain.head());
  if (trace_ != nullptr) [[unlikely]]
    return complete_traced(chain, written, batch);
  give_back(chain, written, batch);
}

void QueueRunner::complete_traced(DescriptorChain& chain, std::uint32_t written,
                                  Batch batch) noexcept {
  trace_->done(chain.head());
  give_back(chain, written, batch);
}

inline void QueueRunner::give_back(DescriptorChain& chain, std::uint32_t written,
                                   Batch batch) noexcept {
  ring_->complete(chain, written);
  if (!serving_) {
    thread_->loop().defer(*this);
  } else if (batch == Batch::kMayEnd && ring_->event_idx() && early_.pays()) {
    // The driver works on the first while the device works on the rest: what a medium is for that
    // completes inside submit(). A sleeping driver is woken at once and finds more when it comes; a
    // driver that is awake says so, and none of the others rings. By flags, each would be an
    // interrupt: there the batch is published as a whole.
    show(Signal::kNow);
  }
}

void QueueRunner::wake() noexcept {
  // Who starts the queue touches it as long as it does not run, and has it drained afterwards.
  if (!running()) return;
  if (drain() == Drain::kByVcpu) {
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

bool QueueRunner::drain_once(Signal signal) noexcept {
  if (!choice_.asks()) ring_->suppress_kicks();
  BELLHOP_USDT2(queue_served, device_, queue_);
  serving_ = true;
  yielded_ = false;
  const std::uint16_t before = ring_->taken();
  handler_->drain();
  if (choice_.asks()) ask_while_awake();
  const bool some = ring_->taken() != before;
  if (some) {
    BELLHOP_USDT2(batch_submitted, device_, queue_);
    handler_->submit();
    early_.batch_over();
  }
  serving_ = false;
  publish(signal);
  if (!ring_->broken()) return some;
  faults_->queue_broken();
  return false;
}

void QueueRunner::serve(bool kicked) noexcept {
  const bool woken = std::exchange(woken_, false);
  if (stopping_ || parked_ || (!kicked && !woken && !ring_->has_available())) {
    if (kicked && parked_) counters_.spurious_kicks.add();
    publish(Signal::kWithNextSubmission);
    settle();
    return;
  }
  suppressed_ = true;
  const bool expected = kicked && was_asked_for();
  begin_turn();
  for (unsigned round = 0; round < kRoundsInOneDrain; ++round) {
    if (!drain_once(Signal::kWithNextSubmission)) {
      if (kicked && !expected && round == 0) counters_.spurious_kicks.add();
      break;
    }
    if (parked_ || yielded_ || turn_over() || !ring_->has_available()) break;
  }
  choice_.weigh(counters_, ring_->in_flight() == 0);
  settle();
  // Other queues first; the loop does not sleep before it has come back here.
  if (!parked_ && ring_->has_available()) thread_->loop().defer(*this);
}

void QueueRunner::ask_while_awake() noexcept {
  // A parked queue has no use for them.
  parked_ ? ring_->suppress_kicks() : ring_->ask_for_kicks();
}

bool QueueRunner::was_asked_for() noexcept {
  const std::uint16_t taken = ring_->taken();
  return std::exchange(kick_seen_, taken) != taken && choice_.asks();
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
  begin_turn();
  for (unsigned round = 0; more && !turn_over() && round < kRoundsInOneDrain; ++round) {
    if (!drain_once(Signal::kNow) && kicked && round == 0) counters_.spurious_kicks.add();
    // A parked queue is not to be kicked: the vCPU would leave its guest for nothing.
    more = !parked_ && ring_->enable_kicks();
  }
  // The vCPU has better things to do: the I/O thread goes on.
  if (more) kick_once();
  settle();
}

void QueueRunner::publish(Signal signal) noexcept { show(signal); }

inline void QueueRunner::show(Signal signal) noexcept {
  const bool wanted = ring_->publish();
  BELLHOP_USDT3(used_published, device_, queue_, wanted);
  if (trace_ != nullptr) [[unlikely]]
    return interrupt_traced(wanted, signal);
  if (wanted) interrupt(signal);
}

void QueueRunner::interrupt_traced(bool wanted, Signal signal) noexcept {
  trace_->shown();
  if (wanted) interrupt(signal);
  trace_->signalled();
}

void QueueRunner::interrupt(Signal signal) noexcept {
  if (delay_ != nullptr && drain() == Drain::kByIoThread) return delay_->ask();
  const EventFd* event = interrupt_->prepare();
  if (event == nullptr) return;
  counters_.interrupts.add();
  BELLHOP_USDT2(interrupt_signalled, device_, queue_);
  if (signal == Signal::kWithNextSubmission) {
    thread_->loop().signal(*event);
  } else if (batch_goes_on()) {
    early_.signal(*event);
  } else {
    event->signal();
  }
}

/// Whether the I/O thread is not yet done with what the driver has offered at once.
bool QueueRunner::batch_goes_on() noexcept {
  return serving_ && drain() == Drain::kByIoThread &&
         (ring_->in_flight() != 0 || ring_->has_available());
}

void QueueRunner::settle() noexcept {
  if (!stopping_ || ring_->in_flight() != 0) return;
  const std::lock_guard<std::mutex> hold(rest_mutex_);
  at_rest_ = true;
  rest_changed_.notify_all();
}

}  // namespace bellhop

#include "virtio/queue_runner.h"

#include <cassert>

namespace bellhop {

namespace {

/// Rounds of one drain before other queues of the thread get their turn.
constexpr unsigned kRoundsInOneDrain = 32;

/// Completions inside one batch after which they are shown to the driver, so that it works on the
/// first while the device works on the rest. A medium that completes inside submit() is what this
/// is for; publishing more often costs a shared cache line each time. Only with EVENT_IDX, where a
/// driver that is awake says exactly that: by flags, each publication would be an interrupt.
constexpr std::uint16_t kPublishEvery = 4;

}  // namespace

Result<std::unique_ptr<QueueRunner>> QueueRunner::create(const Setup& setup) {
  std::unique_ptr<QueueRunner> runner(new QueueRunner(setup));
  auto doorbell = EventFd::create();
  if (!doorbell) return forward(doorbell);
  runner->doorbell_ = std::move(*doorbell);
  return runner;
}

QueueRunner::~QueueRunner() { assert(!running()); }

void QueueRunner::start(Virtqueue ring) {
  assert(!running() && handler_ != nullptr);
  {
    const std::lock_guard<std::mutex> hold(baton_);
    ring_.emplace(std::move(ring));
    stopping_ = false;
  }
  at_rest_ = false;
  running_.store(true, std::memory_order_release);
  if (mode() == NotifyMode::kIoEventFd) {
    thread_->run_sync([this] {
      [[maybe_unused]] const bool watched = thread_->loop().watch(doorbell_, *this).has_value();
      assert(watched);
    });
  }
}

std::optional<Virtqueue> QueueRunner::stop() {
  if (!running()) return std::nullopt;
  thread_->run_sync([this] {
    if (mode() == NotifyMode::kIoEventFd) thread_->loop().unwatch(doorbell_);
    const std::lock_guard<std::mutex> hold(baton_);
    stopping_ = true;
    publish(Ring::kNow);
    settle();
  });
  {
    std::unique_lock<std::mutex> hold(rest_mutex_);
    rest_changed_.wait(hold, [this] { return at_rest_; });
  }
  std::optional<Virtqueue> ring;
  // The round that completed the last request may still be on its way out of run().
  thread_->run_sync([this, &ring] {
    const std::lock_guard<std::mutex> hold(baton_);
    publish(Ring::kNow);
    ring = std::move(ring_);
    ring_.reset();
    kicked_ = false;
    // A round put off to the end of this one would come after the caller may have destroyed us.
    thread_->loop().cancel_deferred(*this);
  });
  running_.store(false, std::memory_order_release);
  return ring;
}

void QueueRunner::kick_once() noexcept {
  // One message to the I/O thread in every mode: the caller may be any thread, with any lock.
  thread_->loop().post([this] {
    if (mode() == NotifyMode::kSync) {
      const std::lock_guard<std::mutex> hold(baton_);
      if (ring_) serve(Ring::kNow, false);
    } else if (ring_) {
      thread_->loop().defer(*this);
    }
  });
}

void QueueRunner::kick() noexcept {
  if (mode() != NotifyMode::kSync) {
    doorbell_.signal();
    return;
  }
  const std::lock_guard<std::mutex> hold(baton_);
  if (!ring_) return;
  counters_.kicks.add();
  serve(Ring::kNow, true);
}

void QueueRunner::on_event(std::uint64_t count) noexcept {
  counters_.kicks.add(count - std::exchange(self_kicks_, 0));
  kicked_ = true;
  thread_->loop().defer(*this);
}

void QueueRunner::run() noexcept {
  if (ring_) serve(Ring::kWithNextSubmission, std::exchange(kicked_, false));
}

Pop QueueRunner::pop(DescriptorChain& chain) noexcept {
  const Pop answer = ring_->pop(chain);
  if (answer == Pop::kChain) ++taken_;
  return answer;
}

void QueueRunner::complete(DescriptorChain& chain, std::uint32_t written) noexcept {
  ring_->complete(chain, written);
  if (!serving_) {
    thread_->loop().defer(*this);
  } else if (ring_->event_idx() && ring_->unpublished() >= kPublishEvery) {
    publish(Ring::kNow);
  }
}

void QueueRunner::serve(Ring ring, bool kicked) noexcept {
  // Completions alone do not reopen the question of kicks: they are still enabled.
  if (stopping_ || (!kicked && !ring_->has_available())) {
    publish(ring);
    settle();
    return;
  }
  serving_ = true;
  bool more = false;
  for (unsigned round = 0; round < kRoundsInOneDrain; ++round) {
    ring_->suppress_kicks();
    taken_ = 0;
    handler_->drain();
    if (taken_ != 0) {
      handler_->submit();
    } else if (kicked && round == 0) {
      counters_.kicks_in_vain.add();
    }
    publish(ring);
    if (ring_->broken()) {
      faults_->queue_broken();
      more = false;
      break;
    }
    more = ring_->enable_kicks();
    if (!more) break;
  }
  serving_ = false;
  if (more) {
    if (mode() == NotifyMode::kSync) {
      kick_once();
    } else {
      ++self_kicks_;
      doorbell_.signal();
    }
  }
  settle();
}

void QueueRunner::publish(Ring ring) noexcept {
  if (!ring_->publish()) return;
  const EventFd* event = bell_->prepare();
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

#include "virtio/queue/request_trace.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "virtio/abi/ring.h"
#include "virtio/abi/stamps.h"
#include "virtio/queue/queue_runner.h"
#include "virtio/queue/step_clock.h"

namespace bellhop {

using namespace virtio;

namespace {

/// The step that begins at this point.
constexpr std::size_t from(RequestPoint point) { return static_cast<std::size_t>(point); }

}  // namespace

/// Here, where the runner does not see it: GCC would take it for the likely one.
class RequestTrace::Handler final : public QueueHandler {
 public:
  Handler(QueueHandler& handler, RequestTrace& trace) noexcept : handler_(handler), trace_(trace) {}
  void drain() noexcept override {
    trace_.served();
    handler_.drain();
    if (trace_.batch_.empty()) trace_.left();  // submit() does not come
  }
  void submit() noexcept override {
    trace_.submitting();
    handler_.submit();
    trace_.left();
  }
  void will_run(Drain drain) noexcept override { handler_.will_run(drain); }
  void release() noexcept override { handler_.release(); }
  void begin_anew() noexcept override { handler_.begin_anew(); }
  std::uint32_t malformed(DescriptorChain& chain) noexcept override {
    return handler_.malformed(chain);
  }

 private:
  QueueHandler& handler_;
  RequestTrace& trace_;
};

RequestTrace::RequestTrace(std::uint16_t entries)
    : mask_(std::bit_ceil(std::max<std::size_t>(entries, 1)) - 1), slots_(mask_ + 1) {
  batch_.reserve(slots_.size());
  done_.reserve(slots_.size());
  times_.last.reserve(kLastRequests);
}

RequestTrace::~RequestTrace() = default;

QueueHandler& RequestTrace::stand_before(QueueHandler& handler) {
  handler_ = std::make_unique<Handler>(handler, *this);
  return *handler_;
}

void RequestTrace::start(const GuestMemory& memory, const QueueConfig& ring,
                         RingFeatures features) noexcept {
  std::ranges::fill(slots_, Slot{});
  batch_.clear();
  done_.clear();
  with_back_end_ = 0;
  stamps_ = {};
  if (!driver_ahead_) return;
  const std::uint64_t bytes = features.packed ? sizeof(PackedEvent) : used_ring_bytes(ring.size);
  const std::uint64_t end = ring.device.value() + bytes;
  const GuestAddress table((end + kStampsAlign - 1) / kStampsAlign * kStampsAlign);
  const auto span = memory.span(table, stamps_bytes(ring.size));
  StampsHeader header;
  if (!span || !span->load(0, header)) return;
  if (header.magic != kStampsMagic || header.entries != ring.size) return;
  stamps_ = span->part(sizeof(header));
}

void RequestTrace::stopped() noexcept { StepClock::of_this_thread().forget(times_.cpu); }

void RequestTrace::served() noexcept {
  served_ = read_time_stamp();
  inside_ = true;
  StepClock::of_this_thread().begin(times_.cpu, from(RequestPoint::kServed));
}

void RequestTrace::left() noexcept {
  inside_ = false;
  if (done_.empty()) wait();
}

/// Nothing to do for now. What a vCPU thread does then is its guest's.
void RequestTrace::wait() noexcept {
  StepClock& clock = StepClock::of_this_thread();
  const bool ours = drain_ == Drain::kByIoThread;
  if (with_back_end_ != 0 && (ours || inside_))
    return clock.go(times_.cpu, from(RequestPoint::kSubmitted));
  ours ? clock.go(times_.cpu, from(RequestPoint::kOffered)) : clock.leave();
}

void RequestTrace::taken(std::uint16_t head) noexcept {
  StepClock& clock = StepClock::of_this_thread();
  clock.go(times_.cpu, from(RequestPoint::kTaken));
  if (clock.clocked()) ++times_.cpu.taken;
  const std::size_t index = head & mask_;
  add_driver_seen(index);
  Slot& slot = slots_[index];
  slot = {};
  slot.taken = true;
  RequestLife& life = slot.life;
  life[RequestPoint::kTaken] = read_time_stamp();
  life[RequestPoint::kServed] = served_;
  if (batch_.size() < batch_.capacity()) batch_.push_back(head);
  Stamps stamps;
  if (!stamps_.load(index * sizeof(Stamps), stamps)) return;
  const std::uint64_t offered = stamps.offered - *driver_ahead_;
  if (offered > life[RequestPoint::kTaken]) {
    ++times_.disordered;
    return;
  }
  life[RequestPoint::kOffered] = offered;
  // The thread was there already: it found the request when it was offered.
  life[RequestPoint::kServed] = std::max(served_, offered);
}

void RequestTrace::rewound(std::uint16_t head) noexcept {
  slot(head).taken = false;
  if (StepClock::of_this_thread().clocked() && times_.cpu.taken != 0) --times_.cpu.taken;
  if (!batch_.empty() && batch_.back() == head) batch_.pop_back();
}

void RequestTrace::submitting() noexcept {
  const std::uint64_t now = read_time_stamp();
  inside_ = true;
  StepClock::of_this_thread().go(times_.cpu, from(RequestPoint::kSubmitted));
  for (const std::uint16_t head : batch_) {
    if (!slot(head).taken) continue;
    slot(head).life[RequestPoint::kSubmitted] = now;
    ++with_back_end_;
  }
  batch_.clear();
}

void RequestTrace::done(std::uint16_t head) noexcept {
  Slot& request = slot(head);
  if (!request.taken) return;  // taken before the trace began
  request.taken = false;
  const std::uint64_t now = read_time_stamp();
  StepClock& clock = StepClock::of_this_thread();
  inside_ ? clock.go(times_.cpu, from(RequestPoint::kAnswered))
          : clock.begin(times_.cpu, from(RequestPoint::kAnswered));
  if (clock.clocked()) ++times_.cpu.answered;
  request.life[RequestPoint::kAnswered] = now;
  if (request.life[RequestPoint::kSubmitted] == 0) {
    request.life[RequestPoint::kSubmitted] = now;  // answered without the back end
  } else {
    --with_back_end_;
  }
  if (done_.size() < done_.capacity()) done_.push_back(head);
}

void RequestTrace::shown() noexcept {
  if (done_.empty()) return;
  const std::uint64_t now = read_time_stamp();
  StepClock::of_this_thread().go(times_.cpu, from(RequestPoint::kShown));
  for (const std::uint16_t head : done_) {
    if (!slot(head).taken) slot(head).life[RequestPoint::kShown] = now;
  }
}

void RequestTrace::signalled() noexcept {
  if (done_.empty()) return;
  const std::uint64_t now = read_time_stamp();
  for (const std::uint16_t head : done_) {
    Slot& request = slot(head);
    if (request.taken) continue;  // another one's by now
    request.life[RequestPoint::kSignalled] = now;
    request.waiting = request.life[RequestPoint::kOffered] != 0;
    if (!request.waiting) count(request.life);
  }
  done_.clear();
  wait();
}

/// The driver writes it at some time between our signal and its next use of the entry.
void RequestTrace::add_driver_seen(std::size_t index) noexcept {
  Slot& request = slots_[index];
  Stamps stamps;
  if (!request.waiting || !stamps_.load(index * sizeof(Stamps), stamps)) return;
  const std::uint64_t seen = stamps.seen - *driver_ahead_;
  RequestLife& life = request.life;
  if (seen < life[RequestPoint::kOffered]) return;  // not yet: it is the last one's
  request.waiting = false;
  if (seen < life[RequestPoint::kAnswered] || seen > read_time_stamp()) {
    ++times_.disordered;
    life[RequestPoint::kOffered] = 0;  // our own points stand
    count(life);
    return;
  }
  // A driver that looks by itself is quicker than our own next step.
  for (const RequestPoint point : {RequestPoint::kShown, RequestPoint::kSignalled}) {
    life[point] = std::min(life[point], seen);
  }
  life[RequestPoint::kSeen] = seen;
  count(life);
}

void RequestTrace::count(const RequestLife& life) noexcept {
  ++times_.requests;
  if (life[RequestPoint::kSeen] != 0) ++times_.by_driver;
  std::uint64_t first = 0;
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < kRequestPoints; ++i) {
    const std::uint64_t at = life.at[i];
    if (at == 0) continue;
    if (before != 0) times_.steps[i - 1].add(at - before);
    if (first == 0) first = at;
    before = at;
  }
  times_.total.add(before - first);
  if (times_.last.size() < kLastRequests) {
    times_.last.push_back(life);
  } else {
    times_.last[next_last_] = life;
    next_last_ = (next_last_ + 1) % kLastRequests;
  }
}

RequestTimes RequestTrace::take() {
  for (std::size_t i = 0; i < slots_.size(); ++i) add_driver_seen(i);
  RequestTimes fresh;
  fresh.last.reserve(kLastRequests);
  std::ranges::rotate(times_.last, times_.last.begin() + static_cast<std::ptrdiff_t>(next_last_));
  next_last_ = 0;
  return std::exchange(times_, std::move(fresh));
}

}  // namespace bellhop

#include "virtio/device/notify_tuner.h"

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

using namespace std::chrono_literals;

/// How long a change may wait for requests that are under way.
constexpr std::chrono::nanoseconds kPatience = 20ms;
/// Between two looks at what is outstanding: at random, so that no driver keeps step with them.
constexpr std::chrono::nanoseconds kShortestLook = 50us;
constexpr std::chrono::nanoseconds kLongestLook = 150us;

}  // namespace

Result<std::unique_ptr<NotifyTuner>> NotifyTuner::create() {
  std::unique_ptr<NotifyTuner> tuner(new NotifyTuner());
  auto thread = IoThread::start(
      {.name = "notify", .cpus = {}, .prefer_epoll = true, .kind = ThreadKind::kTuner});
  if (!thread) return forward(thread);
  tuner->thread_ = std::move(*thread);
  return tuner;
}

NotifyTuner::~NotifyTuner() {
  if (thread_ == nullptr) return;
  thread_->run_sync([this] { thread_->loop().stop_timer(*this); });
}

void NotifyTuner::add(DeviceLife& life) {
  thread_->run_sync([this, &life] {
    for (unsigned queue = 0; queue < life.queue_count(); ++queue) {
      if (!life.adaptive(queue)) continue;
      tuned_.push_back(
          {.life = &life,
           .queue = queue,
           .choice = NotifyChoice(life.notify_wish(queue).optimize, life.notify_mode(queue))});
      begin_slot(tuned_.back());
    }
    on_timer();
  });
}

void NotifyTuner::remove(const DeviceLife& life) {
  thread_->run_sync([this, &life] {
    std::erase_if(tuned_, [&life](const Tuned& tuned) { return tuned.life == &life; });
  });
}

void NotifyTuner::on_timer() noexcept {
  Clock::time_point next = Clock::now() + 1s;
  for (Tuned& tuned : tuned_) {
    if (tuned.due <= Clock::now()) step(tuned);
    next = std::min(next, tuned.due);
    if (!tuned.is_looked_at()) continue;
    if (tuned.next_look <= Clock::now()) look(tuned);
    next = std::min(next, tuned.next_look);
  }
  thread_->loop().start_timer(*this, std::max(next - Clock::now(), Clock::duration(0)));
}

/// Reads the clock itself: another queue's change may just have taken its time.
void NotifyTuner::step(Tuned& tuned) noexcept {
  const NotifyMode mode = tuned.life->notify_mode(tuned.queue);
  if (mode != tuned.choice.mode()) {  // the device has been started anew
    tuned.choice = NotifyChoice(tuned.life->notify_wish(tuned.queue).optimize, mode);
    tuned.settling = true;
  }
  if (std::exchange(tuned.settling, false)) return begin_slot(tuned);
  const NotifySample sample{
      .requests = tuned.life->counters(tuned.queue).completions.get() - tuned.completions,
      .wall = Clock::now() - tuned.since,
      .cpu = tuned.choice.trying() ? tuned.cpu.used() : std::chrono::nanoseconds(0),
      .outstanding = tuned.outstanding,
      .looks = tuned.looks};
  const bool others_try = std::ranges::any_of(
      tuned_, [&tuned](const Tuned& other) { return &other != &tuned && other.choice.trying(); });
  NotifyMode next = tuned.choice.take(sample, !others_try);
  while (next != mode) {
    if (tuned.life->change_notify(tuned.queue, next, kPatience)) {
      tuned.settling = true;
      tuned.due = Clock::now() + NotifyChoice::kSettle;
      return;
    }
    next = tuned.choice.refused(mode);
  }
  begin_slot(tuned);
}

void NotifyTuner::begin_slot(Tuned& tuned) noexcept {
  tuned.since = Clock::now();
  tuned.due = tuned.since + tuned.choice.slot();
  tuned.completions = tuned.life->counters(tuned.queue).completions.get();
  if (tuned.choice.trying()) tuned.cpu.begin();
  tuned.outstanding = tuned.looks = 0;
  tuned.next_look = tuned.since + until_next_look();
}

void NotifyTuner::look(Tuned& tuned) noexcept {
  if (const auto outstanding = tuned.life->outstanding(tuned.queue)) {
    tuned.outstanding += *outstanding;
    ++tuned.looks;
  }
  tuned.next_look = Clock::now() + until_next_look();
}

NotifyTuner::Clock::duration NotifyTuner::until_next_look() noexcept {
  constexpr auto kSpan =
      static_cast<std::minstd_rand::result_type>((kLongestLook - kShortestLook).count());
  return kShortestLook + std::chrono::nanoseconds(random_() % kSpan);
}

}  // namespace bellhop

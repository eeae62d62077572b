// A driver and a device in one process, for as many requests as wanted: in each layout of a ring,
// each way to notify, and with the way changed again and again, each request is done exactly once
// and nothing ever stands still.
//
//   soak [--requests N]      of all of them together; 200,000 by default, and BELLHOP_SOAK_REQUESTS
//
// Exit status 0 if that holds. A line for each case: requests, kicks, how many of them found
// nothing, interrupts, changes of the way.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "base/poll.h"
#include "base/units.h"
#include "testing/fake_driver.h"
#include "testing/mode_changer.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::must;

constexpr std::uint16_t kSize = 64;
constexpr GuestAddress kRing{0x10000};
constexpr std::uint64_t kQuestions = 0x400000;
constexpr std::uint64_t kAnswers = 0x500000;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
/// Far longer than anything takes on a busy host: who waits so long waits for ever.
constexpr int kPatience_ms = 60'000;

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "soak: {}\n", why);
  std::_Exit(1);
}

/// Answers each number with its complement. Counts what it has answered.
class Complement final : public VirtioDevice, private QueueHandler {
 public:
  Complement() {
    traits_.type = virtio::DeviceType::kRng;
    traits_.id = "soak";
    traits_.queue_max_size = kSize;
  }
  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  Status activate(std::uint64_t /*features*/, std::span<QueueRunner* const> queues) override {
    runner_ = queues.front();
    runner_->set_handler(this);
    return {};
  }
  void reset() noexcept override {}

 private:
  void drain() noexcept override {
    while (held_ < chains_.size() && runner_->pop(chains_[held_]) == Pop::kChain) ++held_;
  }
  void submit() noexcept override {
    while (held_ > 0) {
      DescriptorChain& chain = chains_[--held_];
      std::uint64_t word = 0;
      BufferRun(chain.readable()).copy_out(0, std::as_writable_bytes(std::span(&word, 1)));
      word = ~word;
      const auto written =
          BufferRun(chain.writable()).copy_in(0, std::as_bytes(std::span(&word, 1)));
      runner_->complete(chain, static_cast<std::uint32_t>(written));
    }
  }

  DeviceTraits traits_;
  QueueRunner* runner_ = nullptr;
  std::array<DescriptorChain, kSize> chains_;
  std::size_t held_ = 0;
};

struct Case {
  std::optional<NotifyMode> notify;  ///< nothing: changed again and again
  RingFeatures features;

  [[nodiscard]] std::string name() const {
    return fmt::format("{}{}, {}", features.packed ? "packed" : "split",
                       features.event_idx ? " event_idx" : "",
                       notify ? to_string(*notify) : "switching");
  }
};

/// The driver of one case.
class Driver {
 public:
  explicit Driver(const Case& one)
      : case_(one),
        memory_(testing::make_memory()),
        ring_(memory_, kRing, kSize, one.features),
        thread_(must(IoThread::start({}))),
        device_(must(InProcessDevice::create(
            std::make_unique<Complement>(),
            {.memory = &memory_,
             .threads = {thread_.get()},
             .notify = one.notify.value_or(NotifyMode::kAdaptive),
             .ring_features = virtio::feature_mask(virtio::kFeatureRingPacked)}))) {
    std::uint64_t features = 0;
    if (one.features.event_idx) features |= virtio::feature_mask(virtio::kFeatureEventIdx);
    if (one.features.packed) features |= virtio::feature_mask(virtio::kFeatureRingPacked);
    const QueueConfig config = ring_.config();
    must(device_->start(features, {&config, 1}));
    if (!one.notify) changer_.emplace(device_->life());
  }

  void run(std::uint64_t requests) {
    while (done_ < requests) {
      const std::uint64_t batch = std::min(1 + random() % (kSize / 2), requests - offered_);
      for (std::uint64_t i = 0; i < batch && offer_one(); ++i) {
      }
      if (ring_.offer()) device_->kick(0);
      rest();
      look();
    }
    if (ring_.reap()) give_up(case_.name() + ": more came back than was offered");
  }

  /// Stops, and says what it was.
  void report() {
    const unsigned changes = changer_ ? changer_->changes() : 0;
    changer_.reset();
    const QueueCounters& counters = device_->life().counters(0);
    device_->stop();
    if (counters.completions.get() != done_ || counters.chains.get() != done_) {
      give_up(fmt::format("{}: {} offered, {} taken, {} given back", case_.name(), done_,
                          counters.chains.get(), counters.completions.get()));
    }
    const std::uint64_t kicks = counters.kicks.get();
    const std::uint64_t spurious = counters.spurious_kicks.get();
    fmt::print(
        "{:<28} {:>12} requests {:>10} kicks, {:>5.2f} % spurious {:>10} interrupts", case_.name(),
        done_, kicks,
        kicks == 0 ? 0.0 : 100.0 * static_cast<double>(spurious) / static_cast<double>(kicks),
        counters.interrupts.get());
    fmt::print("{}\n", changes == 0 ? "" : fmt::format(" {:>6} changes", changes));
    std::fflush(stdout);
  }

 private:
  bool offer_one() {
    std::uint64_t place = 0;  // the first that is free: there are as many as descriptors
    while (place < kSize && busy_[place]) ++place;
    if (place == kSize || ring_.free_descriptors() < 2) return false;
    const std::uint64_t number = offered_;
    (void)memory_.write(GuestAddress(kQuestions + place * kWord),
                        std::as_bytes(std::span(&number, 1)));
    const auto head = ring_.add({{GuestAddress(kQuestions + place * kWord), kWord, false},
                                 {GuestAddress(kAnswers + place * kWord), kWord, true}});
    if (!head) return false;
    if (under_way_[*head % kSize]) give_up(case_.name() + ": a head that is under way is free");
    under_way_[*head % kSize] = Request{number, place};
    busy_[place] = true;
    ++offered_;
    return true;
  }

  void take_back(const UsedChain& used) {
    auto& request = under_way_[used.id % kSize];
    if (!request) give_up(fmt::format("{}: {} came back twice", case_.name(), used.id));
    std::uint64_t answer = 0;
    (void)memory_.read(GuestAddress(kAnswers + request->place * kWord),
                       std::as_writable_bytes(std::span(&answer, 1)));
    if (used.length != kWord || answer != ~request->number) {
      give_up(fmt::format("{}: request {} has another's answer", case_.name(), request->number));
    }
    busy_[request->place] = false;
    request.reset();
    ++done_;
  }

  /// Sometimes all that is there, sometimes the interrupt before.
  void look() {
    ring_.suppress_interrupts();
    std::uint64_t found = reap();
    if (found != 0 || done_ == offered_) return;
    if (ring_.enable_interrupts()) return;
    pollfd call{device_->call(0).get(), POLLIN, 0};
    if (wait_ready({&call, 1}, kPatience_ms) == 0) {
      give_up(
          fmt::format("{}: stands still after {} of {} requests", case_.name(), done_, offered_));
    }
    (void)device_->call(0).consume();
  }
  std::uint64_t reap() {
    std::uint64_t found = 0;
    while (const auto used = ring_.reap()) {
      take_back(*used);
      ++found;
    }
    return found;
  }

  /// Some time or none, so that the device is met at each point of its way to sleep.
  void rest() {
    if (random() % 4 == 0) return;
    for (std::uint64_t i = random() % 2048; i > 0; --i) __builtin_ia32_pause();
  }
  std::uint64_t random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_;
  }

  struct Request {
    std::uint64_t number = 0;
    std::uint64_t place = 0;
  };
  Case case_;
  GuestMemory memory_;
  FakeDriver ring_;
  std::unique_ptr<IoThread> thread_;
  std::unique_ptr<InProcessDevice> device_;
  std::optional<testing::ModeChanger> changer_;
  std::array<std::optional<Request>, kSize> under_way_{};
  std::array<bool, kSize> busy_{};
  std::uint64_t offered_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t random_ = 0x9e37'79b9'7f4a'7c15;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const std::array<std::optional<NotifyMode>, 4> ways = {NotifyMode::kSync, NotifyMode::kIoEventFd,
                                                         NotifyMode::kPoll, std::nullopt};
  for (const bool packed : {false, true}) {
    for (const bool event_idx : {false, true}) {
      for (const auto& way : ways) {
        all.push_back({way, {.indirect = false, .event_idx = event_idx, .packed = packed}});
      }
    }
  }
  return all;
}

std::uint64_t wanted(int argc, char** argv) {
  constexpr std::uint64_t kDefault = 200'000;
  const char* text = std::getenv("BELLHOP_SOAK_REQUESTS");
  if (argc == 3 && std::string_view(argv[1]) == "--requests") {
    text = argv[2];
  } else if (argc != 1) {
    give_up("usage: soak [--requests N]");
  }
  if (text == nullptr) return kDefault;
  const std::uint64_t number = std::strtoull(text, nullptr, 10);
  if (number == 0) give_up(fmt::format("'{}' is no number of requests", text));
  return number;
}

}  // namespace
}  // namespace bellhop

int main(int argc, char** argv) {
  const std::uint64_t requests = bellhop::wanted(argc, argv);
  const auto all = bellhop::cases();
  const std::uint64_t each = std::max<std::uint64_t>(1, requests / all.size());
  for (const bellhop::Case& one : all) {
    bellhop::Driver driver(one);
    driver.run(each);
    driver.report();
  }
  fmt::print("each of {} requests was done once\n", each * all.size());
  return 0;
}

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "event/io_thread.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/queue/notify_mode.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop::testing {

/// Gives every request back at once, or keeps them until release().
class EchoHandler final : public QueueHandler {
 public:
  static constexpr std::uint16_t kSize = 64;

  explicit EchoHandler(QueueRunner& runner) : runner_(runner), chains_(kSize) {}

  void drain() noexcept override {
    while (held_ < chains_.size()) {
      if (runner_.pop(chains_[held_]) != Pop::kChain) return;
      ++held_;
      ++drained;
    }
  }
  void submit() noexcept override {
    ++submissions;
    if (!hold.load()) give_back();
  }
  void give_back() noexcept {
    while (held_ > 0) runner_.complete(chains_[--held_], 1);
  }
  [[nodiscard]] std::size_t held() const { return held_; }

  std::atomic<bool> hold{false};
  std::atomic<std::uint64_t> drained{0};
  std::atomic<std::uint64_t> submissions{0};

 private:
  QueueRunner& runner_;
  std::vector<DescriptorChain> chains_;
  std::size_t held_ = 0;
};

/// Can do nothing with chains before open(); then takes so many in one turn.
class ParkingHandler final : public QueueHandler {
 public:
  explicit ParkingHandler(QueueRunner& runner) : runner_(runner) {}

  void drain() noexcept override {
    ++drains;
    for (int turn = 0; turn < 4; ++turn) {
      if (runner_.pop(chain_) != Pop::kChain) return;
      if (places_ == 0) {
        if (!runner_.rewind(chain_)) std::abort();
        return runner_.park();
      }
      --places_;
      ++served;
      runner_.complete(chain_, 1);
    }
    runner_.yield();
  }
  void submit() noexcept override {}
  void open_later(int places) noexcept { places_ += places; }
  /// On the I/O thread.
  void open(int places) noexcept {
    places_ += places;
    runner_.wake();
  }

  std::atomic<std::uint64_t> drains{0};
  std::atomic<std::uint64_t> served{0};

 private:
  QueueRunner& runner_;
  DescriptorChain chain_;
  std::atomic<int> places_{0};
};

struct CountingSink final : QueueFaultSink {
  void queue_broken() noexcept override { ++broken; }
  std::atomic<int> broken{0};
};

struct RunnerMode {
  NotifyMode notify;
  bool epoll;
  bool event_idx;
  bool packed = false;

  [[nodiscard]] std::string name() const {
    return std::string(to_string(notify)) + (epoll ? "_epoll" : "_io_uring") +
           (event_idx ? "_event_idx" : "_flags") + (packed ? "_packed" : "");
  }
};

/// A runner, its driver and a handler that echoes, in each mode.
class QueueRunnerTest : public ::testing::TestWithParam<RunnerMode> {
 protected:
  static constexpr GuestAddress kRing{0x10000};
  static constexpr GuestAddress kData{0x800000};
  static constexpr std::uint16_t kSize = EchoHandler::kSize;

  QueueRunnerTest()
      : memory(make_memory()),
        features{.indirect = false, .event_idx = GetParam().event_idx, .packed = GetParam().packed},
        driver(memory, kRing, kSize, features),
        thread(
            must(IoThread::start({.name = "io0", .cpus = {}, .prefer_epoll = GetParam().epoll}))),
        call(must(EventFd::create())) {
    interrupt.point_at(&call);
    make_runner();
  }
  ~QueueRunnerTest() override { runner->stop(); }

  void make_runner() {
    runner = must(QueueRunner::create({.thread = thread.get(),
                                       .drain = drain(),
                                       .interrupt = &interrupt,
                                       .faults = &sink,
                                       .coalesce = coalesce}));
    if (GetParam().notify == NotifyMode::kPoll) runner->set_look(Look::kAlways);
    handler = std::make_unique<EchoHandler>(*runner);
    runner->set_handler(handler.get());
  }
  static Drain drain() {
    return GetParam().notify == NotifyMode::kSync ? Drain::kByVcpu : Drain::kByIoThread;
  }
  void start(RingState state = {}) {
    runner->start(
        must(Ring::activate(memory, driver.config(), features, runner->counters(), state)));
  }
  /// As KVM does it: an armed doorbell is signalled, an exit calls kick(). With kPoll there is
  /// none.
  void ring() {
    if (GetParam().notify == NotifyMode::kIoEventFd) {
      runner->doorbell().signal();
    } else {
      runner->kick();
    }
  }
  /// The queue runs with ten requests in it, and its handler has parked.
  void park_with_ten(ParkingHandler& parker) {
    runner->set_handler(&parker);
    start();
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
    (void)driver.offer();
    ring();
    EXPECT_TRUE(eventually([&] { return parker.drains != 0; }));
  }
  /// Everything that the driver does for `count` requests, as a good driver.
  void run_requests(int count) {
    int offered = 0;
    int done = 0;
    while (done < count) {
      bool added = false;
      while (offered < count && driver.add({{kData, 8, true}})) {
        ++offered;
        added = true;
      }
      if (added && driver.offer()) ring();
      driver.suppress_interrupts();
      int reaped = 0;
      while (driver.reap()) ++reaped;
      done += reaped;
      if (reaped != 0 || done == count) continue;
      if (driver.enable_interrupts()) continue;
      wait_for_call();
      if (HasFailure()) return;
    }
  }
  void wait_for_call() {
    EXPECT_TRUE(eventually([this] { return call.consume() != 0; }))
        << "no interrupt: a notification was lost";
  }

  GuestMemory memory;
  RingFeatures features;
  FakeDriver driver;
  std::unique_ptr<IoThread> thread;
  EventFd call;
  GuestInterrupt interrupt;
  CountingSink sink;
  std::chrono::nanoseconds coalesce{0};  ///< of the next make_runner()
  std::unique_ptr<QueueRunner> runner;
  std::unique_ptr<EchoHandler> handler;
};

}  // namespace bellhop::testing

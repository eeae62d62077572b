#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>

#include "event/event_loop.h"

namespace bellhop::testing {

/// Counts what it hears.
struct Recorder final : EventHandler, TimerHandler {
  std::function<void()> also = [] {};
  std::uint64_t events = 0;
  std::uint64_t calls = 0;
  int timers = 0;
  void on_event(std::uint64_t count) noexcept override {
    events += count;
    ++calls;
    also();
  }
  void on_timer() noexcept override {
    ++timers;
    also();
  }
};

struct FunctionTask final : Task {
  explicit FunctionTask(std::function<void()> f) : work(std::move(f)) {}
  std::function<void()> work;
  void run() noexcept override { work(); }
};

/// A loop of each kind that the host allows.
class EventLoopTest : public ::testing::TestWithParam<LoopKind> {
 protected:
  void SetUp() override {
    auto made = EventLoop::create(GetParam());
    if (!made && GetParam() == LoopKind::kIoUring) {
      GTEST_SKIP() << "this host forbids io_uring: " << made.error().message;
    }
    ASSERT_TRUE(made) << made.error().message;
    loop = std::move(*made);
  }
  static EventFd make_event() {
    auto event = EventFd::create();
    EXPECT_TRUE(event);
    return std::move(*event);
  }
  std::unique_ptr<EventLoop> loop;
};

}  // namespace bellhop::testing

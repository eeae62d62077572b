// What several queues of one disk do at the same time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "devices/blk/blk_device.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/faulty_backend.h"
#include "testing/memory_backend.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::make_memory;
using testing::must;
using namespace virtio;

constexpr std::uint16_t kSize = 64;
constexpr std::uint64_t kDiskBytes = 1 << 20;

struct NoFaults final : QueueFaultSink {
  void queue_broken() noexcept override { ADD_FAILURE() << "a queue broke"; }
};

/// One queue with its driver, I/O thread and vCPU; each has a megabyte of its own.
struct Lane {
  Lane(const GuestMemory& memory, unsigned number, NotifyMode mode)
      : base((number + 1) << 20),
        driver(memory, GuestAddress(base), kSize, {.indirect = true, .event_idx = false}),
        thread(must(IoThread::start({}))) {
    runner = must(QueueRunner::create(
        {.thread = thread.get(), .mode = mode, .interrupt = &interrupt, .faults = &no_faults}));
    const BlkRequestHeader in{kBlkTypeIn, 0, 0};
    const BlkRequestHeader past_end{kBlkTypeIn, 0, kDiskBytes};
    EXPECT_TRUE(memory.write(honest_header(), std::as_bytes(std::span(&in, 1))));
    EXPECT_TRUE(memory.write(bad_header(), std::as_bytes(std::span(&past_end, 1))));
  }
  [[nodiscard]] GuestAddress honest_header() const { return GuestAddress(base + 0x80000); }
  [[nodiscard]] GuestAddress bad_header() const { return GuestAddress(base + 0x81000); }
  [[nodiscard]] GuestAddress status() const { return GuestAddress(base + 0x82000); }
  [[nodiscard]] GuestAddress data() const { return GuestAddress(base + 0x90000); }

  /// As a vCPU: `count` requests with that header, one after the other.
  void send(GuestAddress header, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      ASSERT_TRUE(driver.add(
          {{header, sizeof(BlkRequestHeader), false}, {data(), 512, true}, {status(), 1, true}}));
      if (driver.offer()) {
        if (runner->mode() == NotifyMode::kSync) {
          runner->kick();
        } else {
          runner->doorbell().signal();
        }
      }
      ASSERT_TRUE(eventually([&] { return driver.reap().has_value(); })) << "no answer";
    }
  }

  std::uint64_t base;
  FakeDriver driver;
  std::unique_ptr<IoThread> thread;
  GuestInterrupt interrupt;
  NoFaults no_faults;
  std::unique_ptr<QueueRunner> runner;
};

class BlkCountersTest : public ::testing::TestWithParam<NotifyMode> {};

TEST_P(BlkCountersTest, TwoQueuesAtOnceLoseNoCount) {
  constexpr unsigned kRequests = 2000;
  const GuestMemory memory = make_memory();
  auto faults = std::make_shared<FaultyBackend>(std::make_unique<MemoryBackend>(kDiskBytes));
  BlkDevice device(faults, {.queues = 2, .queue_size = kSize});
  std::array<Lane, 2> lanes{Lane(memory, 0, GetParam()), Lane(memory, 1, GetParam())};
  QueueRunner* runners[] = {lanes[0].runner.get(), lanes[1].runner.get()};
  must(device.activate(device.traits().features, runners));
  for (Lane& lane : lanes) {
    lane.runner->start(must(SplitRing::activate(memory, lane.driver.config(),
                                                lane.driver.features(), lane.runner->counters())));
  }
  const auto on_both = [&lanes](auto work) {
    std::atomic<int> ready{0};
    const auto vcpu = [&](Lane& lane) {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      work(lane);
    };
    std::thread other([&] { vcpu(lanes[1]); });
    vcpu(lanes[0]);
    other.join();
  };
  on_both([](Lane& lane) { lane.send(lane.bad_header(), kRequests); });
  EXPECT_EQ(device.counters().guest_faults.get(), 2U * kRequests);
  EXPECT_EQ(device.counters().io_errors.get(), 0U);
  faults->fail_next(BlockOp::kRead, -EIO, 2 * kRequests);
  on_both([](Lane& lane) { lane.send(lane.honest_header(), kRequests); });
  EXPECT_EQ(device.counters().io_errors.get(), 2U * kRequests);
  // And by vCPUs that write where the configuration has nothing to write.
  on_both([&device](Lane&) {
    const std::byte value{1};
    for (unsigned i = 0; i < kRequests; ++i) device.write_config(0, {&value, 1});
  });
  EXPECT_EQ(device.counters().guest_faults.get(), 4U * kRequests);
  for (Lane& lane : lanes) lane.runner->stop();
  device.reset();
}

INSTANTIATE_TEST_SUITE_P(Modes, BlkCountersTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

}  // namespace
}  // namespace bellhop

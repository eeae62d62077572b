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
#include "transport/inprocess/in_process_device.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::make_memory;
using testing::must;
using namespace virtio;

constexpr std::uint16_t kSize = 64;
constexpr std::uint64_t kDiskBytes = 1 << 20;

/// One queue with its driver, I/O thread and vCPU; each has a megabyte of its own.
struct Lane {
  Lane(const GuestMemory& memory, unsigned number)
      : queue(number),
        base((number + 1) << 20),
        driver(memory, GuestAddress(base), kSize, {.indirect = true, .event_idx = false}),
        thread(must(IoThread::start({}))) {
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
      if (driver.offer()) host->kick(queue);
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (!driver.reap()) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no answer";
      }
    }
  }

  unsigned queue;
  std::uint64_t base;
  FakeDriver driver;
  std::unique_ptr<IoThread> thread;
  InProcessDevice* host = nullptr;
};

class BlkCountersTest : public ::testing::TestWithParam<NotifyMode> {};

TEST_P(BlkCountersTest, TwoQueuesAtOnceLoseNoCount) {
  constexpr unsigned kRequests = 2000;
  const GuestMemory memory = make_memory();
  auto faults = std::make_shared<FaultyBackend>(std::make_unique<MemoryBackend>(kDiskBytes));
  std::array<Lane, 2> lanes{Lane(memory, 0), Lane(memory, 1)};
  auto made = std::make_unique<BlkDevice>(faults, BlkOptions{.queues = 2, .queue_size = kSize});
  BlkDevice& device = *made;
  const auto host = must(InProcessDevice::create(
      std::move(made), {.memory = &memory,
                        .threads = {lanes[0].thread.get(), lanes[1].thread.get()},
                        .notify = GetParam()}));
  for (Lane& lane : lanes) lane.host = host.get();
  const std::array configs{lanes[0].driver.config(), lanes[1].driver.config()};
  must(host->start((device.traits().features | kRingFeatures) & ~feature_mask(kFeatureEventIdx),
                   configs));
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
  host->stop();
  EXPECT_EQ(host->resets_needed(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, BlkCountersTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) { return std::string(to_string(mode.param)); });

}  // namespace
}  // namespace bellhop

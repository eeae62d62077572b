#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "event/io_thread.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/ring_layout.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

/// Any device, on one I/O thread, with a driver before each of its queues. One thread.
class DeviceFixture {
 public:
  static constexpr std::uint16_t kSize = 64;
  /// Where a test may put its buffers.
  static constexpr std::uint64_t kBuffers = 0x100000;

  struct Queue {
    Queue(const GuestMemory& memory, GuestAddress at)
        : driver(memory, at, kSize, tested_ring({.indirect = true, .event_idx = true})) {}
    FakeDriver driver;
  };

  explicit DeviceFixture(NotifyMode mode, GuestMemory guest_memory = make_memory(),
                         const IoThreadConfig& config = {})
      : memory(std::move(guest_memory)), mode_(mode), thread(must(IoThread::start(config))) {}
  ~DeviceFixture() { stop(); }

  static GuestAddress ring_address(unsigned queue) {
    return GuestAddress(0x1000 + std::uint64_t{queue} * 0x8000);
  }

  /// The device to be served; it lives as long as the fixture.
  void serve(std::unique_ptr<VirtioDevice> made) {
    device = made.get();
    host =
        must(InProcessDevice::create(std::move(made), {.memory = &memory,
                                                       .threads = {thread.get()},
                                                       .notify = mode_,
                                                       .ring_features = tested_ring_features()}));
    for (unsigned i = 0; i < device->traits().queue_count; ++i) {
      queues.push_back(std::make_unique<Queue>(memory, ring_address(i)));
    }
  }
  /// Resets the device and destroys it.
  void destroy() {
    host.reset();
    device = nullptr;
  }

  // ---- life ----

  /// DRIVER_OK with the queues of `enabled` (all of them if it is empty).
  void start(std::uint64_t features, const std::vector<unsigned>& enabled = {}) {
    std::vector<QueueConfig> configs(queues.size());
    for (unsigned i = 0; i < queues.size(); ++i) {
      configs[i] = queues[i]->driver.config();
      configs[i].ready = enabled.empty() || std::ranges::count(enabled, i) != 0;
    }
    must(host->start(features | virtio::kRingFeatures | tested_ring_features(), configs));
  }
  void start() { start(device->traits().features); }
  void stop() {
    if (host) host->stop();
  }
  /// A driver that starts anew.
  void restart(std::uint64_t features, const std::vector<unsigned>& enabled = {}) {
    stop();
    for (unsigned i = 0; i < queues.size(); ++i) {
      queues[i]->driver = FakeDriver(memory, ring_address(i), kSize,
                                     tested_ring({.indirect = true, .event_idx = true}));
    }
    start(features, enabled);
  }
  void restart() { restart(device->traits().features); }
  /// A driver that resets one queue, and enables it again with a fresh ring.
  void reset_queue(unsigned queue) {
    DeviceLife& life = host->life();
    life.reset_queue(queue);
    queues[queue]->driver = FakeDriver(memory, ring_address(queue), kSize,
                                       tested_ring({.indirect = true, .event_idx = true}));
    life.change_queue(queue, [&](QueueConfig& config) {
      config = driver(queue).config();
      config.ready = false;
    });
    life.enable_queue(queue);
  }
  void pause_and_resume() {
    host->life().pause();
    host->life().resume();
  }

  // ---- the driver ----

  [[nodiscard]] FakeDriver& driver(unsigned queue) { return queues[queue]->driver; }
  void kick(unsigned queue) { host->kick(queue); }
  void offer(unsigned queue) {
    if (driver(queue).offer()) kick(queue);
  }
  /// One chain, offered; its head.
  std::uint16_t give(unsigned queue, std::initializer_list<FakeDriver::Buffer> buffers) {
    const auto head = driver(queue).add(buffers);
    EXPECT_TRUE(head.has_value());
    offer(queue);
    return head.value_or(0);
  }
  /// Something that came back by now; nothing if nothing did.
  std::optional<FakeDriver::Used> try_used(unsigned queue) {
    auto used = driver(queue).reap();
    if (!used) (void)driver(queue).enable_interrupts();
    return used;
  }
  /// Waits for one chain to come back.
  std::optional<FakeDriver::Used> wait_used(unsigned queue) {
    std::optional<FakeDriver::Used> used;
    EXPECT_TRUE(eventually([&] { return (used = try_used(queue)).has_value(); }))
        << "queue " << queue;
    return used;
  }
  /// Whatever can be done has been done.
  void settle() {
    for (int i = 0; i < 4; ++i) thread->run_sync([] {});
  }
  [[nodiscard]] std::uint64_t stat(std::string_view name) const {
    for (const DeviceStat& stat : device->stats()) {
      if (name == stat.name) return stat.value;
    }
    ADD_FAILURE() << "no stat " << name;
    return 0;
  }
  template <class T>
  [[nodiscard]] T config() const {
    T config{};
    device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config;
  }

  GuestMemory memory;

 private:
  NotifyMode mode_;

 public:
  std::unique_ptr<IoThread> thread;
  std::vector<std::unique_ptr<Queue>> queues;
  std::unique_ptr<InProcessDevice> host;
  VirtioDevice* device = nullptr;  ///< the host's
};

}  // namespace bellhop::testing

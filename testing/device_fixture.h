#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "event/io_thread.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/device/virtio_device.h"

namespace bellhop::testing {

/// Any device, on one I/O thread, with a driver before each of its queues. One thread.
class DeviceFixture {
 public:
  static constexpr std::uint16_t kSize = 64;
  /// Where a test may put its buffers.
  static constexpr std::uint64_t kBuffers = 0x100000;

  struct Sink final : QueueFaultSink {
    void queue_broken() noexcept override { ++broken; }
    std::atomic<int> broken{0};
  };
  struct Listener final : ConfigListener {
    void config_changed() noexcept override { ++changes; }
    std::atomic<int> changes{0};
  };
  struct Queue {
    Queue(const GuestMemory& memory, GuestAddress at)
        : driver(memory, at, kSize, {.indirect = true, .event_idx = true}),
          call(must(EventFd::create())) {
      interrupt.point_at(&call);
    }
    FakeDriver driver;
    EventFd call;
    GuestInterrupt interrupt;
    std::unique_ptr<QueueRunner> runner;
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
    device = std::move(made);
    device->set_config_listener(&listener);
    for (unsigned i = 0; i < device->traits().queue_count; ++i) {
      Queue& queue = *queues.emplace_back(std::make_unique<Queue>(memory, ring_address(i)));
      queue.runner = must(QueueRunner::create(
          {.thread = thread.get(), .mode = mode_, .interrupt = &queue.interrupt, .faults = &sink}));
    }
  }

  // ---- life ----

  /// DRIVER_OK with the queues of `enabled` (all of them if it is empty).
  void start(std::uint64_t features, std::vector<unsigned> enabled = {}) {
    if (enabled.empty()) {
      for (unsigned i = 0; i < queues.size(); ++i) enabled.push_back(i);
    }
    std::vector<QueueRunner*> runners(queues.size(), nullptr);
    for (const unsigned i : enabled) runners[i] = queues[i]->runner.get();
    must(device->activate(features, runners));
    enabled_ = enabled;
    running_ = true;
    for (const unsigned i : enabled_) {
      Queue& queue = *queues[i];
      queue.runner->start(must(SplitRing::activate(
          memory, queue.driver.config(), queue.driver.features(), queue.runner->counters())));
      queue.runner->kick_once();
    }
  }
  void start() { start(device->traits().features); }
  void stop() {
    if (!running_) return;
    running_ = false;
    for (const unsigned i : enabled_) queues[i]->runner->stop();
    device->reset();
  }
  /// A driver that starts anew.
  void restart(std::uint64_t features, std::vector<unsigned> enabled = {}) {
    stop();
    for (unsigned i = 0; i < queues.size(); ++i) {
      queues[i]->driver =
          FakeDriver(memory, ring_address(i), kSize, {.indirect = true, .event_idx = true});
    }
    start(features, std::move(enabled));
  }
  void restart() { restart(device->traits().features); }
  void pause_and_resume() {
    std::vector<std::optional<SplitRing>> rings;
    for (const unsigned i : enabled_) {
      rings.push_back(queues[i]->runner->stop());
      EXPECT_EQ(rings.back()->in_flight(), 0U);
    }
    for (std::size_t k = 0; k < rings.size(); ++k) {
      QueueRunner& runner = *queues[enabled_[k]]->runner;
      runner.start(std::move(*rings[k]));
      runner.kick_once();
    }
  }

  // ---- the driver ----

  [[nodiscard]] FakeDriver& driver(unsigned queue) { return queues[queue]->driver; }
  void kick(unsigned queue) {
    QueueRunner& runner = *queues[queue]->runner;
    if (runner.mode() == NotifyMode::kIoEventFd) {
      runner.doorbell().signal();
    } else {
      runner.kick();
    }
  }
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
  Sink sink;
  Listener listener;
  std::unique_ptr<IoThread> thread;
  std::vector<std::unique_ptr<Queue>> queues;
  std::unique_ptr<VirtioDevice> device;

 private:
  bool running_ = false;
  std::vector<unsigned> enabled_;
};

}  // namespace bellhop::testing

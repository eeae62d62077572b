#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "devices/net/net_device.h"
#include "event/io_thread.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/fake_vhost.h"
#include "testing/long_run.h"
#include "testing/memory_nic.h"
#include "testing/ring_layout.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/net.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

/// Frames of a long stream.
inline const std::uint64_t kManyFrames = many(1'000'000);

/// A NIC over wires in memory, with drivers before its queues: the test is the guest and the
/// network. One thread.
class NetFixture {
 public:
  static constexpr std::uint16_t kSize = 64;
  static constexpr std::uint32_t kSlotBytes = 72 * 1024;  ///< of guest memory for each buffer
  static constexpr std::uint64_t kBuffers = 0x100000;

  struct Queue {
    Queue(const GuestMemory& memory, GuestAddress at, RingFeatures ring)
        : driver(memory, at, kSize, ring) {}
    FakeDriver driver;
  };

  /// Who moves frames between rings and wires.
  enum class Mover { kDevice, kFakeVhost, kVhost };

  explicit NetFixture(NotifyMode mode, unsigned pairs = 1, NetOptions options = {},
                      Mover mover = Mover::kDevice)
      : NetFixture(mode, std::make_shared<MemoryNic>(pairs), std::move(options), mover) {}
  NetFixture(NotifyMode mode, std::shared_ptr<MemoryNic> memory_nic, NetOptions options = {},
             Mover mover = Mover::kDevice)
      : NetFixture(mode, std::shared_ptr<NetBackend>(memory_nic), std::move(options), mover) {
    nic = std::move(memory_nic);
  }
  /// Over another back end; what is said of the network below does not work then.
  NetFixture(NotifyMode mode, std::shared_ptr<NetBackend> backend, NetOptions options = {},
             Mover mover = Mover::kDevice)
      : thread(must(IoThread::start({}))),
        second_thread(must(IoThread::start({}))),
        own_rings_(mover == Mover::kDevice) {
    const unsigned pairs = backend->limits().pairs;
    options.queue_size = kSize;
    if (options.mac == 0) options.mac = kMac;
    std::unique_ptr<VhostNet> kernel;
    if (mover != Mover::kDevice) {
      std::vector<int> wires;
      for (unsigned i = 0; i < pairs; ++i) wires.push_back(backend->pair(i).kernel_fd());
      kernel =
          must(mover == Mover::kVhost ? VhostNet::create(wires)
                                      : VhostNet::create(wires, [this] { return vhost.open(); }));
    }
    auto made = std::make_unique<NetDevice>(std::move(backend), options, std::move(kernel));
    device = made.get();
    // Of every other pair, and of the others.
    std::vector<IoThread*> threads{thread.get(), thread.get(), second_thread.get(),
                                   second_thread.get()};
    host = must(InProcessDevice::create(
        std::move(made),
        {.memory = &memory, .threads = threads, .notify = mode, .ring_features = ring_features()}));
    for (unsigned i = 0; i < 2 * pairs + 1; ++i) {
      queues.push_back(std::make_unique<Queue>(memory, ring_address(i), ring()));
    }
  }
  ~NetFixture() { stop(); }

  static constexpr MacAddress kMac = 0x0605'0403'0202;  // 02:02:03:04:05:06

  static GuestAddress ring_address(unsigned queue) {
    return GuestAddress(0x1000 + std::uint64_t{queue} * 0x10000);
  }

  /// The kernel knows split rings only, and uses them in any order.
  [[nodiscard]] RingFeatures ring() const {
    const RingFeatures plain{.indirect = true, .event_idx = true};
    return own_rings_ ? tested_ring(plain) : plain;
  }
  [[nodiscard]] std::uint64_t ring_features() const {
    return own_rings_ ? tested_ring_features() : 0;
  }

  // ---- life ----

  void start(std::uint64_t features) {
    std::vector<QueueConfig> configs;
    configs.reserve(queues.size());
    for (const auto& queue : queues) configs.push_back(queue->driver.config());
    must(host->start(features | virtio::kRingFeatures | ring_features(), configs));
  }
  void start() { start(device->traits().features); }
  void stop() { host->stop(); }
  /// A driver that starts anew.
  void restart(std::uint64_t features) {
    stop();
    for (unsigned i = 0; i < queues.size(); ++i) {
      queues[i]->driver = FakeDriver(memory, ring_address(i), kSize, ring());
    }
    start(features);
  }
  void pause_and_resume() {
    pause_and_resume([] {});
  }
  template <class Meanwhile>
  void pause_and_resume(Meanwhile meanwhile) {
    host->life().pause();
    meanwhile();
    host->life().resume();
  }

  // ---- the driver ----

  [[nodiscard]] FakeDriver& driver(unsigned queue) { return queues[queue]->driver; }
  void kick(unsigned queue) { host->kick(queue); }
  void offer(unsigned queue) {
    if (driver(queue).offer()) kick(queue);
  }
  /// Where buffer `slot` of `queue` lies.
  static GuestAddress slot(unsigned queue, unsigned slot) {
    return GuestAddress(kBuffers + (std::uint64_t{queue} * kSize + slot) * kSlotBytes);
  }
  /// Waits for one chain to come back.
  std::optional<FakeDriver::Used> wait_used(unsigned queue) {
    std::optional<FakeDriver::Used> used;
    EXPECT_TRUE(eventually([&] {
      used = driver(queue).reap();
      if (!used) (void)driver(queue).enable_interrupts();
      return used.has_value();
    })) << "queue "
        << queue;
    return used;
  }

  /// Gives the receive queue `count` buffers of `bytes` each, in order: head i gets slot i.
  void give_buffers(unsigned count, std::uint32_t bytes, unsigned pair = 0) {
    for (unsigned i = 0; i < count; ++i) {
      const auto next = give_slot_++ % kSize;
      const auto head = driver(2 * pair).add({{slot(2 * pair, next), bytes, true}});
      ASSERT_TRUE(head.has_value());
      if (slot_of_.size() <= pair) slot_of_.resize(pair + 1);
      slot_of_[pair].resize(kSize);
      slot_of_[pair][*head] = next;
    }
    offer(2 * pair);
  }
  /// The next frame, header included, put together from its buffers. Empty: none came.
  std::vector<std::byte> receive(unsigned pair = 0) {
    std::vector<std::byte> frame;
    std::uint16_t left = 1;
    for (bool first = true; left != 0; --left, first = false) {
      const auto used = wait_used(2 * pair);
      if (!used) return {};
      const std::size_t before = frame.size();
      frame.resize(before + used->length);
      EXPECT_TRUE(
          memory.read(slot(2 * pair, slot_of_[pair][used->id]), std::span(frame).subspan(before)));
      if (first && frame.size() >= sizeof(virtio::NetHeader)) left = header_of(frame).num_buffers;
    }
    return frame;
  }
  /// Sends the frame as one buffer; false if it did not come back.
  bool send(std::span<const std::byte> header_and_frame, unsigned pair = 0) {
    const unsigned queue = 2 * pair + 1;
    EXPECT_TRUE(memory.write(slot(queue, 0), header_and_frame));
    EXPECT_TRUE(driver(queue).add(
        {{slot(queue, 0), static_cast<std::uint32_t>(header_and_frame.size()), false}}));
    offer(queue);
    return wait_used(queue).has_value();
  }
  /// A command to the control queue, which is `queue`; its answer.
  std::uint8_t command(std::uint8_t command_class, std::uint8_t command,
                       std::span<const std::byte> data, unsigned queue) {
    const GuestAddress at = slot(queue, 0);
    const GuestAddress answer = slot(queue, 1);
    std::vector<std::byte> request{std::byte{command_class}, std::byte{command}};
    request.insert(request.end(), data.begin(), data.end());
    EXPECT_TRUE(memory.write(at, request));
    const std::byte untouched{0xee};
    EXPECT_TRUE(memory.write(answer, {&untouched, 1}));
    EXPECT_TRUE(driver(queue).add(
        {{at, static_cast<std::uint32_t>(request.size()), false}, {answer, 1, true}}));
    offer(queue);
    EXPECT_TRUE(wait_used(queue).has_value());
    std::byte status{};
    EXPECT_TRUE(memory.read(answer, {&status, 1}));
    return std::to_integer<std::uint8_t>(status);
  }
  template <class T>
  std::uint8_t command(std::uint8_t command_class, std::uint8_t number, const T& value) {
    return command(command_class, number, std::as_bytes(std::span(&value, 1)),
                   static_cast<unsigned>(queues.size() - 1));
  }
  [[nodiscard]] virtio::NetConfig config() const {
    virtio::NetConfig config{};
    device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config;
  }

  // ---- the network ----

  void put(std::span<const std::byte> header_and_frame, unsigned pair = 0) {
    EXPECT_TRUE(eventually([&] { return nic->put(header_and_frame, pair); }));
  }
  /// The next frame that the NIC sent; empty if none comes.
  std::vector<std::byte> get(unsigned pair = 0) {
    std::vector<std::byte> frame(kNetHeaderBytes + kMaxFrameBytes);
    std::size_t bytes = 0;
    EXPECT_TRUE(eventually([&] { return (bytes = nic->get(frame, pair)) != 0; }));
    frame.resize(bytes);
    return frame;
  }

  // ---- frames ----

  static virtio::NetHeader header_of(std::span<const std::byte> frame) {
    virtio::NetHeader header{};
    std::memcpy(&header, frame.data(), sizeof header);
    return header;
  }
  /// `bytes` of Ethernet behind an empty header, with a pattern that `seed` begins.
  static std::vector<std::byte> frame(std::size_t bytes, unsigned seed = 0, MacAddress to = kMac,
                                      virtio::NetHeader header = {}) {
    std::vector<std::byte> all(kNetHeaderBytes + bytes);
    std::memcpy(all.data(), &header, sizeof header);
    for (std::size_t i = 0; i < bytes; ++i) {
      all[kNetHeaderBytes + i] = static_cast<std::byte>((seed + i) * 31 + (i >> 8));
    }
    if (bytes >= virtio::kNetMacBytes) store_mac(to, all.data() + kNetHeaderBytes);
    if (bytes >= 14) {
      all[kNetHeaderBytes + 12] = std::byte{0x08};
      all[kNetHeaderBytes + 13] = std::byte{0x00};
    }
    return all;
  }
  static bool same_frame(std::span<const std::byte> a, std::span<const std::byte> b) {
    return a.size() == b.size() && a.size() >= kNetHeaderBytes &&
           std::memcmp(a.data() + kNetHeaderBytes, b.data() + kNetHeaderBytes,
                       a.size() - kNetHeaderBytes) == 0;
  }

  /// System calls of the I/O thread's loop; asking makes it a few.
  std::uint64_t loop_calls() {
    std::uint64_t calls = 0;
    thread->run_sync([&] { calls = thread->loop().system_calls(); });
    return calls;
  }
  void settle() {
    for (int i = 0; i < 3; ++i) {
      thread->run_sync([] {});
      second_thread->run_sync([] {});
    }
  }
  /// After whatever a test did, frames go both ways.
  bool works() {
    const auto sent = frame(100, 7);
    give_buffers(1, 2048);
    put(sent);
    if (!same_frame(receive(), sent)) return false;
    return send(sent) && same_frame(get(), sent);
  }

  GuestMemory memory = make_memory(std::uint64_t{64} << 20);
  FakeVhost vhost{memory};
  std::shared_ptr<MemoryNic> nic;
  std::unique_ptr<IoThread> thread;         ///< of every other pair, from the first on
  std::unique_ptr<IoThread> second_thread;  ///< of the others
  std::vector<std::unique_ptr<Queue>> queues;
  std::unique_ptr<InProcessDevice> host;
  NetDevice* device = nullptr;  ///< the host's

 private:
  unsigned give_slot_ = 0;
  std::vector<std::vector<unsigned>> slot_of_;
  bool own_rings_ = true;
};

}  // namespace bellhop::testing

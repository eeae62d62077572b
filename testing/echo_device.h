#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "testing/ring_worker.h"
#include "virtio/device/virtio_device.h"

namespace bellhop::testing {

/// The smallest device there is: copies what a request lets it read to where the request lets it
/// write. On demand it keeps requests in flight, or fails to start.
class EchoDevice final : public VirtioDevice {
 public:
  static constexpr std::uint64_t kFeature = 1;  ///< the one device-specific feature bit
  static constexpr std::uint32_t kConfigBytes = 12;

  explicit EchoDevice(std::uint16_t queues, std::uint16_t max_size = 64) {
    traits_.type = virtio::DeviceType::kRng;
    traits_.id = "echo";
    traits_.features = kFeature;
    traits_.queue_count = queues;
    traits_.queue_max_size = max_size;
    traits_.config_bytes = kConfigBytes;
    traits_.keeps_state = true;
    for (std::uint32_t i = 0; i < kConfigBytes; ++i) config_[i] = static_cast<std::uint8_t>(i + 1);
  }

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::byte{config_[offset + i].load()};
  }
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override {
    for (std::size_t i = 0; i < data.size(); ++i) {
      config_[offset + i] = std::to_integer<std::uint8_t>(data[i]);
    }
  }
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override {
    ++activations;
    features_seen = features;
    if (refuse_to_start) return fail("the echo is out of order");
    const std::lock_guard<std::mutex> hold_queues(queues_lock_);
    for (QueueRunner* runner : queues) {
      if (runner == nullptr) continue;
      queues_.push_back(std::make_unique<Queue>(*this, *runner));
      runner->set_handler(queues_.back().get());
    }
    return {};
  }
  void reset() noexcept override {
    ++resets;
    const std::lock_guard<std::mutex> hold_queues(queues_lock_);
    queues_.clear();
    back_ends_.clear();
  }
  [[nodiscard]] ServerChoice server(unsigned /*queue*/, std::uint64_t) const noexcept override {
    return {.server = wants, .required = required};
  }
  Status offload(std::uint64_t /*features*/, std::span<OffloadedQueue* const> queues) override {
    for (OffloadedQueue* queue : queues) {
      if (queue == nullptr) continue;
      back_ends_.push_back(std::make_unique<BackEnd>(*this));
      queue->set_back_end(*back_ends_.back());
    }
    return {};
  }

  Status sharing_changed(unsigned /*queue*/, QueueRunner& /*runner*/) override {
    if (refuse_sharing) return fail("the echo stays where it is");
    return {};
  }

  [[nodiscard]] std::vector<std::byte> save_state() override { return state; }
  Status load_state(std::span<const std::byte> given) override {
    if (!given.empty() && given[0] == std::byte{0xff}) return fail("the echo knows no such state");
    state.assign(given.begin(), given.end());
    return {};
  }

  /// Queues that the back end serves now.
  [[nodiscard]] unsigned offloaded() const noexcept { return offloaded_; }

  /// Tells the driver of a change. Any thread.
  void change_config() noexcept { config_changed(); }

  /// Answers what is kept, and keeps nothing any more. Any thread but an I/O thread.
  void release() {
    hold = false;
    const std::lock_guard<std::mutex> hold_queues(queues_lock_);
    for (const auto& queue : queues_) queue->answer_held();
  }

  std::vector<std::byte> state;  ///< of its own; while all queues rest
  std::atomic<bool> hold{false};
  std::atomic<unsigned> takes_us{0};  ///< of the I/O thread for a batch, where that drains
  std::atomic<bool> refuse_to_start{false};
  std::atomic<bool> refuse_offload{false};  ///< of the second queue
  std::atomic<bool> refuse_sharing{false};
  std::atomic<Server> wants{Server::kDevice};
  std::atomic<bool> required{false};
  std::atomic<unsigned> activations{0};
  std::atomic<unsigned> resets{0};
  std::atomic<unsigned> held{0};
  std::atomic<std::uint64_t> features_seen{0};

 private:
  static std::uint32_t echo(DescriptorChain& chain) {
    std::array<std::byte, 64> bytes{};
    const std::size_t read = BufferRun(chain.readable()).copy_out(0, bytes);
    return static_cast<std::uint32_t>(
        BufferRun(chain.writable()).copy_in(0, std::span(bytes).first(read)));
  }

  /// In the kernel's place.
  class BackEnd final : public QueueBackEnd {
   public:
    explicit BackEnd(EchoDevice& device) : device_(device) {}
    Status start(const OffloadedRing& ring) override {
      if (device_.refuse_offload && device_.offloaded_ == 1) return fail("the kernel is busy");
      ++device_.offloaded_;
      worker_ = std::make_unique<RingWorker>(*ring.memory, ring, RingFeatures{},
                                             [](DescriptorChain& chain, std::uint32_t& written) {
                                               written = echo(chain);
                                               return true;
                                             });
      return {};
    }
    std::uint32_t stop() noexcept override {
      --device_.offloaded_;
      const std::uint16_t next = worker_->stop();
      worker_.reset();
      return next;
    }
    void call_changed(const EventFd* call) noexcept override { worker_->set_call(call); }

   private:
    EchoDevice& device_;
    std::unique_ptr<RingWorker> worker_;
  };

  class Queue final : public QueueHandler {
   public:
    Queue(EchoDevice& device, QueueRunner& runner)
        : device_(&device), runner_(&runner), chains_(device.traits_.queue_max_size) {}

    void drain() noexcept override {
      while (count_ < chains_.size() && runner_->pop(chains_[count_]) == Pop::kChain) {
        ++count_;
        ++device_->held;
      }
    }
    void submit() noexcept override {
      const unsigned us = device_->takes_us;
      if (us != 0 && runner_->drain() == Drain::kByIoThread) {
        std::this_thread::sleep_for(std::chrono::microseconds(us));
      }
      if (!device_->hold) finish();
    }
    void answer_held() {
      runner_->thread().run_sync([this] {
        // Without requests in flight the ring may be gone.
        if (count_ != 0) runner_->with_queue_lock([this] { finish(); });
      });
    }

   private:
    void finish() noexcept {
      for (std::size_t i = 0; i < count_; ++i) {
        DescriptorChain& chain = chains_[i];
        runner_->complete(chain, echo(chain));
        --device_->held;
      }
      count_ = 0;
    }

    EchoDevice* device_;
    QueueRunner* runner_;
    std::vector<DescriptorChain> chains_;
    std::atomic<std::size_t> count_{0};
  };

  DeviceTraits traits_;
  std::array<std::atomic<std::uint8_t>, kConfigBytes> config_{};
  std::mutex queues_lock_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::unique_ptr<BackEnd>> back_ends_;
  std::atomic<unsigned> offloaded_{0};
};

}  // namespace bellhop::testing

#include "devices/vsock/vsock_device.h"

#include <algorithm>

#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

VsockDevice::VsockDevice(std::unique_ptr<VsockSocket> socket, VsockOptions options)
    : socket_(std::move(socket)), options_(std::move(options)) {
  traits_ = {.type = DeviceType::kVsock,
             .id = options_.id,
             .features = feature_mask(kVsockFeatureStream),
             .queue_count = 3,
             .queue_max_size = options_.queue_size,
             .config_bytes = sizeof(VsockConfigSpace)};
}

VsockDevice::~VsockDevice() { reset(); }

void VsockDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  const VsockConfigSpace config{.guest_cid = options_.cid};
  read_config_space(config, offset, data);
}

void VsockDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  counters_.other_faults.add();  // 5.10.4: the guest's CID is not its own to choose
}

Status VsockDevice::activate(std::uint64_t /*features*/, std::span<QueueRunner* const> queues) {
  const auto any = std::ranges::find_if(queues, [](const auto* queue) { return queue != nullptr; });
  if (any == queues.end()) return {};
  thread_ = &(*any)->thread();
  QueueRunner* const rx = queues[kVsockQueueRx];
  QueueRunner* const tx = queues[kVsockQueueTx];
  QueueRunner* const events = queues[kVsockQueueEvent];
  const bool locked = std::ranges::any_of(
      queues, [](const auto* queue) { return queue != nullptr && queue->shares_with_vcpu(); });
  board_ = std::make_unique<VsockMuxer>(VsockMuxer::Setup{.thread = thread_,
                                                          .rx = rx,
                                                          .tx = tx,
                                                          .locked = locked,
                                                          .guest_cid = options_.cid,
                                                          .dialer = socket_.get(),
                                                          .counters = &counters_,
                                                          .tick = options_.tick});
  if (rx != nullptr) {
    rx_ = std::make_unique<VsockRx>(*rx, *board_, counters_);
    rx->set_handler(rx_.get());
  }
  if (tx != nullptr) {
    tx_ = std::make_unique<VsockTx>(*tx, *board_, counters_);
    tx->set_handler(tx_.get());
  }
  if (events != nullptr) {
    events_ = std::make_unique<VsockEvents>(*events, counters_);
    events->set_handler(events_.get());
  }
  Status opened;
  thread_->run_sync([&] {
    auto door =
        VsockListener::open(thread_->loop(), socket_->fd(), *board_, counters_, options_.tick);
    if (door) {
      door_ = std::move(*door);
    } else {
      opened = forward(door);
    }
  });
  if (!opened) reset();
  return opened;
}

Status VsockDevice::sharing_changed(unsigned /*queue*/, QueueRunner& runner) {
  if (board_ && runner.shares_with_vcpu()) thread_->run_sync([this] { board_->lock(); });
  return {};
}

void VsockDevice::reset() noexcept {
  if (thread_ == nullptr) return;
  // After what vCPU threads have posted: it comes before this.
  thread_->run_sync([this] {
    door_.reset();
    board_.reset();
  });
  thread_ = nullptr;
  rx_.reset();
  tx_.reset();
  events_.reset();
}

void VsockDevice::transport_reset() noexcept {
  if (thread_ == nullptr) return;
  thread_->run_sync([this] {
    VsockMuxer::PendingWork todo;
    {
      const VsockMuxer::Hold held = board_->hold();
      board_->hang_up_all();
      todo = board_->pending_work();
    }
    board_->act(todo);
    if (events_) events_->transport_reset();
  });
}

std::vector<DeviceStat> VsockDevice::stats() const {
  const VsockCounters& all = counters_;
  return {{"rx_packets", all.rx_packets.get()},
          {"rx_bytes", all.rx_bytes.get()},
          {"rx_starved", all.rx_starved.get()},
          {"tx_packets", all.tx_packets.get()},
          {"tx_bytes", all.tx_bytes.get()},
          {"tx_blocked", all.tx_blocked.get()},
          {"from_host", all.from_host.get()},
          {"from_guest", all.from_guest.get()},
          {"refused_by_host", all.refused_by_host.get()},
          {"refused_by_guest", all.refused_by_guest.get()},
          {"refused_too_many", all.refused_too_many.get()},
          {"timed_out", all.timed_out.get()},
          {"resets", all.resets.get()},
          {"guest_faults", all.guest_faults.get() + all.other_faults.get()}};
}

}  // namespace bellhop

#include "devices/vsock/vhost_vsock_device.h"

#include <fmt/format.h>

#include "virtio/device/config_space.h"

namespace bellhop {

namespace {

// 5.10.2 and 5.10.4.
constexpr std::uint16_t kQueues = 3;
constexpr std::uint16_t kQueueSize = 128;
constexpr std::uint32_t kConfigBytes = 8;  // guest_cid

}  // namespace

/// Keeps the driver's buffers until the device has something to tell, which is never.
class VhostVsockDevice::EventQueue final : public QueueHandler {
 public:
  explicit EventQueue(QueueRunner& runner) noexcept : runner_(runner) {}
  void drain() noexcept override { runner_.park(); }
  void submit() noexcept override {}

 private:
  QueueRunner& runner_;
};

VhostVsockDevice::VhostVsockDevice(std::string id, std::uint64_t cid,
                                   std::unique_ptr<VhostVsock> kernel)
    : cid_(cid), kernel_(std::move(kernel)) {
  traits_ = {.type = virtio::DeviceType::kVsock,
             .id = std::move(id),
             .features = kernel_->features(),
             .queue_count = kQueues,
             .queue_max_size = kQueueSize,
             .config_bytes = kConfigBytes};
}

VhostVsockDevice::~VhostVsockDevice() = default;

void VhostVsockDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  read_config_space(cid_, offset, data);
}

void VhostVsockDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  // 5.10.4: read-only.
}

ServerChoice VhostVsockDevice::server(unsigned queue, std::uint64_t /*features*/) const noexcept {
  if (queue >= VhostVsock::kRings) return {};
  return {.server = Server::kKernel, .required = true};
}

Status VhostVsockDevice::offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) {
  if (auto begun = kernel_->begin(features); !begun) return begun;
  for (unsigned i = 0; i < VhostVsock::kRings; ++i) {
    if (queues[i] != nullptr) queues[i]->set_back_end(kernel_->ring(i));
  }
  return {};
}

Status VhostVsockDevice::activate(std::uint64_t /*features*/,
                                  std::span<QueueRunner* const> queues) {
  for (unsigned i = VhostVsock::kRings; i < queues.size(); ++i) {
    if (queues[i] == nullptr) continue;
    events_ = std::make_unique<EventQueue>(*queues[i]);
    queues[i]->set_handler(events_.get());
  }
  return {};
}

void VhostVsockDevice::reset() noexcept { events_.reset(); }

std::vector<DeviceStat> VhostVsockDevice::stats() const {
  return {{"vhost_queues", kernel_->running() ? VhostVsock::kRings : 0U, true}};
}

Result<std::unique_ptr<VirtioDevice>> make_vhost_vsock_device(const std::string& id,
                                                              std::uint64_t cid) {
  auto kernel = VhostVsock::create(cid);
  if (!kernel) {
    return fail(fmt::format("--vsock: {}: {}", id, kernel.error().message), kernel.error().code);
  }
  return std::make_unique<VhostVsockDevice>(id, cid, std::move(*kernel));
}

}  // namespace bellhop

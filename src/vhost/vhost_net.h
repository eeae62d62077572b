#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "vhost/vhost_device.h"
#include "vhost/vhost_ring.h"

namespace bellhop {

/// The kernel's vhost-net under a NIC: a vhost device for each of its pairs of queues, which
/// carries frames between the two rings and the pair's tap without us. Frames have virtio's 12
/// bytes in front on the tap's side already (IFF_VNET_HDR), so the kernel adds and strips nothing.
///
/// Control path; any thread.
class VhostNet final : private VhostRingOwner {
 public:
  static constexpr const char* kDevice = "/dev/vhost-net";
  using Open = std::function<Result<std::unique_ptr<VhostHandle>>()>;

  /// A pair for each of `taps`, which must stay open as long as this lives. Errors: the device is
  /// missing or may not be opened, or the kernel is older than what we need (4.x).
  static Result<std::unique_ptr<VhostNet>> create(std::span<const int> taps, const Open& open);
  static Result<std::unique_ptr<VhostNet>> create(std::span<const int> taps);

  /// What the driver acknowledged, before its rings are started. One pair is in use then.
  Status begin(std::uint64_t features);
  /// Who serves queue `queue` of the NIC: 2N is pair N's receive queue, 2N+1 its transmit queue.
  [[nodiscard]] QueueBackEnd& ring(unsigned queue) noexcept { return *rings_[queue].ring; }
  /// Queues that the kernel serves now.
  [[nodiscard]] unsigned served() const noexcept;
  /// How often one was given to the kernel, since this was made.
  [[nodiscard]] std::uint64_t starts() const noexcept;

  /// The rings of the first `count` pairs are served; the others' rest as they are, however full.
  /// Errors: the kernel refuses.
  Status use_pairs(unsigned count);
  /// Without a link all rest.
  Status set_link(bool up);

 private:
  struct Ring {
    std::unique_ptr<VhostRing> ring;
    bool ready = false;   ///< the kernel knows it
    bool served = false;  ///< ... and has the tap for it
  };

  VhostNet() = default;
  Status ring_ready(unsigned ring) override;
  void ring_leaves(unsigned ring) noexcept override;
  Status update(unsigned ring);

  std::vector<std::unique_ptr<VhostDevice>> devices_;
  std::vector<int> taps_;
  mutable std::mutex mutex_;
  std::vector<Ring> rings_;
  unsigned pairs_in_use_ = 1;
  std::uint64_t starts_ = 0;
  bool link_ = true;
};

}  // namespace bellhop

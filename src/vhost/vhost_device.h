#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "vhost/vhost_handle.h"
#include "vhost/vhost_peer.h"
#include "virtio/queue/queue_back_end.h"

namespace bellhop {

/// What every kind of vhost device of the kernel has: an owner, features, a map of guest memory,
/// and rings. Errors name the device and what it refused. Control path; any thread, one call at a
/// time for each ring.
class VhostDevice final : public VhostPeer {
 public:
  /// Becomes the owner: the kernel makes the thread that will serve the rings ("vhost-PID"), in our
  /// name. `name` is for people. Errors: the kernel refuses; it lacks one of `needed`.
  static Result<std::unique_ptr<VhostDevice>> create(std::unique_ptr<VhostHandle> handle,
                                                     std::string name, std::uint64_t needed);

  /// Feature bits that the kernel can do.
  [[nodiscard]] std::uint64_t features() const noexcept { return features_; }
  /// Those that the driver has acknowledged, as far as they are the kernel's business. While no
  /// ring is served.
  Status set_features(std::uint64_t features);

  /// Gives the kernel all that it must know of a ring. Not served yet: that takes the back end.
  Status set_up(unsigned ring, const OffloadedRing& handed) override;
  /// Where the driver is told of a ring; null: nowhere.
  Status set_call(unsigned ring, const EventFd* call) override;
  /// Forgets the events of a ring that is not served any more, and says how far it got.
  Result<std::uint32_t> take_down(unsigned ring) override;

  /// What only this kind of device has.
  Status control(unsigned long request, const char* what, void* argument);

 private:
  VhostDevice(std::unique_ptr<VhostHandle> handle, std::string name) noexcept
      : handle_(std::move(handle)), name_(std::move(name)) {}
  Status set_memory(const GuestMemory& memory);
  Status set_event(unsigned long request, const char* what, unsigned ring, const EventFd* event);

  std::unique_ptr<VhostHandle> handle_;
  std::string name_;
  std::uint64_t features_ = 0;
  const GuestMemory* memory_ = nullptr;  ///< as the kernel knows it
};

}  // namespace bellhop

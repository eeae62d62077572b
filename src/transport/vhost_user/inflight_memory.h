#pragma once

#include <optional>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transport/vhost_user/peer_mapping.h"
#include "vhost_user/messages.h"
#include "virtio/ring/inflight_region.h"

namespace bellhop {

/// Where a vhost-user front end keeps what its back end notes of requests in flight: made by a back
/// end (GET_INFLIGHT_FD), and handed to each that comes after it (SET_INFLIGHT_FD).
class InflightMemory {
 public:
  struct Made {
    vhost_user::InflightDescription region;
    UniqueFd file;  ///< a memfd that keeps its size
  };
  /// A region for the queues and entries that are `wanted`, of zeroes: nothing is noted. It has
  /// room for rings of either layout, since some front ends ask before that is agreed on. Errors:
  /// more than `rings` queues or none, no entries or more than a ring can have (the peer's fault);
  /// the host refuses.
  static Result<Made> make(const vhost_user::InflightDescription& wanted, unsigned rings);

  /// Maps what a front end hands over. `faulted` is signalled when a page is not there any more,
  /// and outlives this. Errors (the peer's fault): counts as for make(); a region that does not
  /// begin at a page, is too small for split rings or not within its file; a file that is none of
  /// memory or cannot be written.
  static Result<InflightMemory> map(const vhost_user::InflightDescription& region,
                                    const UniqueFd& file, unsigned rings, const EventFd& faulted);
  /// The part of ring `index`; nothing if it is one of those that are not noted. Errors (the peer's
  /// fault): there is no room for packed rings.
  [[nodiscard]] Result<std::optional<InflightQueue>> queue(unsigned index, bool packed) const;

  /// Nothing is noted of any ring from now on. While none runs.
  void forget() const noexcept;

 private:
  InflightMemory(const vhost_user::InflightDescription& region, PeerMapping mapping) noexcept
      : region_(region), mapping_(std::move(mapping)) {}

  vhost_user::InflightDescription region_;
  PeerMapping mapping_;
};

}  // namespace bellhop

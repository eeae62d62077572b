#pragma once

#include <cstdint>

#include "net/net_backend.h"
#include "virtio/abi/net.h"

namespace bellhop {

/// The feature bits that offer to take frames which leave `offloads` to the host (5.1.3: CSUM,
/// HOST_*), and to have frames that leave them to the guest (GUEST_*).
[[nodiscard]] std::uint64_t host_features(Offloads offloads) noexcept;
[[nodiscard]] std::uint64_t guest_features(Offloads offloads) noexcept;
/// The other way round. What depends on checksum offload counts only together with it (5.1.3.1).
[[nodiscard]] Offloads host_offloads(std::uint64_t features) noexcept;
[[nodiscard]] Offloads guest_offloads(std::uint64_t features) noexcept;

/// Checks the header of a frame from the driver (5.1.6.2) against the `frame_bytes` behind it and
/// what was negotiated, and takes out of it what means nothing to the host. False: no frame of a
/// driver that follows the standard.
[[nodiscard]] bool check_sent_header(virtio::NetHeader& header, std::size_t frame_bytes,
                                     Offloads allowed) noexcept;

/// Whether a frame that was received may be shown to a driver that negotiated `allowed`: it may
/// have been waiting since another driver was there.
[[nodiscard]] bool check_received_header(std::uint8_t flags, std::uint8_t gso_type,
                                         Offloads allowed) noexcept;

}  // namespace bellhop

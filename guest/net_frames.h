#pragma once

#include <cstdint>

#include "guest/nic.h"

// Ethernet frames: ARP, and UDP over IPv4; as much of them as two ends of one link need.
namespace bellhop::guest {

inline constexpr std::uint32_t kEthernetBytes = 14;
/// From the start of a frame to its UDP payload.
inline constexpr std::uint32_t kUdpHeadBytes = 42;
inline constexpr std::uint32_t kArpBytes = 42;
/// Where a device finds the checksum that is left to it (5.1.6.2): from the UDP header on.
inline constexpr std::uint16_t kChecksumStart = 34;
inline constexpr std::uint16_t kChecksumOffset = 6;

/// The two ends of the link; addresses in host order.
struct Link {
  std::uint8_t own_mac[kMacBytes] = {};
  std::uint8_t host_mac[kMacBytes] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  std::uint32_t own_address = 0;
  std::uint32_t host_address = 0;
  std::uint16_t port = 0;  ///< of both
};

enum class Arp : std::uint16_t { kRequest = 1, kReply = 2 };

/// Writes the headers of a frame that carries `payload` bytes. With `partial` the UDP checksum is
/// left to the device and its field holds that of the pseudo header; else it is 0, none.
void write_udp_head(std::uint8_t* frame, const Link& link, std::uint32_t payload, bool partial);

/// Writes a whole ARP frame (kArpBytes).
void write_arp(std::uint8_t* frame, const Link& link, Arp what);

enum class FrameKind { kOther, kArpForUs, kArpAnswer, kUdp };

/// What a frame of `bytes` is, of which the first `at_hand` (at most) lie at `frame`. For kUdp
/// stores the bytes of payload that follow the headers; for ARP learns the host's address.
FrameKind read_frame(const std::uint8_t* frame, std::uint32_t at_hand, std::uint32_t bytes,
                     Link* link, std::uint32_t* payload);

}  // namespace bellhop::guest

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bellhop::testing {

/// How a guest's stack makes UDP datagrams of one flow: Ethernet frames behind virtio's header that
/// leave their checksum to the host. For tests of the data, not of speed.
struct UdpFlow {
  bool ip6 = false;
  std::uint32_t from = 0xc0000202;  ///< IPv4 address, or the last bytes of an IPv6 one
  std::uint32_t to = 0xc0000201;
  std::uint16_t from_port = 7010;
  std::uint16_t to_port = 7011;
  std::uint64_t to_mac = 0xffff'ffff'ffff;
};

/// Bytes of all headers but virtio's.
[[nodiscard]] std::size_t header_bytes(const UdpFlow& flow);

/// A frame with `payload` bytes that `number` begins and fills.
[[nodiscard]] std::vector<std::byte> udp_frame(const UdpFlow& flow, std::size_t payload,
                                               std::uint64_t number, std::uint16_t id = 0);

/// What the host's stack makes of a train: frames of one datagram, whose headers are the train's
/// with lengths of their own. A frame that is no train comes back as it is. Fails the program if
/// the train's headers do not say what they should.
[[nodiscard]] std::vector<std::vector<std::byte>> take_apart(std::span<const std::byte> train);

/// Whether both are the same but for what a train does not keep: IPv4's identification and sum, and
/// UDP's sum over the pseudo-header.
[[nodiscard]] bool same_datagram(std::span<const std::byte> a, std::span<const std::byte> b);

}  // namespace bellhop::testing

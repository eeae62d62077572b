#include "guest/net_frames.h"

namespace bellhop::guest {
namespace {

constexpr std::uint16_t kTypeIp = 0x0800;
constexpr std::uint16_t kTypeArp = 0x0806;
constexpr std::uint8_t kProtocolUdp = 17;
constexpr std::uint32_t kIpAt = kEthernetBytes;
constexpr std::uint32_t kIpBytes = 20;
constexpr std::uint32_t kUdpAt = kIpAt + kIpBytes;
constexpr std::uint32_t kUdpBytes = 8;
constexpr std::uint16_t kMoreFragments = 0x3fff;  // the flag, and any offset

void put16(std::uint8_t* to, std::uint32_t value) {
  to[0] = static_cast<std::uint8_t>(value >> 8);
  to[1] = static_cast<std::uint8_t>(value);
}
void put32(std::uint8_t* to, std::uint32_t value) {
  put16(to, value >> 16);
  put16(to + 2, value & 0xffff);
}
std::uint32_t get16(const std::uint8_t* from) {
  return static_cast<std::uint32_t>(from[0] << 8 | from[1]);
}
std::uint32_t get32(const std::uint8_t* from) { return get16(from) << 16 | get16(from + 2); }

void put_mac(std::uint8_t* to, const std::uint8_t* mac) {
  for (std::uint32_t i = 0; i < kMacBytes; ++i) to[i] = mac[i];
}
bool same_mac(const std::uint8_t* left, const std::uint8_t* right) {
  std::uint32_t wrong = 0;
  for (std::uint32_t i = 0; i < kMacBytes; ++i) {
    wrong |= static_cast<std::uint32_t>(left[i] ^ right[i]);
  }
  return wrong == 0;
}

std::uint32_t fold(std::uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
std::uint32_t halves(std::uint32_t value) { return (value >> 16) + (value & 0xffff); }

FrameKind read_arp(const std::uint8_t* arp, Link* link) {
  constexpr std::uint32_t kEthernetIp = 0x0001'0800;
  if (get32(arp) != kEthernetIp || get16(arp + 4) != 0x0604) return FrameKind::kOther;
  if (get32(arp + 14) != link->host_address || get32(arp + 24) != link->own_address) {
    return FrameKind::kOther;
  }
  put_mac(link->host_mac, arp + 8);
  const std::uint32_t operation = get16(arp + 6);
  if (operation == static_cast<std::uint16_t>(Arp::kRequest)) return FrameKind::kArpForUs;
  return operation == static_cast<std::uint16_t>(Arp::kReply) ? FrameKind::kArpAnswer
                                                              : FrameKind::kOther;
}

}  // namespace

void write_udp_head(std::uint8_t* frame, const Link& link, std::uint32_t payload, bool partial) {
  put_mac(frame, link.host_mac);
  put_mac(frame + kMacBytes, link.own_mac);
  put16(frame + 12, kTypeIp);

  std::uint8_t* ip = frame + kIpAt;
  const std::uint32_t length = kIpBytes + kUdpBytes + payload;
  put32(ip, 0x4500'0000U | length);  // version 4, five words, no service class
  put32(ip + 4, 0x0000'4000U);       // no identification, do not fragment
  put32(ip + 8, 64U << 24 | std::uint32_t{kProtocolUdp} << 16);
  put32(ip + 12, link.own_address);
  put32(ip + 16, link.host_address);
  const std::uint32_t addresses = halves(link.own_address) + halves(link.host_address);
  const std::uint32_t words = 0x4500 + length + 0x4000 + (64U << 8 | kProtocolUdp) + addresses;
  put16(ip + 10, ~fold(words) & 0xffff);

  std::uint8_t* udp = frame + kUdpAt;
  put16(udp, link.port);
  put16(udp + 2, link.port);
  put16(udp + 4, kUdpBytes + payload);
  put16(udp + 6, partial ? fold(addresses + kProtocolUdp + kUdpBytes + payload) : 0);
}

void write_arp(std::uint8_t* frame, const Link& link, Arp what) {
  static constexpr std::uint8_t kBroadcast[kMacBytes] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  const bool asks = what == Arp::kRequest;
  put_mac(frame, asks ? kBroadcast : link.host_mac);
  put_mac(frame + kMacBytes, link.own_mac);
  put16(frame + 12, kTypeArp);
  std::uint8_t* arp = frame + kEthernetBytes;
  put32(arp, 0x0001'0800);  // Ethernet, IPv4
  put32(arp + 4, 0x0604'0000U | static_cast<std::uint16_t>(what));
  put_mac(arp + 8, link.own_mac);
  put32(arp + 14, link.own_address);
  put_mac(arp + 18, link.host_mac);
  put32(arp + 24, link.host_address);
}

FrameKind read_frame(const std::uint8_t* frame, std::uint32_t at_hand, std::uint32_t bytes,
                     Link* link, std::uint32_t* payload) {
  if (at_hand < kUdpHeadBytes) return FrameKind::kOther;
  const std::uint32_t type = get16(frame + 12);
  if (type == kTypeArp) return read_arp(frame + kEthernetBytes, link);
  const std::uint8_t* ip = frame + kIpAt;
  const std::uint8_t* udp = frame + kUdpAt;
  if (type != kTypeIp || ip[0] != 0x45 || ip[9] != kProtocolUdp ||
      (get16(ip + 6) & kMoreFragments) != 0 || !same_mac(frame, link->own_mac) ||
      get32(ip + 12) != link->host_address || get32(ip + 16) != link->own_address ||
      get16(udp + 2) != link->port) {
    return FrameKind::kOther;
  }
  const std::uint32_t length = get16(ip + 2);
  if (length < kIpBytes + kUdpBytes || kEthernetBytes + length > bytes) return FrameKind::kOther;
  *payload = length - kIpBytes - kUdpBytes;
  return FrameKind::kUdp;
}

}  // namespace bellhop::guest

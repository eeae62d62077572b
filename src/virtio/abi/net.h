#pragma once

#include <cstddef>
#include <cstdint>

// Network device (virtio 1.3 section 5.1).
namespace bellhop::virtio {

// Feature bit numbers (5.1.3).
inline constexpr unsigned kNetFeatureCsum = 0;
inline constexpr unsigned kNetFeatureGuestCsum = 1;
inline constexpr unsigned kNetFeatureCtrlGuestOffloads = 2;
inline constexpr unsigned kNetFeatureMtu = 3;
inline constexpr unsigned kNetFeatureMac = 5;
inline constexpr unsigned kNetFeatureGuestTso4 = 7;
inline constexpr unsigned kNetFeatureGuestTso6 = 8;
inline constexpr unsigned kNetFeatureGuestEcn = 9;
inline constexpr unsigned kNetFeatureGuestUfo = 10;
inline constexpr unsigned kNetFeatureHostTso4 = 11;
inline constexpr unsigned kNetFeatureHostTso6 = 12;
inline constexpr unsigned kNetFeatureHostEcn = 13;
inline constexpr unsigned kNetFeatureHostUfo = 14;
inline constexpr unsigned kNetFeatureMrgRxbuf = 15;
inline constexpr unsigned kNetFeatureStatus = 16;
inline constexpr unsigned kNetFeatureCtrlVq = 17;
inline constexpr unsigned kNetFeatureCtrlRx = 18;
inline constexpr unsigned kNetFeatureCtrlVlan = 19;
inline constexpr unsigned kNetFeatureCtrlRxExtra = 20;
inline constexpr unsigned kNetFeatureGuestAnnounce = 21;
inline constexpr unsigned kNetFeatureMq = 22;
inline constexpr unsigned kNetFeatureCtrlMacAddr = 23;
inline constexpr unsigned kNetFeatureGuestUso4 = 54;
inline constexpr unsigned kNetFeatureGuestUso6 = 55;
inline constexpr unsigned kNetFeatureHostUso = 56;

inline constexpr std::size_t kNetMacBytes = 6;

// Bits of NetConfig::status (5.1.4).
inline constexpr std::uint16_t kNetStatusLinkUp = 1;
inline constexpr std::uint16_t kNetStatusAnnounce = 2;

/// Device configuration (5.1.4), up to the fields that depend on features not listed above.
struct [[gnu::packed]] NetConfig {
  std::uint8_t mac[kNetMacBytes];
  std::uint16_t status;
  std::uint16_t max_virtqueue_pairs;
  std::uint16_t mtu;
};
static_assert(sizeof(NetConfig) == 12);

// NetHeader::flags (5.1.6).
inline constexpr std::uint8_t kNetHeaderNeedsCsum = 1;
inline constexpr std::uint8_t kNetHeaderDataValid = 2;
inline constexpr std::uint8_t kNetHeaderRscInfo = 4;

// NetHeader::gso_type (5.1.6).
inline constexpr std::uint8_t kNetGsoNone = 0;
inline constexpr std::uint8_t kNetGsoTcp4 = 1;
inline constexpr std::uint8_t kNetGsoUdp = 3;
inline constexpr std::uint8_t kNetGsoTcp6 = 4;
inline constexpr std::uint8_t kNetGsoUdpL4 = 5;
inline constexpr std::uint8_t kNetGsoEcn = 0x80;  ///< together with one of the TCP types

/// Precedes every frame, both ways (5.1.6). Little-endian.
struct [[gnu::packed]] NetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
  std::uint16_t num_buffers = 0;  ///< 1, or more with MRG_RXBUF; received frames only
};
static_assert(sizeof(NetHeader) == 12);
static_assert(offsetof(NetHeader, num_buffers) == 10);

/// Head of a command on the control queue (5.1.6.5): data follows, then one byte that the device
/// writes.
struct [[gnu::packed]] NetControlHeader {
  std::uint8_t command_class;
  std::uint8_t command;
};
static_assert(sizeof(NetControlHeader) == 2);

inline constexpr std::uint8_t kNetControlOk = 0;
inline constexpr std::uint8_t kNetControlError = 1;

// Receive modes (5.1.6.5.1): one byte of data, 0 or 1.
inline constexpr std::uint8_t kNetControlRx = 0;
inline constexpr std::uint8_t kNetControlRxPromisc = 0;
inline constexpr std::uint8_t kNetControlRxAllMulti = 1;
inline constexpr std::uint8_t kNetControlRxAllUni = 2;
inline constexpr std::uint8_t kNetControlRxNoMulti = 3;
inline constexpr std::uint8_t kNetControlRxNoUni = 4;
inline constexpr std::uint8_t kNetControlRxNoBroadcast = 5;

// MAC addresses (5.1.6.5.2): two tables, each a count of 32 bits and as many addresses; or one
// address.
inline constexpr std::uint8_t kNetControlMac = 1;
inline constexpr std::uint8_t kNetControlMacTableSet = 0;
inline constexpr std::uint8_t kNetControlMacAddrSet = 1;

// VLAN filter (5.1.6.5.3): a VLAN id of 16 bits.
inline constexpr std::uint8_t kNetControlVlan = 2;
inline constexpr std::uint8_t kNetControlVlanAdd = 0;
inline constexpr std::uint8_t kNetControlVlanDel = 1;

// Announcement (5.1.6.5.4): no data.
inline constexpr std::uint8_t kNetControlAnnounce = 3;
inline constexpr std::uint8_t kNetControlAnnounceAck = 0;

// Queue pairs in use (5.1.6.5.5): their number, 16 bits.
inline constexpr std::uint8_t kNetControlMq = 4;
inline constexpr std::uint8_t kNetControlMqPairsSet = 0;
inline constexpr std::uint16_t kNetMqPairsMin = 1;
inline constexpr std::uint16_t kNetMqPairsMax = 0x8000;

// Offloads of received frames (5.1.6.5.6): 64 bits, by the numbers of the GUEST_ features.
inline constexpr std::uint8_t kNetControlGuestOffloads = 5;
inline constexpr std::uint8_t kNetControlGuestOffloadsSet = 0;

}  // namespace bellhop::virtio

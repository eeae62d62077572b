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

// Flags of the header (5.1.6).
inline constexpr std::uint8_t kNetHeaderNeedsCsum = 1;
inline constexpr std::uint8_t kNetHeaderDataValid = 2;

// Kinds of segmentation (5.1.6).
inline constexpr std::uint8_t kNetGsoNone = 0;
inline constexpr std::uint8_t kNetGsoTcp4 = 1;
inline constexpr std::uint8_t kNetGsoUdp = 3;
inline constexpr std::uint8_t kNetGsoTcp6 = 4;
inline constexpr std::uint8_t kNetGsoUdpL4 = 5;
inline constexpr std::uint8_t kNetGsoEcn = 0x80;

/// Before every frame in both directions (5.1.6), with VIRTIO_F_VERSION_1.
struct [[gnu::packed]] NetHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;
  std::uint16_t gso_size;
  std::uint16_t csum_start;
  std::uint16_t csum_offset;
  std::uint16_t num_buffers;
};
static_assert(sizeof(NetHeader) == 12);

/// Device configuration (5.1.4), as far as the features above reach.
struct [[gnu::packed]] NetConfig {
  std::uint8_t mac[6];
  std::uint16_t status;
  std::uint16_t max_virtqueue_pairs;
  std::uint16_t mtu;
};
static_assert(sizeof(NetConfig) == 12);

}  // namespace bellhop::virtio

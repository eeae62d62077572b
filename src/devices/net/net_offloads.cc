#include "devices/net/net_offloads.h"

#include <optional>

#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

struct Pairing {
  unsigned feature;
  Offload offload;
};

constexpr Pairing kHost[] = {
    {kNetFeatureCsum, Offload::kCsum},     {kNetFeatureHostTso4, Offload::kTso4},
    {kNetFeatureHostTso6, Offload::kTso6}, {kNetFeatureHostEcn, Offload::kEcn},
    {kNetFeatureHostUfo, Offload::kUfo},   {kNetFeatureHostUso, Offload::kUso4},
    {kNetFeatureHostUso, Offload::kUso6},
};
constexpr Pairing kGuest[] = {
    {kNetFeatureGuestCsum, Offload::kCsum}, {kNetFeatureGuestTso4, Offload::kTso4},
    {kNetFeatureGuestTso6, Offload::kTso6}, {kNetFeatureGuestEcn, Offload::kEcn},
    {kNetFeatureGuestUfo, Offload::kUfo},   {kNetFeatureGuestUso4, Offload::kUso4},
    {kNetFeatureGuestUso6, Offload::kUso6},
};

std::uint64_t to_features(std::span<const Pairing> pairings, Offloads offloads) noexcept {
  std::uint64_t features = 0;
  for (const Pairing& pairing : pairings) {
    if (offloads.has(pairing.offload)) features |= feature_mask(pairing.feature);
  }
  return features;
}

Offloads to_offloads(std::span<const Pairing> pairings, std::uint64_t features) noexcept {
  Offloads offloads;
  for (const Pairing& pairing : pairings) {
    if ((features & feature_mask(pairing.feature)) != 0) offloads.add(pairing.offload);
  }
  return offloads.has(Offload::kCsum) ? offloads : Offloads();
}

/// What a gso_type (without ECN) needs; nothing if there is no such type.
std::optional<Offloads> needed_for(std::uint8_t gso_type) noexcept {
  switch (gso_type) {
    case kNetGsoTcp4:
      return Offloads{Offload::kTso4};
    case kNetGsoTcp6:
      return Offloads{Offload::kTso6};
    case kNetGsoUdp:
      return Offloads{Offload::kUfo};
    case kNetGsoUdpL4:
      return Offloads{Offload::kUso4, Offload::kUso6};
    default:
      return std::nullopt;
  }
}

bool gso_is_allowed(std::uint8_t gso_type, Offloads allowed) noexcept {
  const auto type = static_cast<std::uint8_t>(gso_type & ~kNetGsoEcn);
  const auto needed = needed_for(type);
  if (!needed || (needed->bits() & allowed.bits()) == 0) return false;
  if (type == gso_type) return true;
  return (type == kNetGsoTcp4 || type == kNetGsoTcp6) && allowed.has(Offload::kEcn);
}

}  // namespace

std::uint64_t host_features(Offloads offloads) noexcept { return to_features(kHost, offloads); }
std::uint64_t guest_features(Offloads offloads) noexcept { return to_features(kGuest, offloads); }
Offloads host_offloads(std::uint64_t features) noexcept { return to_offloads(kHost, features); }
Offloads guest_offloads(std::uint64_t features) noexcept { return to_offloads(kGuest, features); }

bool check_sent_header(NetHeader& header, std::size_t frame_bytes, Offloads allowed) noexcept {
  constexpr std::size_t kCsumBytes = 2;
  if (frame_bytes < kEthernetHeaderBytes || frame_bytes > kMaxFrameBytes) return false;
  header.num_buffers = 0;
  // The others are for received frames, or not offered (5.1.6.2: the device ignores them).
  header.flags &= kNetHeaderNeedsCsum;
  if (header.flags != 0) {
    const std::size_t start = header.csum_start;
    const std::size_t end = start + header.csum_offset + kCsumBytes;
    if (!allowed.has(Offload::kCsum)) return false;
    if (start < kEthernetHeaderBytes || end > frame_bytes) return false;
  } else {
    header.csum_start = 0;
    header.csum_offset = 0;
  }
  if (header.gso_type == kNetGsoNone) {
    header.hdr_len = 0;
    header.gso_size = 0;
    return true;
  }
  // 5.1.6.2: segmentation goes with a partial checksum. Fragmentation may do without.
  if (header.flags == 0 && header.gso_type != kNetGsoUdp) return false;
  return gso_is_allowed(header.gso_type, allowed) && header.gso_size != 0 &&
         header.hdr_len <= frame_bytes;
}

bool check_received_header(std::uint8_t flags, std::uint8_t gso_type, Offloads allowed) noexcept {
  if ((flags & kNetHeaderNeedsCsum) != 0 && !allowed.has(Offload::kCsum)) return false;
  return gso_type == kNetGsoNone || gso_is_allowed(gso_type, allowed);
}

}  // namespace bellhop

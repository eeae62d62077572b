#include "devices/net/frame_train.h"

#include <cassert>
#include <cstring>

#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

using namespace virtio;

namespace {

// Where things are, from the first byte of a frame on: Ethernet, then IP.
constexpr std::size_t kType = 12;
constexpr std::size_t kIp = kEthernetHeaderBytes;
constexpr std::byte kProtocolUdp{17};

constexpr std::size_t kIp4Bytes = 20;
constexpr std::size_t kIp4Length = kIp + 2;
constexpr std::size_t kIp4Fragment = kIp + 6;
constexpr std::size_t kIp4Protocol = kIp + 9;
constexpr std::size_t kIp4Sum = kIp + 10;
constexpr std::size_t kIp4Addresses = kIp + 12;

constexpr std::size_t kIp6Bytes = 40;
constexpr std::size_t kIp6Length = kIp + 4;
constexpr std::size_t kIp6Next = kIp + 6;
constexpr std::size_t kIp6Addresses = kIp + 8;

constexpr std::size_t kUdpBytes = 8;
constexpr std::size_t kUdpLength = 4;  // from UDP's header on
constexpr std::size_t kUdpSum = 6;
constexpr std::size_t kPortBytes = 4;

/// Frames of the host's stack end where a 16-bit length does.
constexpr std::size_t kLongestTrain = 65535;
/// With an offset of 0 and no more fragments: "don't fragment".
constexpr std::uint16_t kDontFragment = 0x4000;

using Head = std::span<const std::byte, FrameTrain::kHeadBytes>;

std::uint16_t load16(Head head, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(head[at]) << 8 |
                                    std::to_integer<unsigned>(head[at + 1]));
}

void store16(std::span<std::byte> head, std::size_t at, std::size_t value) noexcept {
  head[at] = static_cast<std::byte>(value >> 8);
  head[at + 1] = static_cast<std::byte>(value);
}

/// RFC 1071, not complemented.
std::uint32_t sum_of(Head head, std::size_t at, std::size_t bytes) noexcept {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes; i += 2) sum += load16(head, at + i);
  return sum;
}

std::uint16_t fold(std::uint32_t sum) noexcept {
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum + (sum >> 16));
}

bool same(Head a, Head b, std::size_t from, std::size_t to) noexcept {
  return std::memcmp(a.data() + from, b.data() + from, to - from) == 0;
}

bool is_ip4(Head head) noexcept {
  return head[kType] == std::byte{0x08} && head[kType + 1] == std::byte{0x00};
}
bool is_ip6(Head head) noexcept {
  return head[kType] == std::byte{0x86} && head[kType + 1] == std::byte{0xdd};
}

/// An IPv4 header as it is said above, with a sum that is right: another one is put in its place,
/// and must not make a damaged header good.
bool is_plain_ip4(Head head, std::size_t ip_bytes) noexcept {
  return head[kIp] == std::byte{0x45} && head[kIp4Protocol] == kProtocolUdp &&
         load16(head, kIp4Fragment) == kDontFragment && load16(head, kIp4Length) == ip_bytes &&
         fold(sum_of(head, kIp, kIp4Bytes)) == 0xffff;
}

bool is_plain_ip6(Head head, std::size_t ip_bytes) noexcept {
  return (head[kIp] & std::byte{0xf0}) == std::byte{0x60} && head[kIp6Next] == kProtocolUdp &&
         load16(head, kIp6Length) + kIp6Bytes == ip_bytes;
}

}  // namespace

std::optional<FrameTrain::Datagram> FrameTrain::look_at(const Frame& frame) noexcept {
  const NetHeader& header = frame.header;
  if (header.flags != kNetHeaderNeedsCsum || header.gso_type != kNetGsoNone ||
      header.csum_offset != kUdpSum) {
    return std::nullopt;
  }
  const Head head(frame.head);
  const std::size_t ip_bytes = frame.bytes - kIp;
  std::size_t udp = 0;
  if (header.csum_start == kIp + kIp4Bytes && is_ip4(head)) {
    udp = kIp + kIp4Bytes;
    if (frame.bytes <= udp + kUdpBytes || !is_plain_ip4(head, ip_bytes)) return std::nullopt;
  } else if (header.csum_start == kIp + kIp6Bytes && is_ip6(head)) {
    udp = kIp + kIp6Bytes;
    if (frame.bytes <= udp + kUdpBytes || !is_plain_ip6(head, ip_bytes)) return std::nullopt;
  } else {
    return std::nullopt;
  }
  if (load16(head, udp + kUdpLength) != frame.bytes - udp) return std::nullopt;
  const std::size_t headers = udp + kUdpBytes;
  return Datagram{static_cast<std::uint16_t>(headers),
                  static_cast<std::uint16_t>(frame.bytes - headers)};
}

bool FrameTrain::add(const Frame& frame, bool may_join) noexcept {
  if (frames_ == 0) {
    begin(frame, may_join);
    return true;
  }
  if (!open_ || !may_join) return false;
  const auto next = look_at(frame);
  if (!next || !continues(frame, *next) ||
      !append(frame.buffers, sizeof(NetHeader) + next->headers)) {
    return false;
  }
  payload_ += next->payload;
  frame_bytes_ += frame.bytes;
  ++frames_;
  open_ = next->payload == first_.payload && frames_ < kMaxFrames;
  return true;
}

void FrameTrain::begin(const Frame& frame, bool may_join) noexcept {
  const auto datagram = may_join ? look_at(frame) : std::nullopt;
  head_.header = frame.header;
  std::size_t head_bytes = sizeof(NetHeader);
  open_ = datagram.has_value();
  if (datagram) {
    head_.bytes = frame.head;
    head_bytes += datagram->headers;
    first_ = *datagram;
    payload_ = datagram->payload;
  }
  parts_[0] = {&head_, head_bytes};
  part_count_ = 1;
  static_assert(kMaxParts > kMaxChainBuffers && sizeof head_ == sizeof(NetHeader) + kHeadBytes);
  [[maybe_unused]] const bool all = append(frame.buffers, head_bytes);
  assert(all);
  frames_ = 1;
  frame_bytes_ = frame.bytes;
}

bool FrameTrain::continues(const Frame& frame, const Datagram& next) const noexcept {
  if (next.headers != first_.headers || next.payload > first_.payload ||
      first_.headers + payload_ + next.payload > kLongestTrain) {
    return false;
  }
  const Head a(head_.bytes);
  const Head b(frame.head);
  const std::size_t ports = first_.headers - kUdpBytes;
  if (is_ip4(a)) {
    return same(a, b, 0, kIp4Length) && same(a, b, kIp4Fragment, kIp4Sum) &&
           same(a, b, kIp4Addresses, ports + kPortBytes);
  }
  return same(a, b, 0, kIp6Length) && same(a, b, kIp6Next, ports + kPortBytes);
}

/// The bytes of `buffers` behind the first `skip`, which may lie in several of them. False, and
/// nothing has changed: there is no place for them.
bool FrameTrain::append(std::span<const GuestSpan> buffers, std::size_t skip) noexcept {
  if (part_count_ + buffers.size() > parts_.size()) return false;
  for (const GuestSpan& buffer : buffers) {
    if (buffer.size() <= skip) {
      skip -= buffer.size();
      continue;
    }
    parts_[part_count_++] = buffer.part(skip).as_iovec();
    skip = 0;
  }
  return true;
}

std::span<const iovec> FrameTrain::finish() noexcept {
  assert(frames_ != 0);
  open_ = false;
  if (frames_ > 1) write_lengths();
  return {parts_.data(), part_count_};
}

void FrameTrain::write_lengths() noexcept {
  NetHeader& header = head_.header;
  header.gso_type = kNetGsoUdpL4;
  header.gso_size = first_.payload;
  header.hdr_len = first_.headers;
  const Head head(head_.bytes);
  const std::size_t udp = first_.headers - kUdpBytes;
  const std::size_t udp_bytes = kUdpBytes + payload_;
  std::uint32_t pseudo = to_integer<std::uint32_t>(kProtocolUdp);
  if (is_ip4(head)) {
    store16(head_.bytes, kIp4Length, kIp4Bytes + udp_bytes);
    store16(head_.bytes, kIp4Sum, 0);
    store16(head_.bytes, kIp4Sum, std::uint16_t(~fold(sum_of(head, kIp, kIp4Bytes))));
    pseudo += sum_of(head, kIp4Addresses, udp - kIp4Addresses);
  } else {
    store16(head_.bytes, kIp6Length, udp_bytes);
    pseudo += sum_of(head, kIp6Addresses, udp - kIp6Addresses);
  }
  store16(head_.bytes, udp + kUdpLength, udp_bytes);
  // The pseudo-header's, as a frame has it that leaves its checksum to others.
  store16(head_.bytes, udp + kUdpSum, fold(pseudo + static_cast<std::uint32_t>(udp_bytes)));
}

}  // namespace bellhop

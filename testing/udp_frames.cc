#include "testing/udp_frames.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "net/net_backend.h"
#include "virtio/abi/net.h"

namespace bellhop::testing {

namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kIp = kNetHeaderBytes + kEthernetHeaderBytes;
constexpr std::size_t kUdpBytes = 8;

void must_be(bool good) {
  if (!good) std::abort();
}

std::size_t ip_bytes(bool ip6) { return ip6 ? 40 : 20; }

void put16(Bytes& frame, std::size_t at, std::size_t value) {
  frame.at(at) = static_cast<std::byte>(value >> 8);
  frame.at(at + 1) = static_cast<std::byte>(value);
}
void put32(Bytes& frame, std::size_t at, std::uint32_t value) {
  put16(frame, at, value >> 16);
  put16(frame, at + 2, value & 0xffff);
}
std::size_t get16(std::span<const std::byte> frame, std::size_t at) {
  return std::to_integer<std::size_t>(frame[at]) << 8 | std::to_integer<std::size_t>(frame[at + 1]);
}

std::uint64_t sum(std::span<const std::byte> frame, std::size_t at, std::size_t bytes) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < bytes; i += 2) total += get16(frame, at + i);
  return total;
}
std::size_t folded(std::uint64_t total) {
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return total;
}

bool is_ip6(std::span<const std::byte> frame) { return get16(frame, kIp - 2) == 0x86dd; }

/// Everything that follows from how long the frame is.
void write_lengths(Bytes& frame) {
  const bool ip6 = is_ip6(frame);
  const std::size_t udp = kIp + ip_bytes(ip6);
  const std::size_t udp_bytes = frame.size() - udp;
  std::uint64_t pseudo = 17 + udp_bytes;
  if (ip6) {
    put16(frame, kIp + 4, udp_bytes);
    pseudo += sum(frame, kIp + 8, 32);
  } else {
    put16(frame, kIp + 2, frame.size() - kIp);
    put16(frame, kIp + 10, 0);
    put16(frame, kIp + 10, 0xffff ^ folded(sum(frame, kIp, 20)));
    pseudo += sum(frame, kIp + 12, 8);
  }
  put16(frame, udp + 4, udp_bytes);
  put16(frame, udp + 6, folded(pseudo));
}

virtio::NetHeader header_of(std::span<const std::byte> frame) {
  virtio::NetHeader header{};
  must_be(frame.size() >= sizeof header);
  std::memcpy(&header, frame.data(), sizeof header);
  return header;
}

}  // namespace

std::size_t header_bytes(const UdpFlow& flow) {
  return kEthernetHeaderBytes + ip_bytes(flow.ip6) + kUdpBytes;
}

std::vector<std::byte> udp_frame(const UdpFlow& flow, std::size_t payload, std::uint64_t number,
                                 std::uint16_t id) {
  const std::size_t udp = kIp + ip_bytes(flow.ip6);
  Bytes frame(udp + kUdpBytes + payload);
  const virtio::NetHeader header{.flags = virtio::kNetHeaderNeedsCsum,
                                 .csum_start = static_cast<std::uint16_t>(udp - kNetHeaderBytes),
                                 .csum_offset = 6};
  std::memcpy(frame.data(), &header, sizeof header);
  std::memcpy(frame.data() + kNetHeaderBytes, &flow.to_mac, 6);
  frame[kNetHeaderBytes + 6] = std::byte{0x02};
  if (flow.ip6) {
    put16(frame, kIp - 2, 0x86dd);
    frame[kIp] = std::byte{0x60};
    frame[kIp + 6] = std::byte{17};
    frame[kIp + 7] = std::byte{64};
    put16(frame, kIp + 8, 0xfd00);
    put32(frame, kIp + 20, flow.from);
    put16(frame, kIp + 24, 0xfd00);
    put32(frame, kIp + 36, flow.to);
  } else {
    put16(frame, kIp - 2, 0x0800);
    frame[kIp] = std::byte{0x45};
    put16(frame, kIp + 4, id);
    put16(frame, kIp + 6, 0x4000);
    frame[kIp + 8] = std::byte{64};
    frame[kIp + 9] = std::byte{17};
    put32(frame, kIp + 12, flow.from);
    put32(frame, kIp + 16, flow.to);
  }
  put16(frame, udp, flow.from_port);
  put16(frame, udp + 2, flow.to_port);
  write_lengths(frame);
  std::byte* const data = frame.data() + udp + kUdpBytes;
  for (std::size_t i = 0; i < payload; ++i) data[i] = static_cast<std::byte>(number * 7 + i);
  std::memcpy(data, &number, std::min(payload, sizeof number));
  return frame;
}

std::vector<Bytes> take_apart(std::span<const std::byte> train) {
  const auto header = header_of(train);
  if (header.gso_type == virtio::kNetGsoNone) return {Bytes(train.begin(), train.end())};
  must_be(header.gso_type == virtio::kNetGsoUdpL4 && header.gso_size != 0);
  must_be(header.flags == virtio::kNetHeaderNeedsCsum && header.csum_offset == 6);
  const std::size_t udp = kIp + ip_bytes(is_ip6(train));
  const std::size_t headers = udp + kUdpBytes;
  must_be(header.csum_start == udp - kNetHeaderBytes);
  must_be(header.hdr_len == headers - kNetHeaderBytes && train.size() > headers);
  Bytes right(train.begin(), train.end());
  write_lengths(right);
  must_be(std::ranges::equal(train, right));

  std::vector<Bytes> frames;
  for (std::size_t at = headers; at < train.size(); at += header.gso_size) {
    const std::size_t payload = std::min<std::size_t>(header.gso_size, train.size() - at);
    Bytes frame(train.begin(), train.begin() + static_cast<std::ptrdiff_t>(headers));
    const auto data = train.subspan(at, payload);
    frame.insert(frame.end(), data.begin(), data.end());
    virtio::NetHeader own = header;
    own.gso_type = virtio::kNetGsoNone;
    own.gso_size = own.hdr_len = 0;
    std::memcpy(frame.data(), &own, sizeof own);
    write_lengths(frame);
    frames.push_back(std::move(frame));
  }
  return frames;
}

bool same_datagram(std::span<const std::byte> a, std::span<const std::byte> b) {
  const auto bare = [](std::span<const std::byte> frame) {
    Bytes copy(frame.begin(), frame.end());
    const bool ip6 = is_ip6(frame);
    if (!ip6) put16(copy, kIp + 4, 0);
    if (!ip6) put16(copy, kIp + 10, 0);
    put16(copy, kIp + ip_bytes(ip6) + 6, 0);
    return copy;
  };
  return a.size() == b.size() && bare(a) == bare(b);
}

}  // namespace bellhop::testing

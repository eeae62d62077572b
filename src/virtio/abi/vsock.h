#pragma once

#include <cstddef>
#include <cstdint>

// Socket device (virtio 1.3 section 5.10).
namespace bellhop::virtio {

// Queues (5.10.2).
inline constexpr unsigned kVsockQueueRx = 0;
inline constexpr unsigned kVsockQueueTx = 1;
inline constexpr unsigned kVsockQueueEvent = 2;

// Feature bit numbers (5.10.3).
inline constexpr unsigned kVsockFeatureStream = 0;
inline constexpr unsigned kVsockFeatureSeqpacket = 1;

// Context ids with a meaning (5.10.4): 0 and all above 32 bits are reserved.
inline constexpr std::uint64_t kVsockCidHypervisor = 0;
inline constexpr std::uint64_t kVsockCidLocal = 1;
inline constexpr std::uint64_t kVsockCidHost = 2;
inline constexpr std::uint64_t kVsockCidFirstGuest = 3;
inline constexpr std::uint64_t kVsockCidAny = 0xffffffff;

/// Device configuration (5.10.4).
struct [[gnu::packed]] VsockConfigSpace {
  std::uint64_t guest_cid;
};
static_assert(sizeof(VsockConfigSpace) == 8);

// VsockHeader::type (5.10.6.2).
inline constexpr std::uint16_t kVsockTypeStream = 1;
inline constexpr std::uint16_t kVsockTypeSeqpacket = 2;

// VsockHeader::op (5.10.6).
inline constexpr std::uint16_t kVsockOpInvalid = 0;
inline constexpr std::uint16_t kVsockOpRequest = 1;
inline constexpr std::uint16_t kVsockOpResponse = 2;
inline constexpr std::uint16_t kVsockOpRst = 3;
inline constexpr std::uint16_t kVsockOpShutdown = 4;
inline constexpr std::uint16_t kVsockOpRw = 5;
inline constexpr std::uint16_t kVsockOpCreditUpdate = 6;
inline constexpr std::uint16_t kVsockOpCreditRequest = 7;

// VsockHeader::flags of a SHUTDOWN (5.10.6.5): what the sender will not do any more.
inline constexpr std::uint32_t kVsockShutdownReceive = 1;
inline constexpr std::uint32_t kVsockShutdownSend = 2;

/// Precedes every packet, both ways (5.10.6). Little-endian.
struct [[gnu::packed]] VsockHeader {
  std::uint64_t src_cid = 0;
  std::uint64_t dst_cid = 0;
  std::uint32_t src_port = 0;
  std::uint32_t dst_port = 0;
  std::uint32_t len = 0;  ///< bytes of payload behind it
  std::uint16_t type = 0;
  std::uint16_t op = 0;
  std::uint32_t flags = 0;
  std::uint32_t buf_alloc = 0;  ///< bytes that the sender can buffer for this connection
  std::uint32_t fwd_cnt = 0;    ///< bytes that its user has taken so far
};
static_assert(sizeof(VsockHeader) == 44);

/// What the device writes into a buffer of the event queue (5.10.6.7).
struct [[gnu::packed]] VsockEvent {
  std::uint32_t id;
};
inline constexpr std::uint32_t kVsockEventTransportReset = 0;

}  // namespace bellhop::virtio

#pragma once

#include <cstddef>
#include <cstdint>

// Layouts and numbers of the vhost-user protocol, the same for both of its ends: the front end, who
// has the guest, and the back end, who serves its queues. In the host's byte order.
namespace bellhop::vhost_user {

/// Header::request of a message from the front end.
enum class Request : std::uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kSendRarp = 19,
  kNetSetMtu = 20,
  kSetBackendReqFd = 21,
  kIotlbMsg = 22,
  kSetVringEndian = 23,
  kGetConfig = 24,
  kSetConfig = 25,
  kCreateCryptoSession = 26,
  kCloseCryptoSession = 27,
  kPostcopyAdvise = 28,
  kPostcopyListen = 29,
  kPostcopyEnd = 30,
  kGetInflightFd = 31,
  kSetInflightFd = 32,
  kGpuSetSocket = 33,
  kResetDevice = 34,
  kVringKick = 35,
  kGetMaxMemSlots = 36,
  kAddMemReg = 37,
  kRemMemReg = 38,
  kSetStatus = 39,
  kGetStatus = 40,
  kGetSharedObject = 41,
  kSetDeviceStateFd = 42,
  kCheckDeviceState = 43,
  kGetShmemConfig = 44,
};

// Header::request of messages from the back end, on the socket of kSetBackendReqFd.
inline constexpr std::uint32_t kBackendConfigChange = 2;
inline constexpr std::uint32_t kBackendVringCall = 4;
inline constexpr std::uint32_t kBackendVringErr = 5;

// Header::flags.
inline constexpr std::uint32_t kVersionMask = 3;
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kReply = 1U << 2;
inline constexpr std::uint32_t kNeedReply = 1U << 3;

/// Among the virtio features: there are protocol features to be agreed on, and rings are served
/// only while they are enabled.
inline constexpr unsigned kFeatureProtocol = 30;

/// Among the virtio features: what the back end writes is to be noted (VHOST_F_LOG_ALL).
inline constexpr unsigned kFeatureLogAll = 26;

// Protocol features, bit numbers.
inline constexpr unsigned kProtocolMq = 0;
inline constexpr unsigned kProtocolLogShmfd = 1;
inline constexpr unsigned kProtocolReplyAck = 3;
inline constexpr unsigned kProtocolMtu = 4;
inline constexpr unsigned kProtocolBackendReq = 5;
inline constexpr unsigned kProtocolConfig = 9;
inline constexpr unsigned kProtocolInflightShmfd = 12;
inline constexpr unsigned kProtocolResetDevice = 13;
inline constexpr unsigned kProtocolInbandNotifications = 14;
inline constexpr unsigned kProtocolConfigureMemSlots = 15;
inline constexpr unsigned kProtocolStatus = 16;
inline constexpr unsigned kProtocolDeviceState = 19;

/// Precedes every message; `size` bytes follow.
struct Header {
  std::uint32_t request = 0;
  std::uint32_t flags = 0;
  std::uint32_t size = 0;
};
static_assert(sizeof(Header) == 12);

/// kSetVringNum, kSetVringBase, kGetVringBase and its reply, kSetVringEnable; kVringKick,
/// kBackendVringCall and kBackendVringErr, whose `num` is 0.
struct VringState {
  std::uint32_t index = 0;
  std::uint32_t num = 0;
};
static_assert(sizeof(VringState) == 8);

/// kSetVringAddr. Addresses are the front end's own, within a region's user_address; `log` is the
/// used ring's in the log.
struct VringAddresses {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;  ///< kVringLog or none
  std::uint64_t desc = 0;
  std::uint64_t used = 0;
  std::uint64_t avail = 0;
  std::uint64_t log = 0;
};
static_assert(sizeof(VringAddresses) == 40);
/// VHOST_VRING_F_LOG: writes to the used ring are to be noted at VringAddresses::log.
inline constexpr std::uint32_t kVringLog = 1;

struct MemoryRegion {
  std::uint64_t guest_address = 0;
  std::uint64_t size = 0;
  std::uint64_t user_address = 0;
  std::uint64_t mmap_offset = 0;  ///< where it begins in its descriptor
};
static_assert(sizeof(MemoryRegion) == 32);

inline constexpr std::size_t kMaxRegions = 8;
/// kSetMemTable: one descriptor for each region.
struct MemoryTable {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
  MemoryRegion regions[kMaxRegions];  ///< the first `count` are sent
};
static_assert(sizeof(MemoryTable) == 8 + 32 * kMaxRegions);

/// kAddMemReg, with the region's descriptor, and kRemMemReg.
struct SingleRegion {
  std::uint64_t padding = 0;
  MemoryRegion region;
};
static_assert(sizeof(SingleRegion) == 40);

/// kSetLogBase, with the log's descriptor: a bit for each page of 4096 bytes from address 0 on.
struct LogDescription {
  std::uint64_t mmap_size = 0;
  std::uint64_t mmap_offset = 0;  ///< where it begins in its descriptor
};
static_assert(sizeof(LogDescription) == 16);

/// kGetConfig, its reply, and kSetConfig: `size` bytes follow.
struct ConfigHead {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(ConfigHead) == 12);
/// Of a device's configuration space, the most that a message has.
inline constexpr std::size_t kMaxConfig = 256;

/// kGetInflightFd and its reply, kSetInflightFd; the last two with the region's descriptor. Some
/// front ends send it without the padding at its end.
struct InflightDescription {
  std::uint64_t mmap_size = 0;
  std::uint64_t mmap_offset = 0;
  std::uint16_t num_queues = 0;
  std::uint16_t queue_size = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(InflightDescription) == 24);
inline constexpr std::size_t kInflightDescriptionBytes = 20;  ///< that mean something

/// kSetDeviceStateFd, with the front end's end of a pipe.
struct StateTransferStart {
  std::uint32_t direction = 0;  ///< kStateSave or kStateLoad
  std::uint32_t phase = 0;      ///< kStateWhileStopped
};
static_assert(sizeof(StateTransferStart) == 8);
inline constexpr std::uint32_t kStateSave = 0;  ///< to the front end
inline constexpr std::uint32_t kStateLoad = 1;
inline constexpr std::uint32_t kStateWhileStopped = 0;
// The answer to kSetDeviceStateFd, and to kCheckDeviceState: 0, or that it has failed. Of the
// former a descriptor comes with it, to be used in the place of the front end's, unless it says
// otherwise.
inline constexpr std::uint64_t kStateFailed = 1;
inline constexpr std::uint64_t kStateNoFd = 1U << 8;

// kSetVringKick, kSetVringCall, kSetVringErr: which ring, and that no descriptor comes with it.
inline constexpr std::uint64_t kVringIndexMask = 0xff;
inline constexpr std::uint64_t kVringNoFd = 1U << 8;

/// More than any message has behind its header, and descriptors beside it.
inline constexpr std::size_t kMaxPayload = 512;
inline constexpr std::size_t kMaxFds = kMaxRegions;

}  // namespace bellhop::vhost_user

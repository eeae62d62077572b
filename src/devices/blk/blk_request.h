#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/block_backend.h"
#include "virtio/abi/blk.h"
#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

/// Limits that a driver was told, against which its requests are checked.
inline constexpr std::uint32_t kBlkSegMax = 126;
/// What a driver of queues of `queue_size` is told: header, status and all segments must fit into
/// direct descriptors, too (virtio 1.3, 2.7.5.3.1). Taken are kBlkSegMax in an indirect table,
/// whatever smaller ring a driver sets up.
constexpr std::uint32_t blk_seg_max(std::uint16_t queue_size) noexcept {
  return queue_size < 4 ? 1U : std::min<std::uint32_t>(kBlkSegMax, queue_size - 2U);
}
static_assert(kBlkSegMax + 2 <= kMaxChainBuffers);
inline constexpr std::uint32_t kBlkMaxDiscardSegments = 16;
inline constexpr std::uint32_t kBlkMaxDiscardSectors = 1U << 22;  ///< 2 GiB in one segment
/// Zeroes may have to be written out, which takes its time, and whoever resets or pauses a disk
/// waits for what is under way.
inline constexpr std::uint32_t kBlkMaxWriteZeroesSegments = 1;
inline constexpr std::uint32_t kBlkMaxWriteZeroesSectors = 1U << 17;  ///< 64 MiB
/// How many requests to discard or to write zeroes a queue has under way; others stay in the ring.
inline constexpr std::uint32_t kBlkMaxLongRequests = 4;

/// What is to be done about a request, after everything in it was checked.
struct BlkPlan {
  enum class Kind : std::uint8_t {
    kIo,        ///< `op`, `offset`, `length` and the chain's data buffers
    kSegments,  ///< discard or write-zeroes: `segments`
    kGetId,
    kRefuse,  ///< answer `status` at once
    kDrop,    ///< no place for a status byte: give the chain back as it is
  } kind = Kind::kDrop;
  std::uint8_t status = virtio::kBlkStatusOk;
  BlockOp op = BlockOp::kRead;
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;  ///< bytes
  std::uint32_t segments = 0;
};

/// One step of a discard or write-zeroes request.
struct BlkRange {
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;
  bool may_unmap = false;
};

/// One request on its way through the device: the back end's part of it (`data` is the chain's
/// buffers less header and status byte) and its chain. Lives in a pool; `next_free` is the pool's.
/// What every request needs lies together, the beginning of the chain with it.
struct BlkRequest : BlockIo {
  GuestSpan status_byte;
  std::uint32_t written = 0;  ///< bytes of device-writable data on success
  bool flush_after = false;   ///< write through
  std::uint32_t range = 0;    ///< next of `ranges`
  std::uint32_t range_count = 0;
  bool is_long = false;  ///< one of kBlkMaxLongRequests
  class BlkQueue* owner = nullptr;
  BlkRequest* next_free = nullptr;
  DescriptorChain chain;
  std::array<BlkRange, kBlkMaxDiscardSegments> ranges;
};

/// What a request must keep to.
struct BlkRules {
  std::uint64_t capacity = 0;                             ///< bytes; the disk's now
  std::uint32_t logical_block = virtio::kBlkSectorBytes;  ///< bytes
  bool read_only = false;
  bool discard = false;  ///< negotiated
  bool write_zeroes = false;
};

/// Reads the header of `request.chain` (virtio 1.3, 5.2.6), checks it against the rules, cuts
/// header and status byte off the data buffers, and says what to do. Never trusts a byte twice.
/// Legacy framing is not assumed: header and data may share buffers.
BlkPlan parse_blk_request(BlkRequest& request, const BlkRules& rules) noexcept;

}  // namespace bellhop

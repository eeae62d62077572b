#include "devices/blk/blk_request.h"

namespace bellhop {

using namespace virtio;

namespace {

BlkPlan refuse(std::uint8_t status) noexcept {
  return {.kind = BlkPlan::Kind::kRefuse, .status = status};
}

/// Takes `bytes` off the front of a run of buffers in place. The run is known to be long enough.
std::span<GuestSpan> cut_front(std::span<GuestSpan> run, std::size_t bytes) noexcept {
  while (bytes != 0) {
    if (run.front().size() > bytes) {
      run.front() = run.front().part(bytes);
      return run;
    }
    bytes -= run.front().size();
    run = run.subspan(1);
  }
  return run;
}

/// Whether `length` bytes at `offset` lie on the disk.
bool on_disk(std::uint64_t offset, std::uint64_t length, std::uint64_t capacity) noexcept {
  return offset <= capacity && length <= capacity - offset;
}

/// Sector numbers over this overflow when counted in bytes.
constexpr std::uint64_t kSectorLimit = UINT64_MAX / kBlkSectorBytes;

BlkPlan plan_segments(BlkRequest& request, std::size_t data_offset, std::uint64_t data_bytes,
                      BlockOp op, const BlkRules& rules) noexcept {
  if (rules.read_only) return refuse(kBlkStatusIoError);
  const bool zeroes = op == BlockOp::kWriteZeroes;
  const std::uint32_t max_segments = zeroes ? kBlkMaxWriteZeroesSegments : kBlkMaxDiscardSegments;
  const std::uint32_t max_sectors = zeroes ? kBlkMaxWriteZeroesSectors : kBlkMaxDiscardSectors;
  if (data_bytes == 0 || data_bytes % sizeof(BlkDiscardSegment) != 0 ||
      data_bytes / sizeof(BlkDiscardSegment) > max_segments) {
    return refuse(kBlkStatusIoError);
  }
  const auto count = static_cast<std::uint32_t>(data_bytes / sizeof(BlkDiscardSegment));
  const BufferRun run(request.chain.readable());
  for (std::uint32_t i = 0; i < count; ++i) {
    std::array<std::byte, sizeof(BlkDiscardSegment)> raw{};
    run.copy_out(data_offset + i * raw.size(), raw);
    BlkDiscardSegment segment{};
    std::memcpy(&segment, raw.data(), raw.size());
    const bool unmap = (segment.flags & kBlkWriteZeroesUnmap) != 0;
    // 5.2.6.2: unknown flags, and unmap for a discard, are unsupported.
    if ((segment.flags & ~kBlkWriteZeroesUnmap) != 0 || (unmap && op == BlockOp::kDiscard)) {
      return refuse(kBlkStatusUnsupported);
    }
    const std::uint64_t length = std::uint64_t{segment.num_sectors} * kBlkSectorBytes;
    if (segment.num_sectors > max_sectors || segment.sector > kSectorLimit ||
        !on_disk(segment.sector * kBlkSectorBytes, length, rules.capacity) ||
        segment.sector * kBlkSectorBytes % rules.logical_block != 0 ||
        length % rules.logical_block != 0) {
      return refuse(kBlkStatusIoError);
    }
    request.ranges[i] = {segment.sector * kBlkSectorBytes, length, unmap};
  }
  return {.kind = BlkPlan::Kind::kSegments, .op = op, .segments = count};
}

}  // namespace

BlkPlan parse_blk_request(BlkRequest& request, const BlkRules& rules) noexcept {
  DescriptorChain& chain = request.chain;
  request.data = {};
  request.written = 0;

  // The status is the last writable byte, wherever its buffer begins (5.2.6, 2.7.4).
  if (chain.writable_bytes() == 0) return {};
  const GuestSpan last = chain.writable().back();
  request.status_byte = last.part(last.size() - 1);

  BlkRequestHeader header{};
  if (chain.readable_bytes() < sizeof(header)) return refuse(kBlkStatusIoError);
  // Nearly all drivers give it a buffer of its own.
  if (!chain.readable().front().load(0, header)) [[unlikely]] {
    BufferRun(chain.readable()).copy_out(0, std::as_writable_bytes(std::span(&header, 1)));
  }

  const std::uint64_t out_bytes = chain.readable_bytes() - sizeof(header);
  const std::uint64_t in_bytes = chain.writable_bytes() - 1U;

  switch (header.type) {
    case kBlkTypeIn:
    case kBlkTypeOut: {
      const bool write = header.type == kBlkTypeOut;
      if (write && rules.read_only) return refuse(kBlkStatusIoError);
      const std::uint64_t bytes = write ? out_bytes : in_bytes;
      // Data in the other direction has no meaning in these requests.
      if ((write ? in_bytes : out_bytes) != 0) return refuse(kBlkStatusIoError);
      if (header.sector > kSectorLimit) return refuse(kBlkStatusIoError);
      const std::uint64_t offset = header.sector * kBlkSectorBytes;
      if (bytes == 0 || bytes % rules.logical_block != 0 || offset % rules.logical_block != 0 ||
          !on_disk(offset, bytes, rules.capacity)) {
        return refuse(kBlkStatusIoError);
      }
      if (write) {
        request.data = cut_front(chain.readable(), sizeof(header));
      } else {
        std::span<GuestSpan> buffers = chain.writable();
        GuestSpan& end = buffers.back();
        end = end.part(0, end.size() - 1);
        request.data = end.empty() ? buffers.first(buffers.size() - 1) : buffers;
        request.written = static_cast<std::uint32_t>(bytes);
      }
      return {.kind = BlkPlan::Kind::kIo,
              .op = write ? BlockOp::kWrite : BlockOp::kRead,
              .offset = offset,
              .length = bytes};
    }
    case kBlkTypeFlush:
      if (rules.read_only) return refuse(kBlkStatusOk);
      return {.kind = BlkPlan::Kind::kIo, .op = BlockOp::kFlush};
    case kBlkTypeGetId:
      if (in_bytes == 0) return refuse(kBlkStatusIoError);
      return {.kind = BlkPlan::Kind::kGetId};
    case kBlkTypeDiscard:
      if (!rules.discard) return refuse(kBlkStatusUnsupported);
      return plan_segments(request, sizeof(header), out_bytes, BlockOp::kDiscard, rules);
    case kBlkTypeWriteZeroes:
      if (!rules.write_zeroes) return refuse(kBlkStatusUnsupported);
      return plan_segments(request, sizeof(header), out_bytes, BlockOp::kWriteZeroes, rules);
    default:
      return refuse(kBlkStatusUnsupported);
  }
}

}  // namespace bellhop

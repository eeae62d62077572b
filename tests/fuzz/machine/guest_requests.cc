// What the guest asks of its devices: chains of each kind's requests, some of which are wrong.
#include <array>
#include <mutex>
#include <shared_mutex>

#include "tests/fuzz/machine/guest.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"
#include "virtio/abi/vsock.h"

namespace bellhop::fuzz {

using namespace virtio;

std::vector<Guest::Piece> Guest::pieces(Kind kind, unsigned queue, Input& input) {
  // Buffers go round through the room that is set aside for them.
  const auto room = [&](std::uint32_t bytes) {
    if (buffers_used_ + bytes > GuestRam::kBufferBytes) buffers_used_ = 0;
    const std::uint64_t at = GuestRam::kBuffers + buffers_used_;
    buffers_used_ += (bytes + 63) & ~std::uint32_t{63};
    return at;
  };
  const auto readable = [&](std::span<const std::byte> bytes) {
    const std::uint64_t at = room(static_cast<std::uint32_t>(bytes.size()));
    shared_.ram.write(at, bytes);
    return Piece{at, static_cast<std::uint32_t>(bytes.size()), false};
  };
  const auto writable = [&](std::uint32_t bytes) { return Piece{room(bytes), bytes, true}; };
  const auto raw = [&](std::size_t bytes) {
    const auto part = input.bytes(bytes);
    return readable(std::as_bytes(part));
  };
  std::vector<Piece> chain;
  switch (kind) {
    case Kind::kBlk: {
      static constexpr std::uint32_t kTypes[] = {
          kBlkTypeIn,    kBlkTypeOut,     kBlkTypeIn,          kBlkTypeOut, kBlkTypeFlush,
          kBlkTypeGetId, kBlkTypeDiscard, kBlkTypeWriteZeroes, 0x55};
      BlkRequestHeader header{};
      header.type = input.pick(kTypes);
      header.sector = input.chance(8) ? value(input) : input.u8() * 4U;
      chain.push_back(readable(std::as_bytes(std::span(&header, 1))));
      if (header.type == kBlkTypeDiscard || header.type == kBlkTypeWriteZeroes) {
        BlkDiscardSegment segment{};
        segment.sector = input.chance(8) ? value(input) : input.u8();
        segment.num_sectors = input.chance(8) ? input.u32() : input.u8();
        segment.flags = input.chance(4) ? input.u8() : 0;
        chain.push_back(readable(std::as_bytes(std::span(&segment, 1))));
      } else if (header.type != kBlkTypeFlush) {
        for (unsigned i = 1 + input.below(4); i > 0; --i) {
          Piece piece = writable(input.chance(8) ? input.u16() : 512U << input.below(4));
          piece.device_writes = header.type != kBlkTypeOut;
          chain.push_back(piece);
        }
      }
      chain.push_back(writable(1));
      break;
    }
    case Kind::kNet:
      if (queue % 2 == 0) {
        if (input.chance(4)) {  // a control command, if this is the control queue
          const std::array<std::byte, 2> command{std::byte(input.below(7)),
                                                 std::byte(input.below(6))};
          chain = {readable(command), raw(input.below(40)), writable(1)};
        } else {
          chain = {writable(1600)};
          if (input.chance(4)) chain = {writable(12), writable(input.u16())};
        }
      } else {
        chain = {raw(12), writable(1U + input.u8() * 4U)};
        chain.back().device_writes = false;
      }
      break;
    case Kind::kRng:
      chain = {writable(input.chance(8) ? input.u16() : input.u8())};
      break;
    case Kind::kVsock:
      if (queue == kVsockQueueTx) {
        VsockHeader header;
        header.src_cid = input.chance(8) ? input.u8() : 3;
        header.dst_cid = input.chance(8) ? input.u8() : kVsockCidHost;
        header.src_port = input.below(4);
        header.dst_port = input.below(4);
        header.len = input.u8() * 8U;
        header.type = input.chance(8) ? input.u8() : kVsockTypeStream;
        header.op = static_cast<std::uint16_t>(input.below(9));
        header.flags = input.below(4);
        header.buf_alloc = input.chance(4) ? input.u32() : 65536;
        header.fwd_cnt = input.chance(4) ? input.u32() : 0;
        Piece payload = writable(input.chance(8) ? input.u8() : header.len);
        payload.device_writes = false;
        chain.push_back(readable(std::as_bytes(std::span(&header, 1))));
        if (payload.length != 0) chain.push_back(payload);
      } else {
        chain = {writable(44), writable(input.u8() * 16U)};
      }
      break;
    case Kind::kConsole:
      chain = {queue % 2 == 0 ? writable(1U + input.u8()) : raw(input.below(32))};
      break;
    case Kind::kBalloon:
      if (queue == 4) {
        chain = {writable(4096U << input.below(4))};
      } else {
        std::array<std::uint32_t, 8> pages{};
        // Pages of the buffers, mostly: the check's own stay.
        for (std::uint32_t& page : pages) {
          page = input.chance(8) ? input.u32() : (GuestRam::kBuffers >> 12) + input.u8();
        }
        chain = {readable(std::as_bytes(std::span(pages).first(1 + input.below(8))))};
      }
      break;
    case Kind::kFs:
      chain = {raw(40), writable(80)};
      break;
  }
  // And then some of it is wrong.
  if (input.chance(4) && !chain.empty()) {
    Piece& piece = chain[input.u8() % chain.size()];
    switch (input.below(5)) {
      case 0:
        piece.address = value(input);
        break;
      case 1:
        piece.length = static_cast<std::uint32_t>(value(input));
        break;
      case 2:
        piece.device_writes = !piece.device_writes;
        break;
      case 3:
        chain.push_back(piece);
        break;
      default:
        chain.pop_back();
        break;
    }
  }
  return chain;
}

void Guest::publish(const Layout& ring, std::span<const Piece> pieces, Input& input) {
  if (pieces.empty()) return;
  const std::uint8_t how = input.u8();
  const auto avail = shared_.ram.get<std::uint16_t>(ring.avail + kAvailIdxOffset);
  auto head = static_cast<std::uint16_t>(avail * 5U % ring.size);
  const auto describe = [&](std::uint64_t table, std::uint32_t first, std::uint32_t entries) {
    for (std::uint32_t i = 0; i < pieces.size(); ++i) {
      Desc desc{};
      desc.addr = pieces[i].address;
      desc.len = pieces[i].length;
      if (pieces[i].device_writes) desc.flags |= kDescWrite;
      if (i + 1 < pieces.size()) desc.flags |= kDescNext;
      desc.next = static_cast<std::uint16_t>((first + i + 1) % entries);
      shared_.ram.put(table + sizeof(Desc) * ((first + i) % entries), desc);
    }
  };
  if ((how & 3) == 0) {  // an indirect table
    const std::uint64_t table = GuestRam::kBuffers + GuestRam::kBufferBytes + head * 256U;
    describe(table, 0, 16);
    Desc desc{};
    desc.addr = table;
    desc.len = static_cast<std::uint32_t>(sizeof(Desc) * pieces.size());
    desc.flags = kDescIndirect;
    if ((how & 0xf8) == 0xf8) desc.len = input.u16();
    if ((how & 0xf8) == 0xf0) desc.flags = static_cast<std::uint16_t>(input.u8());
    shared_.ram.put(ring.desc + sizeof(Desc) * head, desc);
  } else {
    describe(ring.desc, head, ring.size);
  }
  if ((how & 0xfc) == 0xfc) head = input.u16();
  shared_.ram.put(ring.avail + kAvailRingOffset + 2U * (avail % ring.size), head);
  shared_.ram.put(ring.avail + kAvailIdxOffset, static_cast<std::uint16_t>(avail + 1));
}

void Guest::request(Input& input) {
  Target& one = target(input);
  const auto device = static_cast<unsigned>(&one - targets_.data());
  const unsigned queue = input.chance(2) ? input.below(kMaxQueues) : input.below(2);
  const Layout ring = layout(ring_at(device, queue), sizes_[device][queue]);
  for (unsigned i = input.chance(4) ? input.below(32) : 1; i > 0; --i) {
    const std::shared_lock<std::shared_mutex> hold(shared_.running);
    publish(ring, pieces(one.kind, queue, input), input);
  }
  if (input.chance(8)) return;
  probe(one);
  one.driver->kick(static_cast<std::uint16_t>(queue));
}

}  // namespace bellhop::fuzz

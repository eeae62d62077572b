// Rows 21 to 24 of the list of bad inputs: block requests.
#include "guest/scene.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

void offer_and_settle(Scene& scene) {
  scene.offer(0);
  scene.settle();
}

void header_short(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[0].len = 8;
  offer_and_settle(scene);
}

// Legal, if odd: framing is the driver's choice (2.7.4), so this one must be served.
void header_split(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[0] = {scene.header_address(), 5, kDescNext, 3};
  scene.desc()[3] = {scene.header_address() + 5, sizeof(BlkRequestHeader) - 5, kDescNext, 1};
  offer_and_settle(scene);
}

void header_writable(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[0].flags = kDescNext | kDescWrite;
  offer_and_settle(scene);
}

void status_missing(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[0].flags = 0;
  offer_and_settle(scene);
}

void status_read_only(Scene& scene) {
  scene.compose(kBlkTypeOut, 0);
  scene.header()->type = kBlkTypeFlush;
  scene.desc()[2].flags = 0;
  offer_and_settle(scene);
}

void sector_overflow(Scene& scene) {
  scene.compose(kBlkTypeIn, ~std::uint64_t{0} - 3);
  offer_and_settle(scene);
}

void sector_byte_overflow(Scene& scene) {
  scene.compose(kBlkTypeIn, std::uint64_t{1} << 55);  // 2^64 bytes
  offer_and_settle(scene);
}

void past_end(Scene& scene) {
  scene.compose(kBlkTypeIn, scene.disk()->capacity() / kBlkSectorBytes - 1);
  offer_and_settle(scene);
}

void write_past_end(Scene& scene) {
  scene.compose(kBlkTypeOut, scene.disk()->capacity() / kBlkSectorBytes);
  offer_and_settle(scene);
}

void not_a_sector(Scene& scene) {
  scene.compose(kBlkTypeIn, 0, 100);
  offer_and_settle(scene);
}

void compose_segments(Scene& scene, std::uint32_t type, std::uint64_t sector, std::uint32_t count,
                      std::uint32_t flags, std::uint32_t segments) {
  scene.compose(type, 0, segments * static_cast<std::uint32_t>(sizeof(BlkDiscardSegment)));
  auto* segment = reinterpret_cast<BlkDiscardSegment*>(scene.data());
  for (std::uint32_t i = 0; i < segments; ++i) segment[i] = {sector, count, flags};
}

void discard_overflow(Scene& scene) {
  compose_segments(scene, kBlkTypeDiscard, ~std::uint64_t{0} - 1, 8, 0, 1);
  offer_and_settle(scene);
}

void discard_past_end(Scene& scene) {
  compose_segments(scene, kBlkTypeDiscard, scene.disk()->capacity() / kBlkSectorBytes, 8, 0, 1);
  offer_and_settle(scene);
}

void discard_too_many(Scene& scene) {
  // Past the end, every one: a device that takes them must not get to the disk's data.
  compose_segments(scene, kBlkTypeDiscard, scene.disk()->capacity() / kBlkSectorBytes, 8, 0, 4096);
  offer_and_settle(scene);
}

void discard_flags(Scene& scene) {
  compose_segments(scene, kBlkTypeDiscard, scene.disk()->capacity() / kBlkSectorBytes - 8, 8,
                   0xfffffffe, 1);
  offer_and_settle(scene);
}

void discard_cut_short(Scene& scene) {
  compose_segments(scene, kBlkTypeDiscard, 0, 8, 0, 1);
  scene.desc()[1].len = 9;
  offer_and_settle(scene);
}

void zeroes_overflow(Scene& scene) {
  compose_segments(scene, kBlkTypeWriteZeroes, ~std::uint64_t{0} - 1, 0xffffffff, 0, 1);
  offer_and_settle(scene);
}

void zeroes_flags(Scene& scene) {
  compose_segments(scene, kBlkTypeWriteZeroes, scene.disk()->capacity() / kBlkSectorBytes - 8, 8,
                   0x80000002, 1);
  offer_and_settle(scene);
}

void unknown_type(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.header()->type = 0x7777;
  offer_and_settle(scene);
}

void short_id(Scene& scene) {
  scene.compose(kBlkTypeGetId, 0, 5);
  offer_and_settle(scene);
}

void write_read_only(Scene& scene) {
  if (!scene.disk()->has(kBlkFeatureReadOnly)) {
    scene.outcome().skipped = true;
    return;
  }
  scene.compose(kBlkTypeOut, 0);
  offer_and_settle(scene);
}

void read_into_read_only(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].flags = kDescNext;
  offer_and_settle(scene);
}

void write_from_writable(Scene& scene) {
  scene.compose(kBlkTypeIn, scene.disk()->capacity() / kBlkSectorBytes - 8);
  scene.header()->type = kBlkTypeOut;
  offer_and_settle(scene);
}

}  // namespace

const HostileCase kHostileBlock[] = {
    {"header-short", 21, header_short},
    {"header-split", 21, header_split},
    {"header-writable", 21, header_writable},
    {"status-missing", 21, status_missing},
    {"status-read-only", 21, status_read_only},
    {"sector-overflow", 22, sector_overflow},
    {"sector-byte-overflow", 22, sector_byte_overflow},
    {"past-end", 22, past_end},
    {"write-past-end", 22, write_past_end},
    {"not-a-sector", 22, not_a_sector},
    {"discard-overflow", 23, discard_overflow},
    {"discard-past-end", 23, discard_past_end},
    {"discard-too-many", 23, discard_too_many},
    {"discard-flags", 23, discard_flags},
    {"discard-cut-short", 23, discard_cut_short},
    {"zeroes-overflow", 23, zeroes_overflow},
    {"zeroes-flags", 23, zeroes_flags},
    {"unknown-type", 24, unknown_type},
    {"short-id", 24, short_id},
    {"write-read-only", 24, write_read_only},
    {"read-into-read-only", 24, read_into_read_only},
    {"write-from-writable", 24, write_from_writable},
    {nullptr, 0, nullptr},
};

}  // namespace bellhop::guest

// Rows 1 to 11 of the list of bad inputs: the ring and its descriptors.
#include "guest/memory.h"
#include "guest/scene.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

void offer_and_settle(Scene& scene, std::uint16_t head = 0) {
  scene.offer(head);
  scene.settle();
}

void avail_jump(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  RingVandal ring = scene.ring();
  for (std::uint16_t i = 0; i < Scene::kQueueSize; ++i) ring.set_avail_entry(i, 0);
  ring.set_avail_index(Scene::kQueueSize + 5);
  scene.queue()->kick();
  scene.settle();
}

void same_head(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  RingVandal ring = scene.ring();
  for (std::uint16_t i = 0; i < 8; ++i) ring.set_avail_entry(i, 0);
  ring.set_avail_index(8);
  scene.queue()->kick();
  scene.settle();
}

void head_out_of_range(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  offer_and_settle(scene, Scene::kQueueSize);
}

void head_far_out_of_range(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  offer_and_settle(scene, 0xffff);
}

void next_out_of_range(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].next = Scene::kQueueSize + 7;
  offer_and_settle(scene);
}

void cycle(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].next = 1;
  offer_and_settle(scene);
}

void long_cycle(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  for (std::uint16_t i = 1; i < Scene::kQueueSize; ++i) {
    scene.desc()[i] = {scene.data_address(), 512, kDescNext | kDescWrite,
                       static_cast<std::uint16_t>(i + 1)};
  }
  scene.desc()[Scene::kQueueSize - 1].next = 0;
  offer_and_settle(scene);
}

void total_over_4g(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  for (std::uint16_t i = 1; i < 4; ++i) {
    scene.desc()[i] = {scene.data_address(), 0x80000000U, kDescNext | kDescWrite,
                       static_cast<std::uint16_t>(i + 1)};
  }
  scene.desc()[4] = {scene.status_address(), 1, kDescWrite, 0};
  offer_and_settle(scene);
}

// An indirect table that holds an honest request; the deeds spoil it from there.
Desc* compose_indirect(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  for (std::uint16_t i = 0; i < 3; ++i) scene.table()[i] = scene.desc()[i];
  scene.desc()[0] = {scene.table_address(), 3 * sizeof(Desc), kDescIndirect, 0};
  return scene.table();
}

void indirect_empty(Scene& scene) {
  compose_indirect(scene);
  scene.desc()[0].len = 0;
  offer_and_settle(scene);
}

void indirect_odd(Scene& scene) {
  compose_indirect(scene);
  scene.desc()[0].len = 3 * sizeof(Desc) - 8;
  offer_and_settle(scene);
}

void indirect_huge(Scene& scene) {
  compose_indirect(scene);
  scene.desc()[0].len = 0xfffffff0U;
  offer_and_settle(scene);
}

void indirect_nested(Scene& scene) {
  Desc* table = compose_indirect(scene);
  table[1] = {scene.table_address(), 3 * sizeof(Desc), kDescIndirect | kDescNext, 2};
  offer_and_settle(scene);
}

void indirect_next(Scene& scene) {
  compose_indirect(scene);
  scene.desc()[0].flags = kDescIndirect | kDescNext;
  scene.desc()[0].next = 1;
  offer_and_settle(scene);
}

void indirect_past_ram(Scene& scene) {
  compose_indirect(scene);
  scene.desc()[0].addr = ram_end() - sizeof(Desc);
  offer_and_settle(scene);
}

void indirect_loop(Scene& scene) {
  Desc* table = compose_indirect(scene);
  table[1].next = 1;
  offer_and_settle(scene);
}

void address_wraps(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = ~std::uint64_t{0} - 511;
  offer_and_settle(scene);
}

void buffer_straddles_end(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = ram_end() - 512;
  offer_and_settle(scene);
}

void buffer_in_hole(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = ram_end() + 0x10000000;
  offer_and_settle(scene);
}

void header_in_hole(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[0].addr = ram_end() + 0x10000000;
  offer_and_settle(scene);
}

void status_in_hole(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[2].addr = ram_end() + 0x10000000;
  offer_and_settle(scene);
}

// At the notification register of the device itself: DMA that would ring it again.
void buffer_on_registers(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = scene.queue()->notifier().address & ~std::uint64_t{0xfff};
  offer_and_settle(scene);
}

void buffer_on_ring(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = reinterpret_cast<std::uint64_t>(scene.desc()) & ~std::uint64_t{511};
  offer_and_settle(scene);
}

void buffer_on_used(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].addr = scene.ring().used_address() & ~std::uint64_t{511};
  offer_and_settle(scene);
}

void zero_length(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1].len = 0;
  offer_and_settle(scene);
}

void all_zero_length(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  for (std::uint16_t i = 0; i < 3; ++i) scene.desc()[i].len = 0;
  offer_and_settle(scene);
}

void writable_first(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  scene.desc()[1] = {scene.header_address(), sizeof(BlkRequestHeader), kDescNext, 2};
  scene.desc()[0] = {scene.data_address(), Scene::kDataBytes, kDescNext | kDescWrite, 1};
  offer_and_settle(scene);
}

void event_garbage(Scene& scene) {
  // Honest requests, dishonest features: every answer must still come.
  RingVandal ring = scene.ring();
  std::uint32_t answered = 0;
  for (std::uint16_t i = 0; i < 64; ++i) {
    ring.set_used_event(static_cast<std::uint16_t>(i * 0x9e37));
    ring.set_avail_flags(static_cast<std::uint16_t>(i * 0x3d));
    if (scene.read_works()) ++answered;
  }
  ring.set_avail_flags(0);
  scene.settle();
  scene.outcome().answered = answered;
}

}  // namespace

const HostileCase kHostileRing[] = {
    {"avail-jump", 1, avail_jump},
    {"same-head", 2, same_head},
    {"head-out-of-range", 3, head_out_of_range},
    {"head-far-out-of-range", 3, head_far_out_of_range},
    {"next-out-of-range", 3, next_out_of_range},
    {"cycle", 4, cycle},
    {"long-cycle", 4, long_cycle},
    {"total-over-4g", 5, total_over_4g},
    {"indirect-empty", 6, indirect_empty},
    {"indirect-odd", 6, indirect_odd},
    {"indirect-huge", 6, indirect_huge},
    {"indirect-nested", 6, indirect_nested},
    {"indirect-next", 6, indirect_next},
    {"indirect-past-ram", 6, indirect_past_ram},
    {"indirect-loop", 6, indirect_loop},
    {"address-wraps", 7, address_wraps},
    {"buffer-straddles-end", 7, buffer_straddles_end},
    {"buffer-in-hole", 7, buffer_in_hole},
    {"header-in-hole", 7, header_in_hole},
    {"status-in-hole", 7, status_in_hole},
    {"buffer-on-registers", 8, buffer_on_registers},
    {"buffer-on-ring", 8, buffer_on_ring},
    {"buffer-on-used", 8, buffer_on_used},
    {"zero-length", 9, zero_length},
    {"all-zero-length", 9, all_zero_length},
    {"writable-first", 9, writable_first},
    {"event-garbage", 11, event_garbage},
    {nullptr, 0, nullptr},
};

}  // namespace bellhop::guest

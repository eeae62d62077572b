#include "virtio/ring/inflight_packed.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace bellhop {

using namespace virtio;

namespace {

tl::unexpected<Error> damaged() { return fail("what is noted of requests in flight is damaged"); }

}  // namespace

Result<InflightPacked::Recovered> InflightPacked::recover(const InflightQueue& queue,
                                                          std::uint16_t size, RingState state,
                                                          const FlagsAt& flags_at) {
  if (size > queue.entries) {
    return fail(fmt::format("requests in flight are noted for rings of {} descriptors, not {}",
                            queue.entries, size));
  }
  auto& head = *static_cast<InflightPackedHead*>(queue.bytes.as_iovec().iov_base);
  Recovered found{InflightPacked(head, queue.entries), state, {}};
  InflightPacked& self = found.inflight;
  if (get_inflight(head.version) == 0) {
    if (state.next_used >= size) {
      return fail(fmt::format("a ring of {} cannot go on at {}", size, state.next_used));
    }
    self.begin(state);
    return found;
  }
  if (auto right = self.check_head(size); !right) return forward(right);
  self.finish_batch(flags_at);
  const auto free = self.read_free_list();
  if (!free) return forward(free);

  // What is in no list is a chain's, each descriptor of one chain.
  std::vector<bool> listed = *free;
  std::uint32_t slots = 0;
  for (std::uint16_t entry = 0; entry < queue.entries; ++entry) {
    if ((*free)[entry] || get_inflight(self.desc_[entry].inflight) == 0) continue;
    InflightChain chain{
        .counter = get_inflight(self.desc_[entry].counter), .entry = entry, .descs = {}};
    const std::uint16_t num = get_inflight(self.desc_[entry].num);
    std::uint16_t at = entry;
    for (std::uint16_t i = 0; i < num; ++i) {
      if (at >= queue.entries || listed[at]) return damaged();
      listed[at] = true;
      InflightPackedDesc& desc = self.desc_[at];
      chain.descs.push_back({.addr = get_inflight(desc.addr),
                             .len = get_inflight(desc.len),
                             .id = get_inflight(desc.id),
                             .flags = get_inflight(desc.flags)});
      self.last_[entry] = at;
      at = self.next_[at] = get_inflight(desc.next);
    }
    slots += num;
    if (num == 0 || slots > size) return damaged();
    self.counter_ = std::max(self.counter_, chain.counter + 1);
    found.again.push_back(std::move(chain));
  }
  if (std::ranges::find(listed, false) != listed.end()) return damaged();
  std::ranges::sort(found.again, {}, &InflightChain::counter);
  // The chains that are taken again bring the ring to where the next one is, whatever the front end
  // believes.
  found.state.next_used = found.state.next_avail = self.used_.idx;
  found.state.used_wrap = found.state.avail_wrap = self.used_.wrap != 0;
  return found;
}

/// A region that says nothing.
void InflightPacked::begin(const RingState& state) noexcept {
  for (std::size_t i = 0; i < next_.size(); ++i) {
    next_[i] = static_cast<std::uint16_t>(i + 1);
    set_inflight(desc_[i].inflight, 0);
    set_inflight(desc_[i].next, next_[i]);
  }
  set_inflight(head_->features, 0);
  set_inflight(head_->desc_num, static_cast<std::uint16_t>(next_.size()));
  set_free();
  used_ = {.idx = state.next_used,
           .old_idx = state.next_used,
           .wrap = state.used_wrap ? std::uint8_t{1} : std::uint8_t{0},
           .old_wrap = state.used_wrap ? std::uint8_t{1} : std::uint8_t{0},
           .padding = {}};
  set_used();
  set_inflight(head_->version, kInflightVersion);
}

Status InflightPacked::check_head(std::uint16_t size) const {
  if (get_inflight(head_->version) != kInflightVersion || get_inflight(head_->features) != 0 ||
      get_inflight(head_->desc_num) != next_.size()) {
    return fail(fmt::format("requests in flight are noted by version {}, features {:#x}, for {}",
                            get_inflight(head_->version), get_inflight(head_->features),
                            get_inflight(head_->desc_num)));
  }
  const auto used = std::bit_cast<InflightPackedUsed>(get_inflight(head_->used));
  if (used.idx >= size || used.old_idx >= size || used.wrap > 1 || used.old_wrap > 1) {
    return damaged();
  }
  return {};
}

/// Goes on with what was shown of the last batch, or takes it back.
void InflightPacked::finish_batch(const FlagsAt& flags_at) noexcept {
  free_ = std::bit_cast<InflightPackedFree>(get_inflight(head_->free));
  used_ = std::bit_cast<InflightPackedUsed>(get_inflight(head_->used));
  const bool under_way = used_.idx != used_.old_idx || used_.wrap != used_.old_wrap;
  if (under_way && !packed_is_available(flags_at(used_.old_idx), used_.old_wrap != 0)) {
    free_.old_head = free_.head;
    used_.old_idx = used_.idx;
    used_.old_wrap = used_.wrap;
  } else {
    free_.head = free_.old_head;
    used_.idx = used_.old_idx;
    used_.wrap = used_.old_wrap;
  }
  // In this order: while the used index is ahead, all of this is done again.
  set_free();
  set_used();
}

/// Which entries are free: none of them is in flight.
Result<std::vector<bool>> InflightPacked::read_free_list() noexcept {
  const std::size_t entries = next_.size();
  std::vector<bool> free(entries, false);
  copying_ = free_.head;
  for (std::uint16_t one = free_.head; one < entries;) {
    if (free[one]) return damaged();
    free[one] = true;
    set_inflight(desc_[one].inflight, 0);
    one = next_[one] = get_inflight(desc_[one].next);
  }
  return free;
}

void InflightPacked::put_back(std::uint16_t entry) noexcept {
  link_free(entry);
  free_ = {.head = entry, .old_head = entry};
  set_free();
  set_inflight(desc_[entry].inflight, 0);
}

}  // namespace bellhop

#include "virtio/ring/inflight_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bellhop {

Result<InflightSplit::Recovered> InflightSplit::recover(const InflightQueue& queue,
                                                        std::uint16_t size, RingState state,
                                                        std::uint16_t used_idx) {
  if (size > queue.entries) {
    return fail(fmt::format("requests in flight are noted for rings of {} entries, not {}",
                            queue.entries, size));
  }
  auto& head = *static_cast<InflightSplitHead*>(queue.bytes.as_iovec().iov_base);
  Recovered found{InflightSplit(head, size), state, {}};
  InflightSplit& self = found.inflight;
  found.state.next_used = used_idx;
  const std::uint16_t version = get_inflight(head.version);
  if (version == 0) {
    self.begin(queue.entries, used_idx);
    return found;
  }
  if (version != kInflightVersion || get_inflight(head.features) != 0 ||
      get_inflight(head.desc_num) != queue.entries) {
    return fail(fmt::format("requests in flight are noted by version {}, features {:#x}, for {}",
                            version, get_inflight(head.features), get_inflight(head.desc_num)));
  }
  self.last_ = get_inflight(head.last_batch_head);
  self.finish_batch(queue.entries, used_idx);

  std::vector<std::pair<std::uint64_t, std::uint16_t>> in_flight;
  for (std::uint16_t i = 0; i < queue.entries; ++i) {
    if (get_inflight(self.desc_[i].inflight) == 0) continue;
    if (i >= size) {
      self.put_back(i);  // no head of this ring
      continue;
    }
    const std::uint64_t counter = get_inflight(self.desc_[i].counter);
    in_flight.emplace_back(counter, i);
    self.counter_ = std::max(self.counter_, counter + 1);
  }
  std::ranges::sort(in_flight);
  for (const auto& [counter, one] : in_flight) found.again.push_back(one);
  // Every chain that was taken is in flight or used; so the next one is known, whatever the front
  // end believes. The chains that are taken again bring the ring there.
  found.state.next_avail = used_idx;
  return found;
}

/// A region that says nothing. used_idx is the ring's, or the first batch would be as large as all
/// that the ring has ever done.
void InflightSplit::begin(std::uint16_t entries, std::uint16_t used_idx) noexcept {
  for (std::uint16_t i = 0; i < entries; ++i) set_inflight(desc_[i].inflight, 0);
  set_inflight(head_->features, 0);
  set_inflight(head_->desc_num, entries);
  set_inflight(head_->last_batch_head, 0);
  set_inflight(head_->used_idx, used_idx);
  set_inflight(head_->version, kInflightVersion);
}

/// The last batch was shown, but not noted as done.
void InflightSplit::finish_batch(std::uint16_t entries, std::uint16_t used_idx) noexcept {
  const auto batch = static_cast<std::uint16_t>(used_idx - get_inflight(head_->used_idx));
  if (batch == 0) return;
  if (batch <= entries) {
    std::uint16_t one = last_;
    for (std::uint16_t i = 0; i < batch && one < entries; ++i) {
      set_inflight(desc_[one].inflight, 0);
      one = get_inflight(desc_[one].next);
    }
  } else {
    // No batch is that large: the driver has laid the ring out anew, and knows of nothing in
    // flight.
    for (std::uint16_t i = 0; i < entries; ++i) set_inflight(desc_[i].inflight, 0);
  }
  set_inflight(head_->used_idx, used_idx);
}

}  // namespace bellhop

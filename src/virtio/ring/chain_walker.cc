#include "virtio/ring/chain_walker.h"

namespace bellhop {

using namespace virtio;

bool ChainWalker::add_table(std::uint64_t address, std::uint32_t length) noexcept {
  // 2.7.5.3.1: a whole number of entries.
  if (length == 0 || length % sizeof(Desc) != 0) return false;
  const auto table = memory_.span(GuestAddress(address), length);
  if (!table) return false;
  const std::uint32_t entries = length / std::uint32_t{sizeof(Desc)};
  std::uint32_t index = 0;
  while (true) {
    Desc desc{};
    if (index >= entries || !table->load(std::size_t{index} * sizeof(Desc), desc)) return false;
    // Not nested. A loop ends at the limit of buffers.
    if ((desc.flags & kDescIndirect) != 0) return false;
    if (!add(desc.addr, desc.len, (desc.flags & kDescWrite) != 0)) return false;
    if ((desc.flags & kDescNext) == 0) return true;
    index = desc.next;
  }
}

void ChainWalker::keep_only(std::uint64_t address, std::uint32_t length) noexcept {
  chain_.readable_ = 0;
  chain_.writable_ = 0;
  bytes_ = 0;
  readable_bytes_ = 0;
  if (length != 0) (void)add(address, length, true);
  finish();
}

}  // namespace bellhop

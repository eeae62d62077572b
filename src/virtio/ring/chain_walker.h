#pragma once

#include <cstdint>

#include "memory/guest_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

/// Collects the buffers of one chain from its descriptors and checks them (virtio 1.3, 2.7.4,
/// 2.7.5, 2.8.5 to 2.8.7): all that does not depend on how the ring itself is laid out.
///
/// A chain has at most kMaxChainBuffers buffers, whatever the size of its ring: an indirect table
/// may hold more entries than the ring, as Linux does and 2.7.5.3.1 forbids. Every buffer is copied
/// out and bounds-checked; together they stay below 2^32 bytes.
///
/// On the path of every request: all is inlined, the sums stay in registers, and the chain is told
/// them by end().
class ChainWalker {
 public:
  ChainWalker(const GuestMemory& memory, DescriptorChain& chain) noexcept
      : memory_(memory), chain_(chain) {}

  /// The chain's next buffer. False: the chain is malformed.
  [[nodiscard, gnu::always_inline]] bool add(std::uint64_t address, std::uint32_t length,
                                             bool writable) noexcept {
    if (length == 0 || count_ == kMaxChainBuffers) return false;
    const auto buffer = memory_.span(GuestAddress(address), length);
    if (!buffer) return false;
    bytes_ += length;
    if (bytes_ > UINT32_MAX) return false;
    chain_.buffers_[count_] = *buffer;
    if (!writable) {
      if (readable_ != count_) return false;  // 2.7.4.2, 2.8.17: readable ones come first
      ++readable_;
      readable_bytes_ = bytes_;
    }
    ++count_;
    return true;
  }
  /// It was the last one.
  [[gnu::always_inline]] void end() noexcept {
    chain_.readable_ = static_cast<std::uint16_t>(readable_);
    chain_.writable_ = static_cast<std::uint16_t>(count_ - readable_);
    chain_.readable_bytes_ = static_cast<std::uint32_t>(readable_bytes_);
    chain_.writable_bytes_ = static_cast<std::uint32_t>(bytes_ - readable_bytes_);
  }

  /// Follows the links of a split ring from entry `index` of `table`. A chain that comes back to
  /// where it was ends at kMaxChainBuffers. False: the chain is malformed.
  [[gnu::always_inline]] static bool walk(const GuestMemory& memory, GuestSpan table,
                                          std::uint32_t index, bool indirect,
                                          DescriptorChain& chain) noexcept {
    using namespace virtio;
    ChainWalker buffers(memory, chain);
    bool may_be_indirect = indirect;
    while (true) {
      Desc desc{};
      if (!table.load(std::size_t{index} * sizeof(Desc), desc)) return false;
      if ((desc.flags & kDescIndirect) != 0) {
        // 2.7.5.3.1: not nested, not with NEXT, a whole number of entries. Direct descriptors may
        // come before it (2.7.5.3.2).
        if (!may_be_indirect || (desc.flags & kDescNext) != 0) return false;
        if (desc.len == 0 || desc.len % sizeof(Desc) != 0) return false;
        const auto found = memory.span(GuestAddress(desc.addr), desc.len);
        if (!found) return false;
        table = *found;
        index = 0;
        may_be_indirect = false;
        continue;
      }
      if (!buffers.add(desc.addr, desc.len, (desc.flags & kDescWrite) != 0)) return false;
      if ((desc.flags & kDescNext) == 0) break;
      index = desc.next;
    }
    buffers.end();
    return true;
  }

  /// A malformed chain: only `last`, its last buffer, is left if it is not empty.
  static void keep_only(GuestSpan last, DescriptorChain& chain) noexcept {
    chain.readable_ = 0;
    chain.readable_bytes_ = 0;
    chain.writable_ = last.empty() ? 0 : 1;
    chain.writable_bytes_ = static_cast<std::uint32_t>(last.size());
    if (!last.empty()) chain.buffers_[0] = last;
  }

 private:
  const GuestMemory& memory_;
  DescriptorChain& chain_;
  std::size_t count_ = 0;     ///< buffers
  std::size_t readable_ = 0;  ///< of them
  std::uint64_t bytes_ = 0;
  std::uint64_t readable_bytes_ = 0;
};

}  // namespace bellhop

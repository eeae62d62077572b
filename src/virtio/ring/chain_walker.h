#pragma once

#include <cstdint>

#include "memory/guest_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

/// Collects the buffers of one chain from its descriptors, direct and indirect, and checks them:
/// all that does not depend on how the ring itself is laid out (virtio 1.3, 2.7.4, 2.7.5, 2.8.6).
///
/// A chain has at most kMaxChainBuffers buffers, whatever the size of its ring: an indirect table
/// may hold more entries than the ring, as Linux does and 2.7.5.3.1 forbids. Every buffer is copied
/// out and bounds-checked; together they stay below 2^32 bytes.
class ChainWalker {
 public:
  ChainWalker(const GuestMemory& memory, DescriptorChain& chain) noexcept
      : memory_(memory), chain_(chain) {
    chain_.readable_ = 0;
    chain_.writable_ = 0;
  }

  /// One direct or indirect buffer. False: the chain is malformed.
  bool add(std::uint64_t address, std::uint32_t length, bool device_writes) noexcept {
    const std::size_t count = std::size_t{chain_.readable_} + chain_.writable_;
    if (length == 0 || count == kMaxChainBuffers) return false;
    const auto buffer = memory_.span(GuestAddress(address), length);
    if (!buffer) return false;
    bytes_ += length;
    if (bytes_ > UINT32_MAX) return false;
    chain_.buffers_[count] = *buffer;
    if (device_writes) {
      ++chain_.writable_;
    } else {
      if (chain_.writable_ != 0) return false;  // 2.7.4.2: readable ones come first
      ++chain_.readable_;
      readable_bytes_ = bytes_;
    }
    return true;
  }
  /// All buffers of an indirect table, the chain's last descriptor.
  bool add_table(std::uint64_t address, std::uint32_t length) noexcept;
  void finish() noexcept {
    chain_.readable_bytes_ = static_cast<std::uint32_t>(readable_bytes_);
    chain_.writable_bytes_ = static_cast<std::uint32_t>(bytes_ - readable_bytes_);
  }
  /// A malformed chain: only its last buffer is left, if that can be found and the device may write
  /// it. It is where many devices answer.
  void keep_only(std::uint64_t address, std::uint32_t length) noexcept;

 private:
  const GuestMemory& memory_;
  DescriptorChain& chain_;
  std::uint64_t bytes_ = 0;
  std::uint64_t readable_bytes_ = 0;
};

}  // namespace bellhop

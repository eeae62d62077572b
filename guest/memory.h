#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

// Memory as the VMM described it (PVH start info), handed out once and never freed, and touched
// only when it is used: each first touch of a page costs the host a fault.
namespace bellhop::guest {

/// Reads the start info at `address`: memory map and command line. False if it is not one.
bool memory_init(std::uint64_t start_info);

/// `bytes` of RAM below 4 GiB, zero as the VMM left it; null when there is not enough.
/// `alignment` is a power of two. Only the boot processor may call it.
void* allocate(std::size_t bytes, std::size_t alignment);

template <typename T>
T* allocate_array(std::size_t count, std::size_t alignment = 64) {
  return static_cast<T*>(allocate(count * sizeof(T), alignment));
}

/// A new T, or null.
template <typename T>
T* make() {
  void* at = allocate(sizeof(T), alignof(T) < 64 ? 64 : alignof(T));
  return at == nullptr ? nullptr : new (at) T;
}

/// Bytes of RAM in the memory map, and the first address after the last RAM region.
std::uint64_t ram_bytes();
std::uint64_t ram_end();

/// Makes [address, address + bytes) accessible at its own address when it lies above the 4 GiB
/// that boot maps; false when it is beyond the 512 GiB that the tables can reach.
bool map_device(std::uint64_t address, std::uint64_t bytes);

}  // namespace bellhop::guest

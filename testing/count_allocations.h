#pragma once

#include <cstdlib>
#include <new>

#include "testing/allocation_counter.h"

/// Counts every allocation of the program that includes this: to be included in one file of it, by
/// tests that prove a path to be free of allocations.
// Not inlined: the compiler would see malloc() paired with delete.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(bytes)) return memory;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

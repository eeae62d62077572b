// Any bytes as a kernel: the loader refuses them or stays within guest RAM.
#include <array>
#include <cstddef>
#include <cstdint>

#include "machine/boot/kernel_boot.h"
#include "machine/boot/memory_layout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bellhop;
  static const GuestMemory memory = [] {
    const auto regions = ram_layout(4U << 20U);
    return std::move(*GuestMemory::create(*regions));
  }();
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  KernelBoot boot;
  boot.kernel = "fuzz";
  boot.cmdline = "fuzz";
  (void)load_kernel_image(memory, boot, bytes, {}).has_value();
  (void)load_kernel_image(memory, boot, bytes, bytes).has_value();
  return 0;
}

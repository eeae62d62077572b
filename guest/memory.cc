#include "guest/memory.h"

#include "guest/cmdline.h"
#include "guest/cpu.h"

extern "C" {
extern char image_end[];
extern std::uint64_t page_directory_pointers[512];
}

namespace bellhop::guest {
namespace {

constexpr std::uint32_t kStartMagic = 0x336ec578;
constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kTwoMiB = std::uint64_t{1} << 21;
constexpr std::uint32_t kRam = 1;

// hvm_start_info and its memory map, version 1, as the PVH boot protocol lays them out.
struct StartInfo {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t flags;
  std::uint32_t module_count;
  std::uint64_t modules;
  std::uint64_t cmdline;
  std::uint64_t rsdp;
  std::uint64_t memory_map;
  std::uint32_t memory_map_entries;
  std::uint32_t reserved;
};
struct MemoryMapEntry {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint32_t type;
  std::uint32_t reserved;
};

constinit std::uint64_t next = 0;
constinit std::uint64_t limit = 0;
constinit std::uint64_t total = 0;
constinit std::uint64_t end = 0;

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace

bool memory_init(std::uint64_t start_info) {
  const auto* info = reinterpret_cast<const StartInfo*>(start_info);
  if (info == nullptr || info->magic != kStartMagic || info->version < 1) return false;
  cmdline_copy(reinterpret_cast<const char*>(info->cmdline));
  const auto* map = reinterpret_cast<const MemoryMapEntry*>(info->memory_map);
  const auto image = reinterpret_cast<std::uint64_t>(image_end);
  for (std::uint32_t i = 0; i < info->memory_map_entries; ++i) {
    if (map[i].type != kRam) continue;
    const std::uint64_t first = map[i].address;
    const std::uint64_t last = first + map[i].bytes;
    total += map[i].bytes;
    if (last > end) end = last;
    // The largest region above 1 MiB that boot's page tables reach.
    const std::uint64_t usable_last = last < kFourGiB ? last : kFourGiB;
    std::uint64_t usable = first < kTwoMiB ? kTwoMiB : first;
    if (usable < image && image < usable_last) usable = image;
    usable = align_up(usable, 4096);
    if (usable < usable_last && usable_last - usable > limit - next) {
      next = usable;
      limit = usable_last;
    }
  }
  return limit > next;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  const std::uint64_t at = align_up(next, alignment);
  if (at > limit || bytes > limit - at) return nullptr;
  next = at + bytes;
  return reinterpret_cast<void*>(at);
}

std::uint64_t ram_bytes() { return total; }
std::uint64_t ram_end() { return end; }

bool map_device(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t last = address + bytes;
  if (last < address || last > 512 * kGiB) return false;
  for (std::uint64_t at = address & ~(kTwoMiB - 1); at < last; at += kTwoMiB) {
    if (at < kFourGiB) continue;
    std::uint64_t& pointer = page_directory_pointers[at / kGiB];
    if (pointer == 0) {
      void* directory = allocate(4096, 4096);
      if (directory == nullptr) return false;
      pointer = reinterpret_cast<std::uint64_t>(directory) + 0x67;
    }
    auto* directory = reinterpret_cast<std::uint64_t*>(pointer & ~std::uint64_t{0xfff});
    directory[(at % kGiB) / kTwoMiB] = at + 0xe7;
  }
  return true;
}

}  // namespace bellhop::guest

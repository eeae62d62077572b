#include "machine/boot/start_info.h"

#include <algorithm>
#include <span>

#include "machine/boot/pvh_loader.h"

namespace bellhop {
namespace {

constexpr std::uint32_t kMagic = 0x336ec578;  // "xEn3" with the top bit of the E set
constexpr std::uint32_t kVersion = 1;

// The PVH boot protocol's structures, little-endian, as they lie in guest memory.
struct StartInfo {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t flags = 0;
  std::uint32_t module_count = 0;
  std::uint64_t modules = 0;
  std::uint64_t cmdline = 0;
  std::uint64_t rsdp = 0;
  std::uint64_t memory_map = 0;
  std::uint32_t memory_map_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct Module {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  std::uint64_t cmdline = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(Module) == 32);

struct MapEntry {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(MapEntry) == 24);

// Fills the room from its start, each thing aligned to 8.
class Room {
 public:
  explicit Room(const GuestMemory& memory) : memory_(memory) {}

  std::uint64_t put(std::span<const std::byte> bytes) {
    const std::uint64_t address = next_;
    if (bytes.size() > kPvhInfoEnd - next_ || !memory_.write(GuestAddress(address), bytes)) {
      full_ = true;
      return 0;
    }
    next_ = std::min((next_ + bytes.size() + 7) / 8 * 8, kPvhInfoEnd);
    return address;
  }
  [[nodiscard]] bool full() const { return full_; }

 private:
  const GuestMemory& memory_;
  std::uint64_t next_ = kPvhInfoBegin;
  bool full_ = false;
};

}  // namespace

Result<GuestAddress> write_start_info(const GuestMemory& memory, const StartInfoContent& content) {
  Room room(memory);
  StartInfo info;
  std::vector<MapEntry> map;
  for (const MapRange& range : make_memory_map(memory, content.reserved)) {
    map.push_back({range.address, range.size, range.type, 0});
  }
  info.memory_map = room.put(std::as_bytes(std::span(map)));
  info.memory_map_entries = static_cast<std::uint32_t>(map.size());
  if (content.module.size != 0) {
    const Module module{content.module.address, content.module.size, 0, 0};
    info.modules = room.put(std::as_bytes(std::span(&module, 1)));
    info.module_count = 1;
  }
  info.cmdline =
      room.put(std::as_bytes(std::span(content.cmdline.c_str(), content.cmdline.size() + 1)));
  info.rsdp = content.rsdp;
  const std::uint64_t address = room.put(std::as_bytes(std::span(&info, 1)));
  if (room.full()) return fail("the boot information does not fit below the kernel");
  return GuestAddress(address);
}

}  // namespace bellhop

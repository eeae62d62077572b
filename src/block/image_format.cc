#include "block/image_format.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>

namespace bellhop {

namespace {

struct Mark {
  std::string_view format;
  std::size_t offset;
  std::string_view bytes;
};

constexpr Mark kMarks[] = {
    {"qcow2", 0, "QFI\xfb"},
    {"vmdk", 0, "KDMV"},
    {"vmdk", 0, "COWD"},
    {"vmdk", 0, "# Disk DescriptorFile"},
    {"vdi", 0x40, "\x7f\x10\xda\xbe"},
    {"vpc", 0, "conectix"},
    {"vhdx", 0, "vhdxfile"},
};

/// What O_DIRECT wants of a buffer, of an offset and of a length.
constexpr std::size_t kHead = 4096;

}  // namespace

std::string_view image_format(std::span<const std::byte> head) noexcept {
  for (const Mark& mark : kMarks) {
    if (head.size() < mark.offset + mark.bytes.size()) continue;
    if (std::memcmp(head.data() + mark.offset, mark.bytes.data(), mark.bytes.size()) == 0) {
      return mark.format;
    }
  }
  return {};
}

Status check_raw_image(int fd, std::string_view path) {
  struct alignas(kHead) Head {
    std::array<std::byte, kHead> bytes;
  };
  const auto head = std::make_unique<Head>();
  const ssize_t length = ::pread(fd, head->bytes.data(), head->bytes.size(), 0);
  if (length <= 0) return {};
  const auto format = image_format(std::span(head->bytes).first(static_cast<std::size_t>(length)));
  if (format.empty()) return {};
  return fail(
      fmt::format("{} is a {} image, not a raw one: qemu-img convert -O raw {} NEW makes one "
                  "(format=raw takes it as it is)",
                  path, format, path));
}

}  // namespace bellhop

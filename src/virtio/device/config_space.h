#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace bellhop {

/// A driver's read of `data.size()` bytes at `offset` of `space`, the structure that is a device's
/// configuration space (virtio 1.3, 2.5). The range lies within it: VirtioDevice::read_config().
template <class Space>
void read_config_space(const Space& space, std::uint32_t offset,
                       std::span<std::byte> data) noexcept {
  static_assert(std::is_trivially_copyable_v<Space>);
  assert(offset <= sizeof space && data.size() <= sizeof space - offset);
  const auto bytes = std::as_bytes(std::span(&space, 1));
  std::memcpy(data.data(), bytes.data() + offset, data.size());
}

/// A driver's write against the field `at` bytes into the configuration space, whose value is
/// `now`: the value that it has then, or nothing if the write is not, as a whole, to this field.
template <class Field>
std::optional<Field> write_config_field(std::size_t at, Field now, std::uint32_t offset,
                                        std::span<const std::byte> data) noexcept {
  static_assert(std::is_trivially_copyable_v<Field>);
  if (data.empty() || offset < at || data.size() > sizeof now ||
      offset - at > sizeof now - data.size()) {
    return std::nullopt;
  }
  std::memcpy(std::as_writable_bytes(std::span(&now, 1)).data() + (offset - at), data.data(),
              data.size());
  return now;
}

}  // namespace bellhop

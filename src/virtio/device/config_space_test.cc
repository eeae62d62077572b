#include "virtio/device/config_space.h"

#include <gtest/gtest.h>

#include <array>

namespace bellhop {
namespace {

struct [[gnu::packed]] Space {
  std::uint32_t first;
  std::uint16_t second;
  std::uint8_t third;
};

TEST(ConfigSpaceTest, ReadsAnyPart) {
  const Space space{.first = 0x44332211, .second = 0x6655, .third = 0x77};
  for (std::uint32_t offset = 0; offset <= sizeof space; ++offset) {
    for (std::size_t size = 0; size <= sizeof space - offset; ++size) {
      std::array<std::byte, sizeof space + 1> read{};
      read_config_space(space, offset, std::span(read).first(size));
      for (std::size_t i = 0; i < read.size(); ++i) {
        EXPECT_EQ(std::to_integer<unsigned>(read[i]), i < size ? 0x11U * (offset + i + 1) : 0U);
      }
    }
  }
}

TEST(ConfigSpaceTest, WritesWhatLiesInAFieldAndNothingElse) {
  constexpr std::size_t kAt = 4;
  constexpr std::uint32_t kNow = 0xddccbbaa;
  const std::array<std::byte, 5> ones{std::byte{1}, std::byte{1}, std::byte{1}, std::byte{1},
                                      std::byte{1}};
  for (std::uint32_t offset = 0; offset < 10; ++offset) {
    for (std::size_t size = 1; size <= ones.size(); ++size) {
      const auto value = write_config_field(kAt, kNow, offset, std::span(ones).first(size));
      const bool inside = offset >= kAt && offset + size <= kAt + sizeof kNow;
      ASSERT_EQ(value.has_value(), inside) << size << " bytes at " << offset;
      if (!inside) continue;
      std::uint32_t expected = kNow;
      for (std::size_t i = offset - kAt; i < offset - kAt + size; ++i) {
        expected = (expected & ~(0xffU << (8 * i))) | (1U << (8 * i));
      }
      EXPECT_EQ(*value, expected) << size << " bytes at " << offset;
    }
  }
}

}  // namespace
}  // namespace bellhop

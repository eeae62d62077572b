#include "guest/pattern.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace bellhop::pattern {
namespace {

struct alignas(64) Block {
  std::array<unsigned char, kBlockBytes> bytes{};
};

TEST(Pattern, BlockTellsItsGeneration) {
  Block block;
  fill_block(&block, 12345, 678, 9);
  std::uint64_t generation = 0;
  EXPECT_TRUE(check_block(&block, 12345, 9, &generation));
  EXPECT_EQ(generation, 678U);
}

TEST(Pattern, EveryFlippedBitIsFound) {
  Block block;
  fill_block(&block, 3, 1, 0);
  std::uint64_t generation = 0;
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      const auto mask = static_cast<unsigned char>(1U << bit);
      block.bytes[i] ^= mask;
      EXPECT_FALSE(check_block(&block, 3, 0, &generation)) << "byte " << i << " bit " << bit;
      block.bytes[i] ^= mask;
    }
  }
  EXPECT_TRUE(check_block(&block, 3, 0, &generation));
}

TEST(Pattern, WrongPlaceAndWrongSeedAreFound) {
  Block block;
  fill_block(&block, 3, 1, 5);
  std::uint64_t generation = 0;
  EXPECT_FALSE(check_block(&block, 4, 5, &generation));
  EXPECT_FALSE(check_block(&block, 3, 6, &generation));
}

TEST(Pattern, TornBlocksAreFound) {
  Block old_block;
  Block new_block;
  Block other_place;
  fill_block(&old_block, 7, 1, 0);
  fill_block(&new_block, 7, 2, 0);
  fill_block(&other_place, 8, 2, 0);
  std::uint64_t generation = 0;
  for (std::size_t sector = 0; sector < kBlockBytes / 512; ++sector) {
    Block torn = new_block;
    std::memcpy(&torn.bytes[sector * 512], &old_block.bytes[sector * 512], 512);
    EXPECT_FALSE(check_block(&torn, 7, 0, &generation)) << "stale sector " << sector;
    torn = new_block;
    std::memcpy(&torn.bytes[sector * 512], &other_place.bytes[sector * 512], 512);
    EXPECT_FALSE(check_block(&torn, 7, 0, &generation)) << "foreign sector " << sector;
    torn = new_block;
    std::memcpy(&torn.bytes[sector * 512], &new_block.bytes[(sector + 1) % 8 * 512], 512);
    EXPECT_FALSE(check_block(&torn, 7, 0, &generation)) << "shifted sector " << sector;
  }
}

TEST(Pattern, ZeroesAreNoBlock) {
  const Block block;
  std::uint64_t generation = 0;
  EXPECT_FALSE(check_block(&block, 0, 0, &generation));
}

TEST(Pattern, DigestIsBoundToEveryBitAndPlace) {
  Block block;
  fill_block(&block, 1, 1, 0);
  const std::uint64_t digest = digest_block(&block, kBlockBytes);
  for (std::size_t i = 0; i < kBlockBytes; i += 7) {
    block.bytes[i] ^= 0x80;
    EXPECT_NE(digest_block(&block, kBlockBytes), digest) << "byte " << i;
    block.bytes[i] ^= 0x80;
  }
  EXPECT_NE(image_digest_term(0, &block, kBlockBytes), image_digest_term(1, &block, kBlockBytes));
}

TEST(Pattern, TailOfAnImageCountsAsZeroes) {
  Block block;
  fill_block(&block, 1, 1, 0);
  const std::uint64_t digest = digest_block(&block, 520);
  std::memset(&block.bytes[520], 0, kBlockBytes - 520);
  EXPECT_EQ(digest_block(&block, kBlockBytes), digest);
}

}  // namespace
}  // namespace bellhop::pattern

#include "memory/dirty_log.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "testing/test_memory.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kDirtyPage = DirtyLog::kPage;

struct Bits {
  std::array<std::byte, 16> bytes{};
  DirtyLog log{bytes.data(), 8};  // 64 pages; what lies behind is not its own

  /// Marked pages, as a number.
  [[nodiscard]] std::uint64_t take() {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    for (unsigned i = 8; i < 16; ++i) EXPECT_EQ(bytes[i], std::byte{0});
    bytes = {};
    return value;
  }
  std::uint64_t mark(std::uint64_t address, std::uint64_t size) {
    log.mark(GuestAddress(address), size);
    return take();
  }
};

TEST(DirtyLogTest, MarksEachPageThatItsBytesTouch) {
  Bits bits;
  EXPECT_EQ(bits.mark(0, 0), 0U);
  EXPECT_EQ(bits.mark(0, 1), 1U);
  EXPECT_EQ(bits.mark(kDirtyPage - 1, 1), 1U);
  EXPECT_EQ(bits.mark(kDirtyPage - 1, 2), 3U);
  EXPECT_EQ(bits.mark(kDirtyPage, kDirtyPage), 2U);
  EXPECT_EQ(bits.mark(7 * kDirtyPage + 5, 2 * kDirtyPage), 0b11'1000'0000U);
  EXPECT_EQ(bits.mark(3 * kDirtyPage, 58 * kDirtyPage), (std::uint64_t{1} << 61) - 8);
  EXPECT_EQ(bits.mark(0, 64 * kDirtyPage), ~std::uint64_t{0});
  EXPECT_EQ(bits.mark(63 * kDirtyPage, kDirtyPage), std::uint64_t{1} << 63);
}

TEST(DirtyLogTest, NothingBehindItsEndIsTouched) {
  Bits bits;
  EXPECT_EQ(bits.mark(63 * kDirtyPage, kDirtyPage + 1), 0U);
  EXPECT_EQ(bits.mark(64 * kDirtyPage, 1), 0U);
  EXPECT_EQ(bits.mark(~std::uint64_t{0}, 2), 0U);
  EXPECT_EQ(bits.mark(~std::uint64_t{0}, 1), 0U);
  EXPECT_EQ(bits.mark(1, ~std::uint64_t{0}), 0U);
  EXPECT_TRUE(bits.log.covers(GuestAddress(63 * kDirtyPage), kDirtyPage));
  EXPECT_FALSE(bits.log.covers(GuestAddress(63 * kDirtyPage), kDirtyPage + 1));
  EXPECT_FALSE(bits.log.covers(GuestAddress(~std::uint64_t{0} - kDirtyPage), 2 * kDirtyPage));
  EXPECT_FALSE(DirtyLog().covers(GuestAddress(0), 1));
}

TEST(DirtyLogTest, NoMarkOfTwoThreadsIsLost) {
  Bits bits;
  for (unsigned round = 0; round < 500; ++round) {
    std::thread other([&] { bits.log.mark(GuestAddress(3 * kDirtyPage), kDirtyPage); });
    bits.log.mark(GuestAddress(5 * kDirtyPage), kDirtyPage);
    other.join();
    ASSERT_EQ(bits.take(), 0b10'1000U) << round;
  }
}

TEST(DirtyLogTest, ASpanIsFoundInMemory) {
  const GuestMemory memory = testing::make_memory(1 << 20, 1 << 20);
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{(1 << 20) - 1}, testing::kHighBase,
                                 testing::kHighBase + 4097}) {
    const auto span = memory.span(GuestAddress(at), 1);
    ASSERT_TRUE(span);
    EXPECT_EQ(memory.address_of(*span), GuestAddress(at));
  }
}

}  // namespace
}  // namespace bellhop

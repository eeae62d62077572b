#include "base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace bellhop {
namespace {

using std::chrono::nanoseconds;
using ::testing::HasSubstr;

std::uint64_t size_of(std::string_view text) {
  const auto parsed = parse_size(text);
  EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message);
  return parsed.value_or(0);
}

nanoseconds time_of(std::string_view text) {
  const auto parsed = parse_duration(text);
  EXPECT_TRUE(parsed) << text << ": " << (parsed ? "" : parsed.error().message);
  return parsed.value_or(nanoseconds(-1));
}

TEST(SizeTest, TakesPowersOf1024) {
  EXPECT_EQ(size_of("0"), 0U);
  EXPECT_EQ(size_of("4096"), 4096U);
  EXPECT_EQ(size_of("4K"), 4096U);
  EXPECT_EQ(size_of("512M"), std::uint64_t{512} << 20);
  EXPECT_EQ(size_of("2G"), std::uint64_t{2} << 30);
  EXPECT_EQ(size_of("1T"), std::uint64_t{1} << 40);
}

TEST(SizeTest, TakesEitherCaseAndATrailingB) {
  for (const char* text : {"4k", "4K", "4KB", "4Kb", "4kB", "4KiB", "4kiB", "4096B"}) {
    EXPECT_EQ(size_of(text), 4096U) << text;
  }
}

TEST(SizeTest, RefusesTheRest) {
  for (const char* text : {"", "K", "-1", "+1", " 4K", "4 K", "4K ", "1.5G", "0x10", "4P", "4KK",
                           "4Ki", "4KBB", "lots", "1,024"}) {
    const auto parsed = parse_size(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("is not a size such as")) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("'" + std::string(text) + "'"));
  }
}

TEST(SizeTest, EndsAtTwoToThe63) {
  EXPECT_EQ(size_of("9223372036854775808"), std::uint64_t{1} << 63);
  EXPECT_EQ(size_of("8388608T"), std::uint64_t{1} << 63);
  EXPECT_FALSE(parse_size("9223372036854775809"));
  EXPECT_FALSE(parse_size("8388609T"));
  EXPECT_FALSE(parse_size("18446744073709551616"));
  EXPECT_FALSE(parse_size("18014398509481984K"));  // would wrap to 0
}

TEST(SizeTest, FormatsInTheLargestUnitThatIsExact) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(1024), "1K");
  EXPECT_EQ(format_size(1025), "1025");
  EXPECT_EQ(format_size(1536 << 10), "1536K");
  EXPECT_EQ(format_size(std::uint64_t{3} << 30), "3G");
  EXPECT_EQ(format_size(std::uint64_t{2048} << 40), "2048T");
}

TEST(SizeTest, ReadsWhatItWrites) {
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{4095}, std::uint64_t{4096},
                                    std::uint64_t{12345} << 10, std::uint64_t{1} << 62}) {
    EXPECT_EQ(size_of(format_size(bytes)), bytes);
  }
}

TEST(DurationTest, TakesEveryUnit) {
  EXPECT_EQ(time_of("100ns"), nanoseconds(100));
  EXPECT_EQ(time_of("50us"), nanoseconds(50'000));
  EXPECT_EQ(time_of("3ms"), nanoseconds(3'000'000));
  EXPECT_EQ(time_of("2s"), nanoseconds(2'000'000'000));
  EXPECT_EQ(time_of("7"), nanoseconds(7'000)) << "a bare number means microseconds";
  EXPECT_EQ(time_of("0"), nanoseconds(0));
}

TEST(DurationTest, RefusesTheRest) {
  for (const char* text : {"", "us", "-1us", "1.5ms", "1 us", "1m", "1h", "1US", "never"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("is not a time such as")) << text;
  }
}

TEST(DurationTest, RefusesWhatDoesNotFit) {
  EXPECT_EQ(time_of("9223372036s"), nanoseconds(std::int64_t{9'223'372'036} * 1'000'000'000));
  EXPECT_FALSE(parse_duration("9223372037s"));
  EXPECT_FALSE(parse_duration("9223372036854775808ns"));
  EXPECT_FALSE(parse_duration("18446744073709551615us"));
}

}  // namespace
}  // namespace bellhop

#include "base/text_columns.h"

#include <gtest/gtest.h>

namespace bellhop {
namespace {

TEST(TextColumnsTest, ACharacterIsOneColumn) {
  EXPECT_EQ(columns_of("3 µs – 4"), 8U);
  EXPECT_EQ(columns_of(""), 0U);
}

TEST(TextColumnsTest, LinesAreNoLongerThanAsked) {
  EXPECT_EQ(wrap("one two three", 7, 2), "one two\n  three");
  EXPECT_EQ(wrap("  one  two ", 80, 2), "one two");
  EXPECT_EQ(wrap("longer-than-asked a", 4, 0), "longer-than-asked\na");
}

TEST(TextColumnsTest, AnEndingHasRoom) {
  EXPECT_EQ(wrap("one two three", 9, 2, " \\"), "one two \\\n  three");
  EXPECT_EQ(wrap("one two three", 8, 2, " \\"), "one \\\n  two \\\n  three");
}

}  // namespace
}  // namespace bellhop

#include "bench/report/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace bellhop::bench {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

std::vector<std::size_t> widths(const std::string& text) {
  std::vector<std::size_t> result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    result.push_back(static_cast<std::size_t>(std::ranges::count_if(
        line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; })));
  }
  return result;
}

Table wide_table() {
  Table table;
  table.caption =
      "A caption of some words that goes on and on until it is broader than the eighty "
      "columns of a terminal";
  table.keys = 2;
  table.columns = {{"", "Test", true},      {"", "Threads"},
                   {"MB/s", "sync"},        {"MB/s", "ioeventfd"},
                   {"MB/s", "gain (95 %)"}, {"MB/s", "spread", false, true},
                   {"MB/CPU s", "sync"},    {"MB/CPU s", "ioeventfd"},
                   {"MB/CPU s", "ratio"},   {"the 2010 patch", "gain", false, true}};
  table.rows = {{"Large file create", "16", "1000.0", "2000.0", "within noise (-3 to +12)",
                 "12 / 13 %", "1234", "2345", "within noise (0.97-1.08)", "+10 %"}};
  return table;
}

TEST(Table, IsAlignedWhateverCharactersItHolds) {
  const Table table{"", {{"", "a"}, {"", "b"}}, {{"–", "1"}, {"22", "2"}}, 1, ""};
  EXPECT_THAT(to_text(table), HasSubstr("\n –  1\n22  2\n"));
}

TEST(Table, IsOneWhereThereIsRoom) {
  const std::string text = to_text(wide_table());
  EXPECT_EQ(std::ranges::count(text, '\n'), 4);
  EXPECT_THAT(text, HasSubstr("the 2010 patch"));
  EXPECT_EQ(to_text(wide_table(), {200, false}), text);
}

TEST(Table, FitsEightyColumnsWithoutWhatIsSpare) {
  const std::string text = to_text(wide_table(), {80, false});
  EXPECT_THAT(widths(text), Each(Le(80U)));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("2010")), Not(HasSubstr("spread")), HasSubstr("MB/CPU s")));
  std::size_t keys = 0;
  for (auto at = text.find("Large file create"); at != std::string::npos;
       at = text.find("Large file create", at + 1)) {
    ++keys;
  }
  EXPECT_EQ(keys, 2U) << text;
}

TEST(Table, IsSplitWithinAGroupThatIsTooBroad) {
  const std::string text = to_text(wide_table(), {45, false});
  EXPECT_THAT(widths(text), Each(Le(60U))) << "a key and one column stand together at least";
  EXPECT_THAT(text, AllOf(HasSubstr("2000.0"), HasSubstr("-3 to +12"), HasSubstr("0.97-1.08")));
}

TEST(Table, HasColoursWhereTheyAreWanted) {
  Table table{
      "", {{"", "a"}, {"", "b"}}, {{"x", {"1", Tone::kGood}}, {"y", {"22", Tone::kBad}}}, 1, ""};
  EXPECT_THAT(to_text(table), Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_text(table, {80, true}),
              AllOf(HasSubstr("x   \x1b[32m1\x1b[0m\n"), HasSubstr("y  \x1b[31m22\x1b[0m\n")));
  EXPECT_THAT(to_html(table), HasSubstr("<td class=\"good\">1</td>"));
}

TEST(Table, WithoutRowsSaysSo) {
  Table table{"Losses", {{"", "a"}}, {}, 1, "None."};
  EXPECT_EQ(to_text(table, {80, true}), "Losses\n  None.\n");
  EXPECT_THAT(to_html(table), AllOf(HasSubstr("None."), Not(HasSubstr("<table"))));
}

}  // namespace
}  // namespace bellhop::bench

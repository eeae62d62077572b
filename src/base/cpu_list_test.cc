#include "base/cpu_list.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace bellhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto parsed = parse_cpu_list(text);
  EXPECT_FALSE(parsed) << text;
  return parsed ? "" : parsed.error().message;
}

TEST(CpuListTest, ParsesWhatThisHostHas) {
  const CpuList all = allowed_cpus();
  ASSERT_FALSE(all.empty());
  EXPECT_TRUE(std::ranges::is_sorted(all));
  const unsigned first = all.front();
  const auto one = parse_cpu_list(fmt::format("{}", first));
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_THAT(*one, ElementsAre(first));
  const auto range = parse_cpu_list(fmt::format("{}-{}", first, first));
  ASSERT_TRUE(range);
  EXPECT_EQ(*range, *one);
  const auto everything = parse_cpu_list(format_cpu_list(all));
  ASSERT_TRUE(everything);
  EXPECT_EQ(*everything, all);
}

TEST(CpuListTest, SortsAndKeepsEachOnce) {
  const CpuList all = allowed_cpus();
  const auto parsed = parse_cpu_list(fmt::format("{0},{1},{0},{1}-{1}", all.back(), all.front()));
  ASSERT_TRUE(parsed);
  CpuList wanted{all.front()};
  if (all.back() != all.front()) wanted.push_back(all.back());
  EXPECT_EQ(*parsed, wanted);
}

TEST(CpuListTest, RefusesWhatIsNoList) {
  for (const char* text : {"", ",", "0,", ",0", "a", "0x0", "-", "0-", "-0", "1-0", "0-0-0", " 0",
                           "0 ", "+0", "0..1", "4294967296", "0-99999999"}) {
    EXPECT_THAT(refusal(text), HasSubstr("is not a list of CPUs")) << text;
  }
}

TEST(CpuListTest, RefusesCpusThatAreNotHere) {
  // CPU_SETSIZE - 1 is the last that has a place in a set; no host at hand has that many.
  constexpr unsigned kLast = CPU_SETSIZE - 1;
  const CpuList all = allowed_cpus();
  if (std::ranges::binary_search(all, kLast)) GTEST_SKIP() << "this host has every CPU there is";
  EXPECT_THAT(refusal(fmt::format("{}", kLast)), HasSubstr("is not available here"));
  EXPECT_THAT(refusal(fmt::format("{},{}", all.front(), kLast)),
              HasSubstr(fmt::format("CPU {}", kLast)));
  EXPECT_THAT(refusal(fmt::format("{}", kLast)), HasSubstr(format_cpu_list(all)));
}

TEST(CpuListTest, FormatsRunsAsRanges) {
  EXPECT_EQ(format_cpu_list({}), "");
  EXPECT_EQ(format_cpu_list({3}), "3");
  EXPECT_EQ(format_cpu_list({0, 1}), "0-1");
  EXPECT_EQ(format_cpu_list({0, 2, 3, 4, 9}), "0,2-4,9");
}

TEST(CpuListTest, PinsTheCallingThreadOnly) {
  const CpuList before = allowed_cpus();
  CpuList inside;
  CpuList left_alone;
  std::thread pinned([&] {
    EXPECT_TRUE(pin_this_thread({}));
    left_alone = allowed_cpus();
    EXPECT_TRUE(pin_this_thread({before.back()}));
    inside = allowed_cpus();
  });
  pinned.join();
  EXPECT_EQ(left_alone, before);
  EXPECT_THAT(inside, ElementsAre(before.back()));
  EXPECT_EQ(allowed_cpus(), before);
}

TEST(CpuListTest, SaysWhereAThreadCannotRun) {
  if (std::ranges::binary_search(allowed_cpus(), CPU_SETSIZE - 1U)) {
    GTEST_SKIP() << "this host has every CPU there is";
  }
  const Status pinned = pin_this_thread({CPU_SETSIZE - 1});
  ASSERT_FALSE(pinned);
  EXPECT_THAT(pinned.error().message, HasSubstr(fmt::format("{}", CPU_SETSIZE - 1)));
}

}  // namespace
}  // namespace bellhop

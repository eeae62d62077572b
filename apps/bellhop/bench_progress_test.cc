#include "apps/bellhop/bench_progress.h"

#include <gtest/gtest.h>

namespace bellhop {
namespace {

TEST(DescribeTime, IsRoundedToWhatMatters) {
  EXPECT_EQ(describe_time(0.2), "0 s");
  EXPECT_EQ(describe_time(59.4), "59 s");
  EXPECT_EQ(describe_time(250), "4 min 10 s");
  EXPECT_EQ(describe_time(1790), "30 min");
  EXPECT_EQ(describe_time(7500), "2 h 5 min");
}

TEST(Announce, SaysHowManyAndHowLong) {
  EXPECT_EQ(announce({24, 0, 72, 72, 0}, 3.5), "24 cells, 72 repeats: about 4 min 12 s");
  EXPECT_EQ(announce({1, 0, 1, 1, 0}, 1), "1 cell, 1 repeat: about 1 s");
  EXPECT_EQ(announce({4, 2, 12, 60, 5}, 1),
            "4 cells (2 more cannot be run here), 5 repeats are there already, 12 to 60 repeats: "
            "about 12 s to 1 min 0 s");
}

TEST(ProgressLine, TellsTheTimeLeftWhereItTakesTwoSeconds) {
  ProgressLine line;
  testing::internal::CaptureStderr();
  line.begin({1, 0, 3, 3, 0}, 100);
  line.show(1, 3, "a cell");
  line.clear();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "[bench] 1 cell, 3 repeats: about 5 min 0 s\n[1/3] a cell, 5 min 0 s left\n");
  testing::internal::CaptureStderr();
  line.begin({1, 0, 3, 3, 0}, 0.5);
  line.show(1, 3, "a cell");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "[bench] 1 cell, 3 repeats: about 2 s\n");
}

}  // namespace
}  // namespace bellhop

#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace bellhop {
namespace {

TEST(LogTest, WritesOneLineToStandardErrorWithItsLevel) {
  testing::internal::CaptureStderr();
  log::info("{} disks", 2);
  log::warn("queue {} falls back", 1);
  log::error("no {{braces}} are read twice: {}", "{}");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "bellhop: info: 2 disks\n"
            "bellhop: warning: queue 1 falls back\n"
            "bellhop: error: no {braces} are read twice: {}\n");
}

}  // namespace
}  // namespace bellhop

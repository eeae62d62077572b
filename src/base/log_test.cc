#include "base/log.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <stdlib.h>
#include <unistd.h>

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

/// Ends a process that has not logged yet: with 10 if its line has colour on a terminal, else
/// with 20.
[[noreturn]] void log_at_a_terminal(const char* no_color) {
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  if (no_color != nullptr) ::setenv("NO_COLOR", no_color, 1);
  int leader = -1;
  int follower = -1;
  if (::openpty(&leader, &follower, nullptr, nullptr, nullptr) != 0) ::_exit(1);
  ::dup2(follower, STDERR_FILENO);
  log::warn("a line");
  std::string line;  // a terminal may hand it over in pieces
  for (char next = 0; next != '\n'; line += next) {
    if (::read(leader, &next, 1) != 1) ::_exit(2);
  }
  ::_exit(line.find('\x1b') != line.npos ? 10 : 20);
}

TEST(LogDeathTest, ColourIsForTerminalsUnlessNoColorIsSet) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own for each
  EXPECT_EXIT(log_at_a_terminal(nullptr), ::testing::ExitedWithCode(10), "");
  EXPECT_EXIT(log_at_a_terminal(""), ::testing::ExitedWithCode(10), "");
  EXPECT_EXIT(log_at_a_terminal("1"), ::testing::ExitedWithCode(20), "");
}

}  // namespace
}  // namespace bellhop

#include "base/log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/log_stream.h"

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

/// What `body` writes to standard error in a format, which is put back.
template <class Body>
std::string written_as(log::Format format, const Body& body) {
  ::testing::internal::CaptureStderr();
  log::set_format(format);
  body();
  std::string text = ::testing::internal::GetCapturedStderr();
  ::unsetenv("JOURNAL_STREAM");
  log::set_format(log::Format::kText);
  return text;
}

/// As systemd sets it for what standard error is now.
void name_journal(int off_by = 0) {
  struct stat info {};
  ASSERT_EQ(::fstat(STDERR_FILENO, &info), 0);
  const auto inode = info.st_ino + static_cast<ino_t>(off_by);
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", info.st_dev, inode).c_str(), 1);
}

TEST(LogTest, WhatTheProgramSaysOfItselfHasNoLevel) {
  EXPECT_EQ(written_as(log::Format::kText, [] { log::tell(log::Level::kError, "it ends"); }),
            "bellhop: it ends\n");
}

TEST(LogTest, AsJsonEachLineIsAnObject) {
  const std::string text = written_as(log::Format::kJson, [] {
    log::warn("a \"quoted\"\nline \xff");
    log::tell(log::Level::kError, "it ends");
  });
  const auto end = text.find('\n');
  ASSERT_EQ(text.find('\n', end + 1), text.size() - 1) << text;
  const auto first = nlohmann::json::parse(text.substr(0, end));
  EXPECT_EQ(first["level"], "warning");
  EXPECT_EQ(first["message"], "a \"quoted\"\nline \uFFFD");
  EXPECT_THAT(
      first["time"].get<std::string>(),
      ::testing::MatchesRegex(
          "20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9][.][0-9]{6}Z"));
  EXPECT_EQ(first.size(), 3U);
  const auto last = nlohmann::json::parse(text.substr(end));
  EXPECT_EQ(last["level"], "error");
  EXPECT_EQ(last["message"], "it ends");
}

TEST(LogTest, ForTheJournalEachLineBeginsWithItsPriority) {
  const auto all = [](log::Format format) {
    return written_as(log::Format::kText, [format] {
      name_journal();
      log::set_format(format);
      log::info("one");
      log::warn("two");
      log::error("three");
      log::tell(log::Level::kError, "four\nfive");
    });
  };
  EXPECT_EQ(all(log::Format::kText),
            "<6>info: one\n<4>warning: two\n<3>error: three\n<3>four\n<3>five\n");
  const std::string json = all(log::Format::kJson);
  EXPECT_EQ(json.find("<6>{\"time\":"), 0U) << json;
  EXPECT_NE(json.find("\n<3>{\"time\":"), std::string::npos) << json;
}

TEST(LogTest, InTheJournalALineBeginsANewOne) {
  EXPECT_EQ(written_as(log::Format::kText,
                       [] {
                         name_journal();
                         log::set_format(log::Format::kText);
                         log::set_line_open(true);
                         log::info("one");
                         log::info("two");
                         log::set_line_open(true);
                         log::set_line_open(false);
                         log::info("three");
                       }),
            "\n<6>info: one\n<6>info: two\n<6>info: three\n");
}

TEST(LogTest, AnotherFileIsNotTheJournal) {
  const auto with = [](const auto& name) {
    return written_as(log::Format::kText, [&name] {
      name();
      log::set_format(log::Format::kText);
      log::warn("one");
    });
  };
  constexpr const char* kPlain = "bellhop: warning: one\n";
  EXPECT_EQ(with([] { name_journal(1); }), kPlain);
  for (const char* text : {"", ":", "1", "1:", "a:b", "1:2x", "99999999999999999999:1"}) {
    EXPECT_EQ(with([text] { ::setenv("JOURNAL_STREAM", text, 1); }), kPlain) << text;
  }
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

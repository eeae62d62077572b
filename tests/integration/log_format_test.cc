// How the lines of `run` and `serve` look: `--log-format`, and in systemd's journal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class LogFormatTest : public CliTest {
 protected:
  /// The one line of a start that is refused.
  Json refusal(const std::vector<std::string>& arguments) {
    const Outcome outcome = bellhop(arguments);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    auto json = Json::parse(outcome.err, nullptr, false);
    EXPECT_TRUE(json.is_object()) << outcome.err;
    return json;
  }
};

TEST_F(LogFormatTest, WhatIsRefusedIsToldInTheFormatThatWasAskedFor) {
  const auto on_line = refusal({"run", "--log-format", "json", "--kernel", kernel_, "--cpus", "0"});
  EXPECT_EQ(on_line.at("level"), "error");
  EXPECT_THAT(on_line.at("message").get<std::string>(), HasSubstr("--cpus"));
  const std::string file = (folder_ / "m.toml").string();
  std::ofstream(file) << "kernel = \"" << kernel_ << "\"\nlog-format = \"json\"\ncpus = 0\n";
  EXPECT_THAT(refusal({"run", "--config", file}).at("message").get<std::string>(),
              HasSubstr("m.toml:3: cpus"));
  std::ofstream(file) << "log-format = \"json\"\n";
  EXPECT_THAT(refusal({"serve", "--config", file}).at("message").get<std::string>(),
              HasSubstr("it has no device"));
  EXPECT_THAT(refusal({"serve", "rng", "--log-format", "json"}).at("message").get<std::string>(),
              HasSubstr("--socket is missing"));
}

TEST_F(LogFormatTest, AFormatThatIsNoneIsRefusedByName) {
  expect_run_refused({"--log-format", "xml"},
                     "--log-format: 'xml' is unknown; it must be one of text, json");
  expect_refused({"serve", "rng", "--log-format", "xml"}, "--log-format: 'xml' is unknown");
  const std::string file = (folder_ / "m.toml").string();
  std::ofstream(file) << "kernel = \"" << kernel_ << "\"\nlog-format = \"xml\"\n";
  expect_refused({"run", "--config", file}, "m.toml:2: log-format: 'xml' is unknown");
}

TEST_F(LogFormatTest, InTheJournalALineHasItsPriority) {
  const auto outcome = finish(start({"run", "--kernel", kernel_, "--cpus", "0"}, [] {
    struct stat info {};
    if (::fstat(STDERR_FILENO, &info) != 0) ::_exit(125);
    ::setenv("JOURNAL_STREAM",
             (std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino)).c_str(), 1);
  }));
  EXPECT_THAT(outcome.err, ::testing::StartsWith("<3>--cpus: "));
}

}  // namespace
}  // namespace bellhop

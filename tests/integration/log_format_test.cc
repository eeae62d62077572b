// How the lines of `run` and `serve` look: `--log-format`, and in systemd's journal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "testing/elf_builder.h"
#include "testing/eventually.h"
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

#ifdef BELLHOP_BENCH_GUEST

class LogFormatMachineTest : public CliMachineTest {};

// As under systemd, where both go to one stream: a guest's prompt has no end of its line.
TEST_F(LogFormatMachineTest, InTheJournalALineBeginsBehindAGuestsUnfinishedOne) {
  // Listens to its power button (PM1's enable bits at 0x602), prints ">" and halts. 32 bits.
  constexpr std::array<std::uint8_t, 20> kPrompt = {0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00,
                                                    0x01, 0x66, 0xef, 0x66, 0xba, 0xf8, 0x03,
                                                    0xb0, '>',  0xee, 0xf4, 0xeb, 0xfd};
  constexpr std::uint64_t kAddress = 1U << 20U;
  const auto image =
      ElfBuilder(ElfBuilder::Class::k32).load(kAddress, kPrompt).pvh_note(kAddress).build();
  std::ofstream(kernel_).write(reinterpret_cast<const char*>(image.data()),
                               static_cast<std::streamsize>(image.size()));
  const pid_t pid =
      start({"run", "--kernel", kernel_, "--memory", "16M", "--stop-timeout", "1s"}, [] {
        ::dup2(STDERR_FILENO, STDOUT_FILENO);
        struct stat info {};
        if (::fstat(STDERR_FILENO, &info) != 0) ::_exit(125);
        ::setenv("JOURNAL_STREAM",
                 (std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino)).c_str(), 1);
      });
  EXPECT_TRUE(testing::eventually([&] { return contents(folder_ / "err").ends_with('>'); }));
  ::kill(pid, SIGTERM);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_THAT(outcome.err, HasSubstr(">\n<6>")) << "the guest's line has its end";
  EXPECT_EQ(outcome.err.find("\n\n"), std::string::npos) << outcome.err;
}

#endif

}  // namespace
}  // namespace bellhop

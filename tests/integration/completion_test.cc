// The scripts that complete a command line, by the shells themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CompletionTest : public CliTest {
 protected:
  static std::string output_of(const std::string& command) {
    FILE* const pipe = ::popen(command.c_str(), "r");
    std::string text;
    std::array<char, 4096> some;
    for (std::size_t n = 0; (n = ::fread(some.data(), 1, some.size(), pipe)) > 0;) {
      text.append(some.data(), n);
    }
    EXPECT_EQ(::pclose(pipe), 0) << command;
    return text;
  }
  /// What bash offers for the last of `words`, which it has split as it does.
  [[nodiscard]] std::vector<std::string> offers(const std::vector<std::string>& words) {
    std::ostringstream script;
    script << "cd " << folder_ << "; source <(" << BELLHOP_EXECUTABLE
           << " completion bash); COMP_WORDS=(bellhop";
    for (const std::string& word : words) script << " '" << word << "'";
    script << "); COMP_CWORD=" << words.size()
           << "; _bellhop; if [[ ${#COMPREPLY[@]} -gt 0 ]]; then printf '%s\\n' "
              "\"${COMPREPLY[@]}\"; fi";
    std::ofstream(folder_ / "script") << script.str();
    std::istringstream lines(output_of("bash " + (folder_ / "script").string()));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
  }
};

TEST_F(CompletionTest, BashCompletesCommandsAndOptions) {
  EXPECT_THAT(offers({"r"}), ElementsAre("run"));
  EXPECT_THAT(offers({"bench", "b"}), ElementsAre("blk"));
  EXPECT_THAT(offers({"bench", ""}), Not(Contains("net-end")));
  EXPECT_THAT(offers({"run", "--ker"}), ElementsAre("--kernel"));
  EXPECT_THAT(offers({"run", "--cpus", "2", "--vcpu"}), ElementsAre("--vcpu-affinity"));
  EXPECT_THAT(offers({"probe", "--"}), Contains("--json"));
  EXPECT_THAT(offers({"probe", "--"}), Not(Contains("--kernel")));
  // A value that is called like a command is none.
  EXPECT_THAT(offers({"run", "--cmdline", "probe", "--ker"}), ElementsAre("--kernel"));
}

TEST_F(CompletionTest, BashCompletesValues) {
  EXPECT_THAT(offers({"run", "--on-reset", ""}), ElementsAre("exit", "restart"));
  EXPECT_THAT(offers({"run", "--on-reset", "=", "re"}), ElementsAre("restart"));
  EXPECT_THAT(offers({"run", "--transport", "pci-"}), ElementsAre("pci-transitional"));
  EXPECT_THAT(offers({"run", "--kernel", "ker"}), ElementsAre("kernel"));
  EXPECT_THAT(offers({"run", "--disk", "di"}), ElementsAre("disk.img"));
  EXPECT_THAT(offers({"run", "--disk", "path", "=", "di"}), ElementsAre("disk.img"));
  EXPECT_THAT(offers({"run", "--cpus", ""}), IsEmpty());
  const std::string space = make_file("a file", 1);
  EXPECT_THAT(offers({"run", "--kernel", "a"}), ElementsAre("a file"));
}

// What --help shows and what is completed come from the same definitions.
TEST_F(CompletionTest, EveryOptionOfHelpIsCompleted) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"run"}, {"probe"}, {"bench", "blk"}}) {
    std::vector<std::string> words = command;
    words.emplace_back("--");
    const std::vector<std::string> offered = offers(words);
    words.back() = "--help";
    std::istringstream lines(bellhop(words).out);
    unsigned options = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  --")) continue;
      ++options;
      EXPECT_THAT(offered, Contains(line.substr(2, line.find(' ', 2) - 2)));
    }
    EXPECT_GE(options, 3U);
  }
}

TEST_F(CompletionTest, TheOtherShellsTakeTheirScripts) {
  const std::string zsh = bellhop({"completion", "zsh"}).out;
  EXPECT_THAT(zsh, ::testing::StartsWith("#compdef bellhop\n"));
  EXPECT_THAT(zsh, HasSubstr("'--kernel:Linux bzImage"));
  const std::string fish = bellhop({"completion", "fish"}).out;
  EXPECT_THAT(fish, HasSubstr("complete -c bellhop -n '__bellhop_at \"run\"' -l kernel -r -F"));
  for (const auto& [shell, text] : {std::pair{"zsh", zsh}, std::pair{"fish", fish}}) {
    std::ofstream(folder_ / shell) << text;
    // Neither is needed for anything else: the syntax is looked at where the shell is there.
    output_of("! command -v " + std::string(shell) + " >/dev/null || " + shell + " -n " +
              (folder_ / shell).string());
  }
}

TEST_F(CompletionTest, AShellMustBeNamed) {
  expect_refused({"completion"}, "completion: a shell is missing: bash, zsh or fish");
  expect_refused({"completion", "bsh"}, "completion: 'bsh' is no command: bash?");
}

TEST_F(CompletionTest, HelpFitsIntoAHundredColumns) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"run", "--help"},
                                             {"probe", "--help"},
                                             {"bench", "--help"},
                                             {"bench", "blk", "--help"},
                                             {"bench", "net", "--help"},
                                             {"bench", "notify", "--help"},
                                             {"completion", "--help"}}) {
    std::istringstream lines(bellhop(command).out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  }
}

}  // namespace
}  // namespace bellhop

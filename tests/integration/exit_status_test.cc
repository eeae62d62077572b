// The same fault has the same status, whichever command or option meets it: 2 for what was asked
// for, 1 for what the host refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

using Words = std::vector<std::string>;

Words operator+(Words all, const Words& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

class ExitStatusTest : public CliTest {
 protected:
  /// All commands that measure or run, each with what it needs at least.
  [[nodiscard]] std::vector<Words> commands() const {
    return {{"run", "--kernel", kernel_},
            {"probe", "--quick"},
            {"bench", "blk", "--host", "inprocess", "--medium", folder_.string()},
            {"bench", "blk", "--medium", folder_.string()},
            {"bench", "net"},
            {"bench", "notify"}};
  }
  void expect_one_line(
      const Words& arguments, int status, const std::string& complaint,
      const std::function<void()>& in_child = [] {}) {
    std::string all;
    for (const std::string& word : arguments) all += " " + word;
    const Outcome outcome = finish(start(arguments, in_child));
    EXPECT_EQ(outcome.status, status) << all << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(complaint)) << all;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << all << ": " << outcome.err;
  }
};

TEST_F(ExitStatusTest, AnOptionOfOneValueIsGivenOnce) {
  for (const auto& [command, option, value] :
       std::vector<std::tuple<Words, std::string, std::string>>{
           {{"run"}, "--kernel", kernel_},
           {{"run"}, "--memory", "64M"},
           {{"run"}, "--config", "f"},
           {{"run"}, "--serial", "null"},
           {{"probe"}, "--json", "-"},
           {{"probe"}, "--cpus", "0"},
           {{"bench", "blk"}, "--json", "-"},
           {{"bench", "blk"}, "--threads", "1"},
           {{"bench", "net"}, "--workload", "ping"},
           {{"bench", "net"}, "--html", "f"},
           {{"bench", "notify"}, "--kicks", "100"}}) {
    expect_one_line(command + Words{option, value, option, value}, 2, option + ": is given twice");
  }
}

TEST_F(ExitStatusTest, WhatIsNotThereIsUsedWrongly) {
  const std::string absent = "/nonexistent/x";
  const Words run = {"run", "--kernel", kernel_};
  for (const Words& more : std::vector<Words>{{"--initrd", absent},
                                              {"--config", absent},
                                              {"--stats", absent},
                                              {"--serial", "file=" + absent},
                                              {"--disk", "path=" + absent}}) {
    expect_one_line(run + more, 2, more[0] + (more[0] == "--disk" ? " disk0: " : ": "));
  }
  for (const Words& command : commands()) {
    if (command[0] == "run") continue;
    expect_one_line(command + Words{"--json", absent}, 2, "--json: cannot write");
  }
  expect_one_line({"run", "--kernel", absent}, 2, "--kernel: ");
  expect_one_line({"bench", "blk", "--medium", absent}, 2, "--medium: ");
  for (const char* what : {"blk", "net", "notify"}) {
    expect_one_line({"bench", what, "--guest", absent}, 2, "--guest: ");
  }
}

TEST_F(ExitStatusTest, WhatIsOfAnotherKindIsUsedWrongly) {
  const std::string folder = folder_.string();
  const Words run = {"run", "--kernel", kernel_};
  expect_one_line({"run", "--kernel", folder}, 2, "--kernel: ");
  expect_one_line({"run", "--config", "/dev/zero"}, 2, "--config: /dev/zero is not a file");
  for (const Words& more : std::vector<Words>{{"--initrd", folder},
                                              {"--config", folder},
                                              {"--stats", folder},
                                              {"--serial", "file=" + folder},
                                              {"--disk", "path=" + folder}}) {
    expect_one_line(run + more, 2, more[0] + (more[0] == "--disk" ? " disk0: " : ": "));
  }
  expect_one_line({"probe", "--json", folder}, 2, "--json: ");
  expect_one_line({"bench", "notify", "--csv", folder}, 2, "--csv: ");
  expect_one_line({"bench", "blk", "--medium", kernel_}, 2, "--medium: ");
}

TEST_F(ExitStatusTest, WhatTheHostRefusesIsAFailure) {
  const auto few_descriptors = [] {
    ::close_range(3, ~0U, 0);                        // whatever a test is started with
    const rlimit low{.rlim_cur = 4, .rlim_max = 4};  // one more than the standard ones
    (void)::setrlimit(RLIMIT_NOFILE, &low);
  };
  for (const Words& command : commands()) {
    if (command[0] == "probe") continue;  // tells what the host lacks, and is done
    expect_one_line(command, 1, "", few_descriptors);
  }
}

// With a few descriptors more a sweep begins, and its cell fails: the report says so, and a line.
TEST_F(ExitStatusTest, ASweepWhoseCellFailsSaysSoInOneLine) {
  const Words sweep = {"bench",       "blk",      "--host",    "inprocess", "--medium",     folder_,
                       "--workload",  "randread", "--threads", "1",         "--notify",     "sync",
                       "--seconds",   "0.5",      "--warmup",  "0",         "--repeat",     "1",
                       "--aio",       "threads",  "--cache",   "writeback", "--image-size", "16M",
                       "--placement", "free"};
  bool began = false;
  for (rlim_t most = 5; most < 20; ++most) {
    const rlimit low{.rlim_cur = most, .rlim_max = most};
    const Outcome outcome = finish(start(sweep, [&low] {
      ::close_range(3, ~0U, 0);
      (void)::setrlimit(RLIMIT_NOFILE, &low);
    }));
    if (outcome.status == 0) break;
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    // Progress and the device's own log lines aside.
    const std::string lines = "\n" + outcome.err;
    std::size_t told = 0;
    for (auto at = lines.find("\nbellhop: "); at != std::string::npos;
         at = lines.find("\nbellhop: ", at + 1)) {
      if (lines.compare(at, 17, "\nbellhop: error: ") != 0) ++told;
    }
    EXPECT_EQ(told, 1U) << most << ": " << outcome.err;
    began =
        began || lines.find("\nbellhop: 1 cell failed: inprocess randread") != std::string::npos;
  }
  EXPECT_TRUE(began);
}

#ifdef BELLHOP_BENCH_GUEST

class ExitStatusMachineTest : public CliMachineTest {};

TEST_F(ExitStatusMachineTest, WhatIsFoundLateHasTheStatusOfWhatIsFoundEarly) {
  const std::string absent = "/nonexistent/x";
  const std::string empty = make_file("empty", 0);
  const std::string line = std::string(4000, 'a');
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"--kernel", kernel_}, "--kernel: "},
      {{"--initrd", empty}, "--initrd: "},
      {{"--cmdline", line}, "--cmdline: "},
      {{"--rng", "src=" + absent}, "--rng: "},
      {{"--rng", "src=" + folder_.string()}, "--rng: "},
      {{"--console", "file=" + absent}, "--console: "},
      {{"--console", "socket=" + absent}, "--console: "},
      {{"--vsock", "cid=3,uds=" + absent}, "--vsock: "},
      {{"--fs", "tag=a,socket=" + absent}, "--fs: "},
      {{"--disk", "path=" + empty}, "--disk: "},
      {{"--disk", "path=" + image_ + ",aio=native"}, "--disk: "},
  };
  for (const auto& [words, complaint] : cases) {
    Words arguments = {"run", "--memory", "32M", "--serial", "null"};
    if (words[0] != "--kernel") arguments = arguments + Words{"--kernel", BELLHOP_BENCH_GUEST};
    const Outcome outcome = bellhop(arguments + words);
    EXPECT_EQ(outcome.status, 2) << words[0] << ' ' << words[1] << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(complaint));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

// A file is told by its line whenever its fault is found.
TEST_F(ExitStatusMachineTest, WhatIsFoundLateHasItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"cmdline = '" + std::string(4000, 'a') + "'", "machine.toml:2: cmdline: "},
      {"initrd = '" + make_file("empty", 0) + "'", "machine.toml:2: initrd: "},
      {"serial = 'file=/nonexistent/x'", "machine.toml:2: serial: "},
      {"stats = '/nonexistent/x'", "machine.toml:2: stats: "},
      {"[[rng]]\nsrc = '/nonexistent/x'", "machine.toml:3: rng: cannot open /nonexistent/x"},
      {"[[console]]\nnull = true\n[[console]]\nname = 'a'\nfile = '/nonexistent/x'",
       "machine.toml:6: console: cannot write /nonexistent/x"},
      {"[[fs]]\ntag = 'a'\nsocket = '/nonexistent/x'", "machine.toml:4: fs: socket="},
      {"[vsock]\ncid = 3\nuds = '/nonexistent/x'", "machine.toml:4: vsock: uds="},
      {"[[disk]]\nnull = '1G'\n[[disk]]\npath = '" + make_file("none", 0) + "'",
       "machine.toml:5: disk: "},
  };
  for (const auto& [text, complaint] : cases) {
    std::ofstream(folder_ / "machine.toml") << "kernel = '" << BELLHOP_BENCH_GUEST << "'\n"
                                            << text << '\n';
    const Outcome outcome =
        bellhop({"run", "--memory", "32M", "--config", (folder_ / "machine.toml").string()});
    EXPECT_EQ(outcome.status, 2) << text << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(complaint)) << text;
  }
}

TEST_F(ExitStatusMachineTest, HugePagesThatTheHostHasNotAreRefused) {
  const Outcome outcome =
      bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "1T,hugepages"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("--memory: hugepages: 1T are 524288 huge pages of 2M"));
  EXPECT_THAT(outcome.err, HasSubstr("set vm.nr_hugepages to "));
}

#endif

}  // namespace
}  // namespace bellhop

// The command line of the real program: exit statuses, one-line errors that name the option at
// fault (row 36 of the bad inputs).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST_F(CliTest, HelpAndVersionAreDone) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"run", "--help"},
                                             {"probe", "--help"},
                                             {"bench", "blk", "--help"},
                                             {"bench", "notify", "--help"},
                                             {"bench", "study", "--help"},
                                             {"-h"},
                                             {"run", "-h"}}) {
    const Outcome outcome = bellhop(arguments);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Usage"));
    EXPECT_EQ(outcome.err, "");
  }
  const Outcome version = bellhop({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, ::testing::StartsWith("bellhop "));
}

TEST_F(CliTest, AFullStandardOutputIsAFailure) {
  output_ = "/dev/full";
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"--version"},
                                             {"run", "--help"},
                                             {"probe", "--quick"},
                                             {"probe", "--quick", "--json", "-"}}) {
    const Outcome outcome = bellhop(arguments);
    EXPECT_EQ(outcome.status, 1) << arguments.back();
    EXPECT_THAT(outcome.err, ::testing::AnyOf(HasSubstr("standard output: cannot be written"),
                                              HasSubstr("--json: cannot write -")));
  }
}

TEST_F(CliTest, AFileForTheEndIsOpenedAtTheStart) {
  expect_refused({"probe", "--quick", "--json", "/nonexistent/x"}, "--json: cannot write");
  expect_refused({"bench", "blk", "--host", "inprocess", "--medium", folder_.string(), "--csv",
                  "/nonexistent/x"},
                 "--csv: cannot write");
  expect_run_refused({"--stats", "/nonexistent/x"}, "--stats: cannot write");
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  expect_run_refused({"--serial", "file=" + (folder_ / "fifo").string()}, "nobody reads it yet");
}

TEST_F(CliTest, RefusesCommandsItDoesNotHave) {
  expect_refused({}, "subcommand");
  expect_refused({"serve"}, "serve");
  expect_refused({"bench", "vsock"}, "vsock");
  expect_refused({"run", "--colour"}, "--colour");
}

TEST_F(CliTest, AMisspeltNameGetsTheNearest) {
  expect_refused({"rum", "--kernel", kernel_}, "'rum' is no command: run? (see bellhop --help)");
  expect_refused({"bench", "bkl"}, "bench: 'bkl' is no command: blk? (see bellhop bench --help)");
  expect_refused({"run", "--memroy=1G"}, "run: --memroy is no option: --memory?");
  expect_refused({"run", "-kernel", "x"}, "run: -kernel is no option: --kernel?");
  expect_refused({"bench", "blk", "--thread", "1"}, "--thread is no option: --threads?");
  expect_refused({"run", "--colour"}, "--colour is no option (see");
  expect_refused({"run", "--cpus", "1", "disk.img"}, "run: 'disk.img' is too much");
}

TEST_F(CliTest, AnOptionOfQemusGetsOurs) {
  for (const auto& [word, ours] :
       std::vector<std::pair<std::string, std::string>>{{"-m", "--memory SIZE"},
                                                        {"-smp", "--cpus N"},
                                                        {"--smp", "--cpus N"},
                                                        {"--smp=2", "--cpus N"},
                                                        {"-drive", "--disk FILE"},
                                                        {"--drive", "--disk FILE"},
                                                        {"-append", "--cmdline TEXT"},
                                                        {"-netdev", "--net"},
                                                        {"-bios", "without firmware"}}) {
    expect_refused({"run", word, "x"}, ours);
  }
}

TEST_F(CliTest, AnImageOfAnotherFormatIsNotTakenForARawOne) {
  std::ofstream(image_, std::ios::in | std::ios::out) << "QFI\xfb";
  if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "this host has no /dev/kvm for us";
  expect_run_refused({"--disk", image_, "--memory", "32M"},
                     "--disk: " + image_ + " is a qcow2 image, not a raw one: qemu-img convert");
  // What is wrong then is the kernel.
  expect_run_refused({"--disk", image_ + ",format=raw", "--memory", "32M"},
                     "is neither a bzImage nor an ELF file");
}

TEST_F(CliTest, NamesTheOptionAtFault) {
  expect_refused({"run"}, "--kernel is missing");
  expect_refused({"run", "--kernel"}, "--kernel");
  expect_refused({"run", "--kernel", "/nonexistent"}, "--kernel: cannot open /nonexistent");
  expect_run_refused({"--initrd", "/nonexistent"}, "--initrd: cannot open /nonexistent");
  expect_run_refused({"--cpus", "0"}, "--cpus: '0' is wrong");
  expect_run_refused({"--memory", "lots"}, "--memory: size=lots is wrong");
  expect_run_refused({"--memory", "256"}, ": 256M?");
  expect_run_refused({"--transport", "isa"}, "--transport: 'isa' is unknown");
  expect_run_refused({"--vcpu-affinity", "4=0"}, "--vcpu-affinity: '4' is wrong");
  expect_run_refused({"--iothread", "io0,cpus=999"}, "--iothread: cpus: CPU 999");
  expect_run_refused({"--max-ioeventfds", "-1"}, "--max-ioeventfds");
  expect_run_refused({"--config", "/nonexistent"}, "--config: cannot read /nonexistent");
  expect_run_refused({"--disk", "path=/nonexistent"}, "--disk disk0: cannot open /nonexistent");
  expect_run_refused({"--disk", "path="}, "--disk: path needs a value");
  expect_run_refused({"--disk", "path=" + image_ + ",colour=red"}, "--disk: unknown key 'colour'");
  expect_run_refused({"--disk", "path=" + image_ + ",queues=1000"}, "--disk: queues=1000 is wrong");
  expect_run_refused({"--disk", "path=" + image_ + ",notify=off"},
                     "one of ioeventfd, sync, poll, adaptive");
  expect_run_refused({"--disk", "path=" + image_, "--disk", "path=" + image_},
                     "is the file of --disk disk0, too");
}

TEST_F(CliTest, NoFileOfTheUsersIsEmptiedByAnotherOption) {
  std::ofstream(image_) << std::string(4096, 'd');
  const std::string before = contents(image_);
  const std::string hard = (folder_ / "hard").string();
  const std::string soft = (folder_ / "soft").string();
  fs::create_hard_link(image_, hard);
  fs::create_symlink(image_, soft);
  const std::string disk = "path=" + image_;
  for (const std::string& path : {image_, hard, soft}) {
    for (const std::vector<std::string>& outputs : std::vector<std::vector<std::string>>{
             {"--console", "file=" + path},
             {"--console", "null,name=x", "--console", "name=y,file=" + path},
             {"--serial", "file=" + path},
             {"--stats", path}}) {
      for (const std::string& use : {disk, disk + ",readonly"}) {
        std::vector<std::string> arguments = outputs;
        arguments.insert(arguments.end(), {"--disk", use});
        expect_run_refused(arguments, "is the file of --");
      }
      std::vector<std::string> arguments = outputs;
      arguments.insert(arguments.end(), {"--initrd", image_});
      expect_run_refused(arguments, "--initrd");
      arguments = outputs;
      arguments.insert(arguments.end(), {"--rng", image_});
      expect_run_refused(arguments, "--rng");
    }
  }
  EXPECT_EQ(contents(image_), before);
  const std::string kernel = contents(kernel_);
  expect_run_refused({"--serial", "file=" + kernel_}, "--kernel: ");
  expect_refused({"bench", "blk", "--guest", kernel_, "--json", kernel_}, "--guest, too");
  EXPECT_EQ(contents(kernel_), kernel);
  const std::string config = (folder_ / "m.toml").string();
  std::ofstream(config) << "cpus = 1\n";
  expect_run_refused({"--config", config, "--serial", "file=" + config}, "--config, too");
  EXPECT_EQ(contents(config), "cpus = 1\n");
  const std::string log = (folder_ / "log").string();
  expect_run_refused({"--serial", "file=" + log, "--stats", log}, "--serial, too");
  EXPECT_FALSE(fs::exists(log));
}

// What comes after them may still be refused.
TEST_F(CliTest, ARefusedStartLeavesTheLastLog) {
  const std::string old = (folder_ / "old").string();
  std::ofstream(old) << "of the last run";
  const std::string fresh = (folder_ / "fresh").string();
  for (const std::string& log : {old, fresh}) {
    const Outcome outcome =
        bellhop({"run", "--kernel", kernel_, "--serial", "file=" + log, "--console",
                 "file=" + log + "2", "--disk", "path=" + image_ + ",aio=native,cache=writeback"});
    EXPECT_NE(outcome.status, 0);
  }
  EXPECT_EQ(contents(old), "of the last run");
  for (const std::string& name : {fresh, fresh + "2", old + "2"}) EXPECT_FALSE(fs::exists(name));
}

// 1024 vsock connections do not fit into the usual limit. Seen by a program in passt's place, which
// is to have the limit that a shell gives it.
TEST_F(CliTest, RaisesItsLimitOfDescriptorsButNotItsChildrens) {
  std::ofstream(folder_ / "passt") << "#!/bin/sh\nsleep 0.2\n"
                                      "us=$(sed -n 's/^Max open files *\\([0-9]*\\) .*/\\1/p' "
                                      "/proc/$PPID/limits)\n"
                                      "echo us $us, passt $(ulimit -Sn) >&2; exit 1\n";
  fs::permissions(folder_ / "passt", fs::perms::owner_all);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{.rlim_cur = 200, .rlim_max = std::min<rlim_t>(before.rlim_max, 4000)};
  const std::string path = std::string("PATH=") + folder_.string() + ":" + ::getenv("PATH");
  const Outcome outcome = finish(start({"run", "--kernel", kernel_, "--net", "user"}, [&] {
    (void)::setrlimit(RLIMIT_NOFILE, &low);
    (void)::putenv(const_cast<char*>(path.c_str()));
  }));
  if (outcome.err.find("kvm") != std::string::npos) GTEST_SKIP() << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("passt does not start: us " + std::to_string(low.rlim_max) +
                                     ", passt 200"));
}

TEST_F(CliTest, NamesTheOptionOfASweepAtFault) {
  expect_refused({"bench"}, "subcommand");
  expect_refused({"bench", "blk", "--workload", "reads"}, "--workload: 'reads' is unknown");
  expect_refused({"bench", "blk", "--threads", "1,,2"}, "--threads: '' is wrong");
  expect_refused({"bench", "blk", "--notify", "off"}, "--notify: 'off' is unknown");
  expect_refused({"bench", "blk", "--placement", "moon"}, "--placement: 'moon' is unknown");
  expect_refused({"bench", "blk", "--peer", "xen"}, "--peer: 'xen' is unknown");
  expect_refused({"bench", "blk", "--peer", "qemu=/nonexistent"},
                 "--peer: /nonexistent is no program that can be run (No such file or directory)");
  expect_refused({"bench", "net", "--peer", "qemu", "--peer", "qemu=/bin/ls"},
                 "--peer: /bin/ls is no QEMU");
  expect_refused({"bench", "net", "--vmm", "bellhop,qemu=/bin/ls"}, "--vmm: /bin/ls is no QEMU");
  expect_refused({"bench", "blk", "--peer", "bellhop"},
                 "--peer: 'bellhop' is unknown; known are qemu, qemu=PROGRAM");
  expect_refused({"bench", "blk", "--seconds", "never"}, "--seconds: 'never' is wrong");
  expect_refused({"bench", "blk", "--medium", "/nonexistent"},
                 "--medium: cannot open /nonexistent");
  expect_refused({"bench", "blk", "--guest", "/nonexistent"}, "--guest: there is no file");
  expect_refused({"bench", "blk", "--cache", "writeback"}, "--aio native needs --cache none");
  expect_refused({"bench", "notify", "--kicks", "1"}, "--kicks: '1' is wrong");
  expect_refused(
      {"bench", "study", "--placement", "overcommit"},
      "--placement: 'overcommit' is unknown; known are same-core, other-core, free, busy");
  expect_refused({"bench", "study", "--latency", "50us,5s"},
                 "--latency: '5s' is wrong; it must be a time up to 1s, such as 50us or 0");
  expect_refused({"bench", "study", "--latency", "50us", "--medium", folder_.string()},
                 "--latency: is that of a null medium");
  expect_refused({"bench", "study", "--medium", "null,/nonexistent"},
                 "--medium: cannot open /nonexistent");
  expect_refused({"bench", "study", "--optimize", "cost"}, "--optimize: 'cost' is unknown");
}

TEST_F(CliTest, ExplainsNothingButItsOwnFiles) {
  expect_refused({"explain"}, "subcommand");
  expect_refused({"explain", "file", (folder_ / "none").string()}, "FILE: ");
  expect_refused({"explain", "file", kernel_}, "not a file of `bellhop run --explain`");
  expect_refused({"explain", "blk", "--notify", "adaptive"}, "--notify: adaptive changes");
  expect_refused({"explain", "blk", "--medium", "/nonexistent"}, "--medium: ");
  expect_refused({"explain", "blk", "--json", "-", "--timeline", "-"}, "--json -: ");
  expect_refused({"run", "--kernel", kernel_, "--explain", "/nonexistent/way"}, "--explain: ");
}

TEST_F(CliTest, AConfigurationFileIsToldByItsLine) {
  const fs::path file = folder_ / "machine.toml";
  std::ofstream(file) << "kernel = \"" << kernel_ << "\"\ncpu = 2\n";
  expect_refused({"run", "--config", file.string()}, "machine.toml:2: unknown name 'cpu'");
}

TEST_F(CliTest, MeasuresTheEngineWithoutAVm) {
  const Outcome outcome = bellhop({"bench",        "blk",
                                   "--host",       "inprocess",
                                   "--medium",     folder_.string(),
                                   "--workload",   "randread,randwrite",
                                   "--threads",    "4",
                                   "--seconds",    "0.1",
                                   "--warmup",     "0",
                                   "--repeat",     "1",
                                   "--placement",  "free",
                                   "--image-size", "16M",
                                   "--aio",        "io_uring",
                                   "--cache",      "writeback",
                                   "--json",       "-"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  ASSERT_EQ(json["runs"].size(), 4U);
  for (const auto& run : json["runs"]) {
    EXPECT_EQ(run["vmm"], "inprocess");
    EXPECT_GT(run["mb_per_s"].get<double>(), 0);
  }
  expect_refused({"bench", "blk", "--host", "inprocess", "--peer", "qemu"}, "--host inprocess");
}

TEST_F(CliTest, ASweepThatIsInterruptedIsWrittenAndGoesOn) {
  const std::string file = (folder_ / "figures.json").string();
  const auto sweep = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {
        "bench",        "blk",      "--host",    "inprocess", "--medium",    folder_.string(),
        "--workload",   "randread", "--threads", "1,4",       "--warmup",    "0",
        "--repeat",     "2",        "--notify",  "sync",      "--placement", "free",
        "--image-size", "16M",      "--aio",     "threads",   "--cache",     "writeback"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const pid_t pid = start(sweep({"--seconds", "1", "--json", file}));
  EXPECT_TRUE(says("err", "[2/4]"));
  ::kill(pid, SIGINT);
  ::kill(pid, SIGTERM);  // at once, as timeout(1) sends its second: it is the same stop
  const Outcome stopped = finish(pid);
  EXPECT_EQ(stopped.status, 128 + SIGINT) << stopped.err;
  EXPECT_THAT(stopped.out, HasSubstr("Random reads"));
  EXPECT_THAT(stopped.err, HasSubstr("[bench] 2 cells, 4 repeats: about"));
  const auto before = nlohmann::json::parse(contents(file), nullptr, false);
  ASSERT_TRUE(before.is_object());
  EXPECT_EQ(before["complete"], false);
  ASSERT_EQ(before["runs"].size(), 1U);

  expect_refused(sweep({"--seconds", "2", "--resume", file}), "was measured with --seconds 1");
  expect_refused(sweep({"--seconds", "1", "--resume", image_}), "it is no report of bench");
  const Outcome resumed = bellhop(sweep({"--seconds", "1", "--resume", file}));
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("repeats are there already"));
  const auto after = nlohmann::json::parse(contents(file), nullptr, false);
  ASSERT_TRUE(after.is_object());
  EXPECT_EQ(after["complete"], true);
  EXPECT_EQ(after["seed"], before["seed"]);
  ASSERT_EQ(after["runs"].size(), 2U);
  for (const auto& run : after["runs"]) EXPECT_EQ(run["all_repeats"].size(), 2U);
  EXPECT_EQ(after["runs"][0]["all_repeats"][0], before["runs"][0]["all_repeats"][0]);
}

TEST_F(CliTest, RepeatsAndTheirGoalAreChecked) {
  const std::vector<std::string> blk = {"bench", "blk", "--host", "inprocess"};
  const auto with = [&blk](std::vector<std::string> more) {
    more.insert(more.begin(), blk.begin(), blk.end());
    return more;
  };
  expect_refused(with({"--repeat", "2..9"}), "--repeat: '2'");
  expect_refused(with({"--repeat", "9..3"}), "--repeat: '3'");
  expect_refused(with({"--repeat", "3.."}), "it must be N or LEAST..MOST");
  expect_refused(with({"--repeat", "5", "--until", "5%"}), "--until: needs --repeat LEAST..MOST");
  expect_refused(with({"--until", "x%"}), "it must be percent from 0.1 to 100");
  expect_refused(with({"--seed", "-1"}), "--seed: '-1'");
}

}  // namespace
}  // namespace bellhop

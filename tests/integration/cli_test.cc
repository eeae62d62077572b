// The command line of the real program: exit statuses, one-line errors that name the option at
// fault (row 36 of the bad inputs), and, where there is a KVM, a short run and a short sweep.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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
  EXPECT_THAT(version.out, testing::StartsWith("bellhop "));
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
    EXPECT_THAT(outcome.err, testing::AnyOf(HasSubstr("standard output: cannot be written"),
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
  expect_refused({"bench", "study", "--optimize", "latency"}, "--optimize: 'latency' is unknown");
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
  for (int i = 0; i < 400 && contents(folder_ / "err").find("[2/4]") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
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

#ifdef BELLHOP_BENCH_GUEST

TEST_F(CliMachineTest, RunsTheBenchGuestAndWritesStatistics) {
  const std::string stats = (folder_ / "stats.json").string();
  const Outcome outcome =
      bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--stats", stats,
               "--cmdline", "workload=notify count=200", "--disk", "null=64M,notify=sync"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"event\":\"result\""));
  const auto json = nlohmann::json::parse(contents(stats), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_GE(json["measured"]["userspace_exits"].get<int>(), 200);
  EXPECT_GE(json["measured"]["spurious_kicks"].get<int>(), 200);
}

TEST_F(CliMachineTest, ClosedStandardDescriptorsAreNobodyElses) {
  closed_ = {0, 1, 2};
  EXPECT_EQ(bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                     "workload=notify count=10", "--disk", "null=64M,notify=sync"})
                .status,
            0);
}

TEST_F(CliMachineTest, AFullOutputOfTheGuestIsToldAndItsStatusOfSuccessIsNot) {
  output_ = "/dev/full";
  const Outcome outcome =
      bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
               "workload=notify count=10", "--disk", "null=64M,notify=sync"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("--serial: "));
}

TEST_F(CliMachineTest, LateStatisticsKeepTheGuestsStatus) {
  const Outcome outcome = bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M",
                                   "--cmdline", "workload=notify count=10", "--disk",
                                   "null=64M,notify=sync", "--stats", "/dev/full"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("--stats: cannot write /dev/full"));
}

TEST_F(CliMachineTest, ALogThatIsCutOffGoesOnAtItsBeginning) {
  const fs::path log = folder_ / "serial.log";
  const pid_t pid = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--serial",
                           "file=" + log.string(), "--cmdline", "workload=idle seconds=2"});
  const auto has_begun = [&log] {
    const std::string text = contents(log);
    return text.find("begin") != std::string::npos && text.ends_with('\n');
  };
  for (int i = 0; i < 200 && !has_begun(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  fs::resize_file(log, 0);
  EXPECT_EQ(finish(pid).status, 0);
  EXPECT_THAT(contents(log), testing::StartsWith("{"));
}

TEST_F(CliMachineTest, AnOutputThatNobodyReadsStopsNeitherTheGuestNorASignal) {
  const fs::path fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_EQ(::fcntl(reader, F_SETPIPE_SZ, 4096), 4096);
  const int writer = ::open(fifo.c_str(), O_WRONLY | O_NONBLOCK);
  while (::write(writer, "x", 1) == 1) {
  }
  const std::string stats = (folder_ / "stats.json").string();
  const pid_t pid = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--serial",
                           "file=" + fifo.string(), "--stats", stats, "--cmdline",
                           "workload=notify count=10", "--disk", "null=64M,notify=sync"});
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ASSERT_EQ(::waitpid(pid, nullptr, WNOHANG), 0) << "what it said is still to be written";
  ::kill(pid, SIGTERM);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 1) << "the guest ended by itself, with 0; its words are lost";
  EXPECT_THAT(outcome.err, HasSubstr("were lost: nobody read them"));
  ::close(reader);
  ::close(writer);
}

TEST_F(CliMachineTest, AnIgnoredHangUpStaysIgnored) {
  hangup_ = SIG_IGN;
  const pid_t pid = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                           "workload=idle seconds=2"});
  for (int i = 0; i < 200 && contents(folder_ / "out").find("begin") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(pid, SIGHUP);
  EXPECT_EQ(finish(pid).status, 0);
}

TEST_F(CliMachineTest, AGuestThatFailsIsAFailure) {
  const Outcome outcome = bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M",
                                   "--cmdline", "workload=randread"});  // there is no disk
  EXPECT_EQ(outcome.status, 1);
}

// `ulimit -f`: the guest hears of it, whoever writes for it.
TEST_F(CliMachineTest, AtTheLimitOfFileSizesADiskFails) {
  constexpr rlim_t kLimit = 1 << 20;
  const std::string image = make_file("large.img", 16 << 20);
  for (const char* engine : {"aio=threads", "aio=io_uring", "aio=native,cache=none"}) {
    for (const char* notify : {"notify=sync", "notify=ioeventfd", "notify=poll"}) {
      const pid_t pid = start(
          {"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
           "workload=randwrite seconds=1", "--disk", "path=" + image + "," + engine + "," + notify},
          [] {
            const rlimit limit{kLimit, kLimit};
            ::setrlimit(RLIMIT_FSIZE, &limit);
          });
      const Outcome outcome = finish(pid);
      if (outcome.err.find("O_DIRECT") != std::string::npos) continue;  // a tmpfs
      EXPECT_EQ(outcome.status, 1) << engine << " " << notify << "\n" << outcome.err;
      EXPECT_THAT(outcome.out, HasSubstr("error")) << engine << " " << notify;
    }
  }
}

TEST_F(CliMachineTest, SignalsEndAMachineAndLeaveNoLock) {
  const pid_t pid = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                           "workload=idle seconds=100", "--disk", "path=" + image_});
  for (int i = 0; i < 200 && contents(folder_ / "out").find("begin") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ::kill(pid, SIGTERM);
  EXPECT_EQ(finish(pid).status, 128 + SIGTERM);
  const Outcome again =
      bellhop({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
               "workload=notify count=10", "--disk", "path=" + image_});
  EXPECT_EQ(again.status, 0) << again.err;
}

TEST_F(CliMachineTest, AShortSweepGivesEveryFormatAndLeavesNoFile) {
  const fs::path medium = folder_ / "medium";
  fs::create_directory(medium);
  const std::string json_file = (folder_ / "figures.json").string();
  const std::string csv_file = (folder_ / "figures.csv").string();
  const std::string html_file = (folder_ / "figures.html").string();
  const Outcome outcome = bellhop({"bench",         "blk",
                                   "--guest",       BELLHOP_BENCH_GUEST,
                                   "--medium",      medium.string(),
                                   "--workload",    "create,randread",
                                   "--threads",     "8",
                                   "--seconds",     "0.1",
                                   "--warmup",      "0",
                                   "--repeat",      "2",
                                   "--placement",   "free",
                                   "--image-size",  "16M",
                                   "--create-size", "64M",
                                   "--aio",         "io_uring",
                                   "--cache",       "writeback",
                                   "--json",        json_file,
                                   "--csv",         csv_file,
                                   "--html",        html_file});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("Random reads"));
  EXPECT_TRUE(fs::is_empty(medium));
  const auto json = nlohmann::json::parse(contents(json_file), nullptr, false);
  ASSERT_TRUE(json.is_object());
  ASSERT_EQ(json["runs"].size(), 4U);
  for (const auto& run : json["runs"]) {
    EXPECT_TRUE(run["verified"].get<bool>());
    EXPECT_EQ(run["repeat"], 2);
    EXPECT_GT(run["mb_per_s"].get<double>(), 0);
    EXPECT_GT(run["host_cpu_s"].get<double>(), 0);
    EXPECT_GT(run["vcpu_cpu_s"].get<double>(), 0);
  }
  EXPECT_THAT(contents(csv_file), HasSubstr("bytes_per_host_cpu_s"));
  EXPECT_THAT(contents(html_file), HasSubstr("</html>"));
}

TEST_F(CliMachineTest, ExplainsWhereTheTimeOfARequestGoes) {
  const std::string timeline = (folder_ / "timeline.json").string();
  const std::string way = (folder_ / "cells.json").string();
  const Outcome outcome = bellhop({"explain",     "blk",
                                   "--guest",     BELLHOP_BENCH_GUEST,
                                   "--medium",    folder_.string(),
                                   "--threads",   "4",
                                   "--placement", "free",
                                   "--seconds",   "0.1",
                                   "--warmup",    "0",
                                   "--aio",       "io_uring",
                                   "--cache",     "writeback",
                                   "--timeline",  timeline,
                                   "--json",      way});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  for (const char* notify : {"sync", "ioeventfd", "poll"}) {
    EXPECT_THAT(outcome.out, HasSubstr("notify=" + std::string(notify)));
  }
  EXPECT_THAT(outcome.out, HasSubstr("% of the time goes by from"));
  EXPECT_THAT(outcome.out, HasSubstr("submitted → answered"));
  const auto json = nlohmann::json::parse(contents(timeline), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_GT(json["traceEvents"].size(), 100U);
  EXPECT_THAT(outcome.out, HasSubstr("% of the CPU time ("));
  const auto cells = nlohmann::json::parse(contents(way), nullptr, false);
  ASSERT_EQ(cells["queues"].size(), 3U);
  for (const auto& queue : cells["queues"]) {
    EXPECT_GT(queue["steps"]["submitted_to_answered"]["cpu_us"].get<double>(), 0)
        << queue["notify"];
    EXPECT_GT(queue["rest_cpu_us"].get<double>(), 0) << "the guest's";
    EXPECT_EQ(queue["steps"].contains("offered_to_served") &&
                  queue["steps"]["offered_to_served"].contains("cpu_us"),
              queue["notify"] != "sync")
        << "a vCPU that does not serve runs its guest";
  }
}

TEST_F(CliMachineTest, AMachineWritesWhereTheTimeOfItsRequestsWent) {
  const std::string way = (folder_ / "way.json").string();
  const std::vector<std::string> run = {
      "run",      "--kernel",  BELLHOP_BENCH_GUEST,
      "--memory", "64M",       "--explain",
      way,        "--cmdline", "workload=verify threads=4 bs=4096",
      "--disk",   "null=16M"};
  const Outcome outcome = bellhop(run);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(contents(way), nullptr, false);
  ASSERT_TRUE(json.is_object());
  ASSERT_EQ(json["queues"].size(), 1U);
  const auto& queue = json["queues"][0];
  EXPECT_EQ(queue["device"], "disk0");
  EXPECT_GT(queue["requests"].get<int>(), 100);
  EXPECT_EQ(queue["by_driver"], 0) << "the guest was not asked for stamps";
  EXPECT_FALSE(
      queue["steps"].value("offered_to_served", nlohmann::json::object()).contains("p50_us"));
  const Outcome shown = bellhop({"explain", "file", way});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("disk0, queue 0: "));
  EXPECT_THAT(shown.out, HasSubstr("The driver does not say"));
}

TEST_F(CliMachineTest, ANotificationIsPricedInEveryFormat) {
  const std::string csv_file = (folder_ / "notify.csv").string();
  const std::string html_file = (folder_ / "notify.html").string();
  const Outcome outcome =
      bellhop({"bench", "notify", "--guest", BELLHOP_BENCH_GUEST, "--kicks", "200", "--repeat", "2",
               "--json", "-", "--csv", csv_file, "--html", html_file});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << outcome.out;
  EXPECT_EQ(json["notify"]["repeat"], 2);
  EXPECT_GT(json["notify"]["bellhop_ioeventfd"]["times_floor"].get<double>(), 0);
  // Standard output is the figures' alone: table and progress go to the other one.
  EXPECT_THAT(outcome.err, HasSubstr("[10/10] "));
  EXPECT_THAT(outcome.err, HasSubstr("times the floor"));
  const std::string csv = contents(csv_file);
  EXPECT_EQ(std::ranges::count(csv, '\n'), 6);
  EXPECT_THAT(contents(html_file), HasSubstr("</html>"));
}

TEST_F(CliMachineTest, AnInterruptedSweepLeavesNoProcessAndNoFile) {
  const fs::path medium = folder_ / "medium";
  fs::create_directory(medium);
  const pid_t pid =
      start({"bench", "blk", "--guest", BELLHOP_BENCH_GUEST, "--medium", medium.string(),
             "--seconds", "100", "--workload", "create", "--threads", "1", "--create-size", "64M"});
  for (int i = 0; i < 100 && contents(folder_ / "err").find("[1/") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(pid, SIGINT);
  EXPECT_EQ(finish(pid).status, 128 + SIGINT);
  EXPECT_TRUE(fs::is_empty(medium));
  // Its machine was waited for before it ended: nobody runs this medium's command line any more.
  for (const auto& entry : fs::directory_iterator("/proc")) {
    EXPECT_THAT(contents(entry.path() / "cmdline"),
                testing::Not(HasSubstr("workload=create threads=1 bs=4096 seconds=100")));
  }
}

#endif

}  // namespace
}  // namespace bellhop

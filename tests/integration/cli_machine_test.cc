// What the command line does where there is a KVM: a short run, a short sweep, and their ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/cli_fixture.h"

#ifdef BELLHOP_BENCH_GUEST

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

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
  EXPECT_TRUE(testing::eventually(has_begun));
  fs::resize_file(log, 0);
  EXPECT_EQ(finish(pid).status, 0);
  EXPECT_THAT(contents(log), ::testing::StartsWith("{"));
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
  EXPECT_TRUE(says("out", "begin"));
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
  EXPECT_TRUE(says("out", "begin"));
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
  EXPECT_TRUE(says("err", "[1/"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::kill(pid, SIGINT);
  EXPECT_EQ(finish(pid).status, 128 + SIGINT);
  EXPECT_TRUE(fs::is_empty(medium));
  // Its machine was waited for before it ended: nobody runs this medium's command line any more.
  for (const auto& entry : fs::directory_iterator("/proc")) {
    EXPECT_THAT(contents(entry.path() / "cmdline"),
                ::testing::Not(HasSubstr("workload=create threads=1 bs=4096 seconds=100")));
  }
}

}  // namespace
}  // namespace bellhop

#endif

#include "bench/blk/blk_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "bench/harness/bench_image.h"
#include "guest/pattern.h"
#include "testing/refused_call.h"

namespace bellhop::bench {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(ReadResult, GivesNoFigureForDataThatWasNotVerified) {
  nlohmann::json line = {{"seconds", 2.0},
                         {"operations", 1000},
                         {"bytes", 4096000},
                         {"verified", true},
                         {"kicks", 10},
                         {"interrupts", 5},
                         {"latency_us", {{"p50", 1.5}, {"p99", 2.5}, {"p999", 3.5}, {"max", 9}}}};
  const auto good = read_result(line);
  ASSERT_TRUE(good.has_value()) << good.error().message;
  EXPECT_DOUBLE_EQ(good->mb_per_s(), 2.048);
  EXPECT_DOUBLE_EQ(good->latency.p99, 2.5);
  EXPECT_EQ(good->counters.kicks, 10U);
  line["verified"] = false;
  line["wrong_blocks"] = 3;
  EXPECT_THAT(read_result(line).error().message, HasSubstr("3 wrong blocks"));
  line["verified"] = true;
  line["operations"] = 0;
  EXPECT_THAT(read_result(line).error().message, HasSubstr("did nothing"));
  EXPECT_FALSE(read_result(nlohmann::json::object()).has_value());
}

TEST(ReadResult, TakesAnUncheckedOneOnlyWhereNothingWasToBeChecked) {
  nlohmann::json line = {{"seconds", 2.0},    {"operations", 1000}, {"bytes", 4096000},
                         {"verified", false}, {"checked", false},   {"io_errors", 0}};
  const auto good = read_unchecked_result(line);
  ASSERT_TRUE(good.has_value()) << good.error().message;
  EXPECT_DOUBLE_EQ(good->mb_per_s(), 2.048);
  EXPECT_FALSE(read_result(line).has_value()) << "who expects a check does not take it";
  line["io_errors"] = 2;
  EXPECT_THAT(read_unchecked_result(line).error().message, HasSubstr("2 I/O errors"));
  line["io_errors"] = 0;
  line["checked"] = true;
  EXPECT_FALSE(read_unchecked_result(line).has_value());
  line.erase("checked");
  EXPECT_FALSE(read_unchecked_result(line).has_value()) << "an older guest has checked";
}

TEST(ReadStats, TakesTheMeasuredTimeOnly) {
  const auto stats = read_stats(
      R"({"total":{"kicks":100},"measured":{"kicks":60,"userspace_exits":70},"threads":{"vcpu":[11,12],"iothread":[13]}})");
  ASSERT_TRUE(stats.has_value());
  EXPECT_EQ(stats->counters.kicks, 60U);
  EXPECT_EQ(stats->counters.userspace_exits, 70U);
  EXPECT_FALSE(stats->counters.interrupts.has_value());
  EXPECT_THAT(stats->vcpu_tids, ::testing::ElementsAre(11, 12));
  EXPECT_FALSE(read_stats("").has_value());
  EXPECT_FALSE(read_stats(R"({"total":{}})").has_value());
}

TEST(ChildProcess, GivesItsLinesAndItsComplaint) {
  auto child =
      Child::spawn({"sh", "-c", "echo one; printf 'two\\r\\n'; echo oh >&2; echo no >&2"}, {});
  ASSERT_TRUE(child.has_value());
  const auto deadline = Child::Clock::now() + seconds(20);
  EXPECT_EQ(child->read_line(deadline, EventFd{})->value(), "one");
  EXPECT_EQ(child->read_line(deadline, EventFd{})->value(), "two");
  EXPECT_FALSE(child->read_line(deadline, EventFd{})->has_value());
  EXPECT_EQ(WEXITSTATUS(child->wait(deadline)), 0);
  EXPECT_EQ(child->last_complaint(), "no");
}

TEST(ChildProcess, EndsWithItsObjectAndAtAnInterrupt) {
  pid_t pid = -1;
  {
    auto child = Child::spawn({"sleep", "100"}, {});
    ASSERT_TRUE(child.has_value());
    pid = child->pid();
    auto interrupt = EventFd::create();
    ASSERT_TRUE(interrupt.has_value());
    interrupt->signal();
    const auto line = child->read_line(Child::Clock::now() + seconds(20), *interrupt);
    ASSERT_FALSE(line.has_value());
    EXPECT_EQ(line.error().code, kEndedByUser);
    const auto late = child->read_line(Child::Clock::now(), EventFd{});
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code, ETIMEDOUT);
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(ChildProcess, SaysThatAProgramIsMissing) {
  auto child = Child::spawn({"/nonexistent/program"}, {});
  ASSERT_TRUE(child.has_value());
  EXPECT_EQ(WEXITSTATUS(child->wait(Child::Clock::now() + seconds(20))), 127);
  EXPECT_THAT(child->last_complaint(), HasSubstr("cannot be started: No such file"));
}

TEST(CpuAccount, CountsThreadsAndProcess) {
  const auto begin = CpuSample::take(::getpid());
  ASSERT_TRUE(begin.has_value());
  volatile unsigned sink = 0;
  for (unsigned i = 0; i < 20'000'000; ++i) sink = sink + i;
  const auto end = CpuSample::take(::getpid());
  ASSERT_TRUE(end.has_value());
  const CpuUse use = used_between(*begin, *end, {::getpid()});
  EXPECT_GT(use.vcpu_s, 0) << "this very thread has worked";
  EXPECT_GE(use.total_s, use.vcpu_s / 2);
  constexpr pid_t kOverTheKernelsLimit = (1 << 22) + 1;
  EXPECT_FALSE(CpuSample::take(kOverTheKernelsLimit).has_value());
}

TEST(CpuAccount, WhatNoVcpuUsedIsTheIoThreads) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  CpuSample begin;
  begin.process_ns = 10 * kSecond;
  begin.threads[1] = {.cpu_ns = 4 * kSecond, .context_switches = 5, .remote_wakeups = 1};
  begin.threads[2] = {.cpu_ns = 6 * kSecond, .context_switches = 7, .remote_wakeups = {}};
  CpuSample end;
  end.process_ns = 18 * kSecond;
  end.threads[1] = {.cpu_ns = 7 * kSecond, .context_switches = 15, .remote_wakeups = 3};
  end.threads[2] = {
      .cpu_ns = 9 * kSecond, .context_switches = 8, .remote_wakeups = {}, .system_ns = kSecond};
  end.threads[3] = {
      .cpu_ns = 2 * kSecond, .context_switches = 100, .remote_wakeups = {}};  // came in between
  const CpuUse use = used_between(begin, end, {1});
  EXPECT_DOUBLE_EQ(use.total_s, 8);
  EXPECT_DOUBLE_EQ(use.vcpu_s, 3);
  EXPECT_DOUBLE_EQ(use.io_s, 5);
  EXPECT_DOUBLE_EQ(use.io_system_s, 1);
  EXPECT_EQ(use.context_switches, 10U + 1U + 100U);
  EXPECT_EQ(use.remote_wakeups, 2U);
  // The two clocks are read one after the other: the vCPUs' may be ahead, and no time is negative.
  begin.process_ns = 16 * kSecond;
  EXPECT_DOUBLE_EQ(used_between(begin, end, {1}).io_s, 0);
}

TEST(CpuAccount, TellsWhatOthersTook) {
  CpuSample begin;
  begin.threads[1].run_delay_ns = 1'000'000'000;
  begin.steal_ns = 500'000'000;
  CpuSample end;
  end.threads[1].run_delay_ns = 3'000'000'000;
  end.threads[2].run_delay_ns = 250'000'000;
  end.steal_ns = 750'000'000;
  const CpuUse use = used_between(begin, end, {1});
  EXPECT_DOUBLE_EQ(use.vcpu_run_delay_s, 2);
  EXPECT_DOUBLE_EQ(use.io_run_delay_s, 0.25);
  EXPECT_DOUBLE_EQ(use.steal_s, 0.25);
  EXPECT_EQ(find_steal_ticks("cpu  1 2 3 4 5 6 7 88 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"), 88U);
  EXPECT_EQ(find_steal_ticks("cpu  1 2 3"), 0U);
  EXPECT_EQ(find_steal_ticks(""), 0U);
}

TEST(CpuAccount, CountsVhostsThreads) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const std::string name = "vhost-" + std::to_string(::getpid());
  const pid_t worker = ::fork();
  ASSERT_GE(worker, 0);
  if (worker == 0) {
    ::prctl(PR_SET_NAME, name.c_str());
    volatile unsigned sink = 0;
    for (unsigned i = 0; i < 20'000'000; ++i) sink = sink + i;
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto with = CpuSample::take(::getpid());
  ::kill(worker, SIGKILL);
  ::waitpid(worker, nullptr, 0);
  const auto without = CpuSample::take(::getpid());
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_TRUE(with.has_value() && without.has_value());
  EXPECT_GT(with->process_ns, without->process_ns) << "its 20 million additions are gone";
}

TEST(CpuAccount, CountsWakeUpsFromOtherCpusWhereTheKernelDoes) {
  const std::string sched =
      "bellhop (42, #threads: 3)\n"
      "nr_switches                                  :                  900\n"
      "se.statistics.nr_wakeups                     :                  700\n"
      "se.statistics.nr_wakeups_remote              :                  123\n"
      "se.statistics.nr_wakeups_affine              :                    7\n";
  EXPECT_EQ(find_remote_wakeups(sched), 123U);
  EXPECT_EQ(find_remote_wakeups("nr_wakeups_remote : 5"), 5U);
  EXPECT_FALSE(find_remote_wakeups("").has_value());
  EXPECT_FALSE(find_remote_wakeups("nr_switches : 3\n").has_value());
  EXPECT_FALSE(find_remote_wakeups("nr_wakeups_remote :").has_value());
  EXPECT_FALSE(find_remote_wakeups("nr_wakeups_remote : many").has_value());
}

TEST(CpuAccount, FindsTheSystemTimeBehindAnyName) {
  EXPECT_EQ(find_system_ticks("42 (io0) S 1 42 42 0 -1 4194304 90 0 0 0 700 311 0 0 20 0 3"), 311U);
  EXPECT_EQ(find_system_ticks("42 (a ) b) R 1 42 42 0 -1 4194304 90 0 0 0 700 12 0 0 20"), 12U);
  EXPECT_EQ(find_system_ticks("42 (io0) S 1 42"), 0U);
  EXPECT_EQ(find_system_ticks(""), 0U);
}

TEST(CpuAccount, TellsTheKernelsShareOfThoseThatAreNoVcpus) {
  CpuSample begin;
  begin.threads = {{1, {0, 0, {}, 50}}, {2, {0, 0, {}, 1'000'000'000}}};
  CpuSample end;
  end.threads = {{1, {9, 0, {}, 90}}, {2, {9, 0, {}, 3'000'000'000}}, {3, {9, 0, {}, 500'000'000}}};
  EXPECT_DOUBLE_EQ(used_between(begin, end, {1}).io_system_s, 2.5);
}

TEST(CpuAccount, SumsTheWakeUpsOfAllThreads) {
  CpuSample begin;
  begin.threads = {{1, {10, 5, 100, 0}}, {2, {10, 5, 7, 0}}, {3, {10, 5, 50, 0}}};
  CpuSample end;
  end.process_ns = 1000;
  end.threads = {{1, {20, 6, 130, 0}}, {2, {20, 6, 8, 0}}, {4, {5, 1, 3, 0}}};
  const CpuUse use = used_between(begin, end, {1});
  EXPECT_EQ(use.remote_wakeups, 30U + 1U + 3U) << "a new thread counts, one that ended does not";
  EXPECT_EQ(use.context_switches, 3U);
  for (auto& [tid, thread] : end.threads) thread.remote_wakeups.reset();
  EXPECT_FALSE(used_between(begin, end, {1}).remote_wakeups.has_value());
}

TEST(CpuAccount, WakeUpsAreKnownWhereTheHostCountsThem) {
  const auto sample = CpuSample::take(::getpid());
  ASSERT_TRUE(sample.has_value());
  ASSERT_FALSE(sample->threads.empty());
  EXPECT_EQ(sample->threads.begin()->second.remote_wakeups.has_value(), wakeups_are_counted());
}

TEST(CpuAccount, WhatOnlyOneSampleHasIsNotCounted) {
  CpuSample begin;
  begin.threads = {{1, {10, 5, {}, 0}}, {2, {10, 5, 7, 0}}};
  CpuSample end;
  end.threads = {{1, {20, 6, 130, 0}}, {2, {20, 6, 9, 0}}};
  EXPECT_EQ(used_between(begin, end, {}).remote_wakeups, 2U);
}

TEST(CpuAccount, GivesNoFigureWithoutAFileThatCannotBeRead) {
  // The call and not the limit of descriptors: sanitizers want descriptors of their own.
  Result<CpuSample> sample;
  with_refused_call(SYS_openat, EMFILE, [&] { sample = CpuSample::take(::getpid()); });
  ASSERT_FALSE(sample.has_value());
  EXPECT_EQ(sample.error().code, EMFILE);
  EXPECT_THAT(sample.error().message, HasSubstr(fmt::format("/proc/{}/task", ::getpid())));
}

TEST(BenchImage, HoldsThePatternAndHasNoName) {
  const std::string folder = ::testing::TempDir();
  const auto image = make_pattern_image(folder, 3 << 20);
  ASSERT_TRUE(image.has_value()) << image.error().message;
  struct stat info {};
  ASSERT_EQ(::fstat(image->get(), &info), 0);
  EXPECT_EQ(info.st_nlink, 0U);
  EXPECT_EQ(info.st_size, 3 << 20);
  alignas(16) std::byte block[pattern::kBlockBytes];
  for (const std::uint64_t number : {0U, 255U, 256U, 767U}) {
    ASSERT_EQ(::pread(image->get(), block, sizeof block, static_cast<off_t>(number * sizeof block)),
              static_cast<ssize_t>(sizeof block));
    std::uint64_t generation = 0;
    EXPECT_TRUE(pattern::check_block(block, number, kImageSeed, &generation)) << number;
    EXPECT_EQ(generation, pattern::kFirstGeneration);
  }
  EXPECT_FALSE(make_empty_image("/nonexistent", 4096).has_value());
  EXPECT_NE(medium_name(folder), "");
  EXPECT_GT(free_space(folder), 0U);
}

}  // namespace
}  // namespace bellhop::bench

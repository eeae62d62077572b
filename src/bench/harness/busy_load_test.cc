#include "bench/harness/busy_load.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "base/unique_fd.h"

namespace bellhop::bench {
namespace {

/// The letter of its state in /proc: R is running or ready. Nothing where there is no such process.
char state_of(pid_t pid) {
  std::ostringstream stat;
  stat << std::ifstream("/proc/" + std::to_string(pid) + "/stat").rdbuf();
  const auto name_end = stat.str().rfind(") ");
  return name_end == std::string::npos ? '\0' : stat.str()[name_end + 2];
}

TEST(BusyLoad, ComputesUntilItsObjectEnds) {
  std::vector<pid_t> pids;
  {
    const auto load = BusyLoad::start(2);
    ASSERT_TRUE(load.has_value()) << load.error().message;
    pids = load->pids();
    ASSERT_EQ(pids.size(), 2U);
    for (const pid_t pid : pids) {
      for (int i = 0; i < 1000 && state_of(pid) != 'R'; ++i) ::usleep(10'000);  // it begins
      EXPECT_EQ(state_of(pid), 'R') << "it never sleeps";
    }
  }
  for (const pid_t pid : pids) EXPECT_NE(::kill(pid, 0), 0) << "ended, and waited for";
  const auto none = BusyLoad::start(0);
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->pids().empty());
}

TEST(BusyLoad, EndsWithAProcessThatIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    const auto load = BusyLoad::start(1);
    const pid_t pid = load ? load->pids()[0] : -1;
    (void)!::write(writing.get(), &pid, sizeof pid);
    ::kill(::getpid(), SIGKILL);
  }
  writing.reset();
  pid_t pid = -1;
  ASSERT_EQ(::read(reading.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_GT(pid, 0);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  // Another process waits for it now, or nobody: a zombie runs no more.
  for (int i = 0; i < 1000; ++i) {
    const char state = state_of(pid);
    if (state == '\0' || state == 'Z') return;
    ::usleep(10'000);
  }
  FAIL() << "it goes on: " << state_of(pid);
}

}  // namespace
}  // namespace bellhop::bench

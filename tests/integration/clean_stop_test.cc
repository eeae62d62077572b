// A signal asks the guest first: guests of some instructions that obey their power button, do not,
// or have no driver of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "testing/elf_builder.h"
#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

using Code = std::vector<std::uint8_t>;

Code operator+(Code all, const Code& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// 32 bits. PM1's status is at 0x600, its enable bits at 0x602, its control at 0x604, its timer at
// 0x608.
const Code kListen = {0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef};
const Code kListenToNothing = {0x66, 0xba, 0x02, 0x06, 0x66, 0xb8, 0x00, 0x00, 0x66, 0xef};
const Code kSayReady = {0x66, 0xba, 0xf8, 0x03, 0xb0, 'r', 0xee, 0xb0, '\n', 0xee};
const Code kForget = {0x66, 0xba, 0x00, 0x06, 0x66, 0xb8, 0x00, 0x01, 0x66, 0xef};
const Code kWaitForButton = {0x66, 0xba, 0x00, 0x06, 0x66, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf5};
const Code kWaitTwoSeconds = {0x66, 0xba, 0x08, 0x06, 0xed, 0x89, 0xc3, 0xed, 0x29,
                              0xd8, 0x3d, 0x32, 0x3d, 0x6d, 0x00, 0x72, 0xf6};
const Code kSwitchOff = {0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef};
const Code kReset = {0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee};
const Code kHalt = {0xf4, 0xeb, 0xfd};

class CleanStopMachineTest : public CliMachineTest {
 protected:
  /// Starts a machine and waits until its guest has said that it is ready.
  pid_t start_guest(const Code& code, const std::vector<std::string>& options = {}) {
    constexpr std::uint64_t kAddress = 1U << 20U;
    const auto image =
        ElfBuilder(ElfBuilder::Class::k32).load(kAddress, code + kHalt).pvh_note(kAddress).build();
    std::ofstream(kernel_).write(reinterpret_cast<const char*>(image.data()),
                                 static_cast<std::streamsize>(image.size()));
    std::vector<std::string> words = {"run", "--kernel", kernel_, "--memory", "16M"};
    words.insert(words.end(), options.begin(), options.end());
    std::filesystem::remove(folder_ / "out");  // of the last one
    const pid_t pid = start(words);
    EXPECT_TRUE(says("out", "r\n"));
    return pid;
  }
};

TEST_F(CleanStopMachineTest, AGuestThatObeysItsButtonSwitchesItselfOff) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    const pid_t pid = start_guest(kListen + kSayReady + kWaitForButton + kSwitchOff);
    ::kill(pid, signal);
    const Outcome outcome = finish(pid);
    EXPECT_EQ(outcome.status, 0) << signal;
    EXPECT_THAT(outcome.err, HasSubstr("pressed the guest's power button; it has 90 s to switch"));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

TEST_F(CleanStopMachineTest, AGuestThatDoesNotIsEndedWhenItsTimeIsOver) {
  const pid_t pid = start_guest(kListen + kSayReady, {"--stop-timeout", "1s"});
  ::kill(pid, SIGTERM);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_THAT(outcome.err, HasSubstr("it has 1 s to switch itself off"));
  EXPECT_THAT(outcome.err, HasSubstr("within 1 s: the machine is ended"));
}

TEST_F(CleanStopMachineTest, ASecondSignalEndsIt) {
  const pid_t pid = start_guest(kListen + kSayReady);
  ::kill(pid, SIGHUP);
  EXPECT_TRUE(says("err", "SIGHUP: pressed"));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));  // nearer ones are one
  ::kill(pid, SIGINT);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 128 + SIGINT);
  EXPECT_THAT(outcome.err, HasSubstr("SIGINT: the machine is ended"));
}

TEST_F(CleanStopMachineTest, ATimeOfZeroAndAGuestWithoutADriverEndAtOnce) {
  pid_t pid = start_guest(kListen + kSayReady, {"--stop-timeout", "0"});
  ::kill(pid, SIGTERM);
  Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_EQ(outcome.err, "");
  pid = start_guest(kSayReady);
  ::kill(pid, SIGTERM);
  outcome = finish(pid);
  EXPECT_EQ(outcome.status, 128 + SIGTERM);
  EXPECT_EQ(outcome.err, "");
}

// As timeout(1) does it: what follows at once does not cut the end short.
TEST_F(CleanStopMachineTest, TwoSignalsAtOnceLeaveTimeForTheEnd) {
  const std::string stats = (folder_ / "stats.json").string();
  const pid_t pid = start_guest(kListen + kSayReady, {"--stop-timeout", "0", "--stats", stats});
  ::kill(pid, SIGINT);
  ::kill(pid, SIGTERM);
  EXPECT_EQ(finish(pid).status, 128 + SIGINT);
  EXPECT_THAT(contents(stats), HasSubstr("}"));
}

// The driver comes after the signal and clears what was pressed before, as Linux does.
TEST_F(CleanStopMachineTest, AGuestInItsBootIsPressedAgain) {
  const pid_t pid = start_guest(kListenToNothing + kSayReady + kWaitTwoSeconds + kForget + kListen +
                                kWaitForButton + kSwitchOff);
  ::kill(pid, SIGTERM);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("does not listen to its power button"));
  EXPECT_THAT(outcome.err, HasSubstr("it listens now"));
}

TEST_F(CleanStopMachineTest, AGuestThatResetsInsteadIsNotStartedAgain) {
  const pid_t pid =
      start_guest(kListen + kSayReady + kWaitForButton + kReset, {"--on-reset", "restart"});
  ::kill(pid, SIGTERM);
  EXPECT_EQ(finish(pid).status, 3);
}

#ifdef BELLHOP_BENCH_GUEST

TEST_F(CleanStopMachineTest, CtrlAXHasAStatusOfItsOwn) {
  int leader = -1;
  int follower = -1;
  ASSERT_EQ(::openpty(&leader, &follower, nullptr, nullptr, nullptr), 0);
  const pid_t pid = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                           "workload=idle seconds=100"},
                          [&] {
                            ::setsid();
                            ::ioctl(follower, TIOCSCTTY, 0);
                            ::dup2(follower, 0);
                          });
  EXPECT_TRUE(says("out", "begin"));
  ASSERT_EQ(::write(leader, "\x01p", 2), 2);
  EXPECT_TRUE(says("err", "the guest does not listen to its power button"));
  ASSERT_EQ(::write(leader, "\x01x", 2), 2);
  const Outcome outcome = finish(pid);
  EXPECT_EQ(outcome.status, 7);
  EXPECT_THAT(outcome.err, HasSubstr("ended by Ctrl-A x"));
  ::close(leader);
  ::close(follower);
}

#endif

TEST_F(CliTest, AStopTimeOutHasAUnit) {
  expect_run_refused({"--stop-timeout", "90"}, "--stop-timeout: 90 has no unit: 90s?");
  expect_run_refused({"--stop-timeout", "soon"}, "--stop-timeout: 'soon' is wrong");
  expect_run_refused({"--stop-timeout", "90000s"}, "--stop-timeout: '90000s' is wrong");
}

}  // namespace
}  // namespace bellhop

#include "control/event_monitor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::eventually;
using bellhop::testing::must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class EventMonitorTest : public ::testing::Test {
 protected:
  EventMonitorTest() {
    ::signal(SIGPIPE, SIG_IGN);  // as the program does
    std::array<char, 32> name{"/tmp/events-XXXXXX"};
    folder_ = ::mkdtemp(name.data());
  }
  ~EventMonitorTest() override {
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }
  [[nodiscard]] std::string path() const { return folder_ + "/events"; }
  std::unique_ptr<EventMonitor> open(const std::string& where) {
    auto monitor = must(EventMonitor::open(where, outputs_));
    must(outputs_.begin());
    return monitor;
  }
  std::unique_ptr<EventMonitor> open_fd(int fd) { return open("fd=" + std::to_string(fd)); }
  void expect_refused(const std::string& where, const std::string& text) {
    const auto monitor = EventMonitor::open(where, outputs_);
    ASSERT_FALSE(monitor) << where;
    EXPECT_THAT(monitor.error().message, HasSubstr(text));
    EXPECT_THAT(monitor.error().message, HasSubstr("--event-monitor: "));
  }
  /// All that is in a pipe or socket now.
  static std::string take(int fd) {
    std::string all;
    std::array<char, 4096> part{};
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    for (ssize_t got = 0; (got = ::read(fd, part.data(), part.size())) > 0;) {
      all.append(part.data(), static_cast<std::size_t>(got));
    }
    return all;
  }
  /// "vm booted" of each event, whole ones alone.
  static std::vector<std::string> events_in(const std::string& text) {
    std::vector<std::string> events;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty()) continue;
      const Json json = Json::parse(line);
      EXPECT_TRUE(json.at("properties").is_null());
      EXPECT_TRUE(json.at("timestamp").at("secs").is_number_unsigned());
      EXPECT_LT(json.at("timestamp").at("nanos").get<std::uint64_t>(), 1'000'000'000U);
      EXPECT_EQ(json.size(), 4U);
      events.push_back(json.at("source").get<std::string>() + " " +
                       json.at("event").get<std::string>());
    }
    return events;
  }

  /// Tells events until some are lost, and then reads: what was kept comes with those that follow.
  static void expect_whole_events(EventMonitor& monitor, int reader) {
    unsigned told = 0;
    for (; monitor.lost() == 0; ++told) monitor.tell("vm", "paused");
    EXPECT_GT(told * 80U, EventMonitor::kBacklog);
    std::string text = take(reader);
    for (bool all = false; !all;) {
      const std::size_t before = text.size();
      monitor.tell("vm", "resumed");
      ++told;
      text += take(reader);
      all = text.size() - before < 100;  // this event alone
    }
    EXPECT_EQ(events_in(text).size() + monitor.lost(), told);
  }

  OutputFiles outputs_;
  std::string folder_;
};

TEST_F(EventMonitorTest, WritesToAFile) {
  std::ofstream(path()) << "of the last run";
  const auto monitor = open("path=" + path());
  monitor->tell("vmm", "starting");
  monitor->tell("vm", "booted");
  std::stringstream text;
  text << std::ifstream(path()).rdbuf();
  EXPECT_THAT(events_in(text.str()), ElementsAre("vmm starting", "vm booted"));
  EXPECT_TRUE(text.str().ends_with("}\n\n"));
}

TEST_F(EventMonitorTest, SaysWhatIsWrong) {
  expect_refused("", "'' is wrong; it must be path=FILE or fd=N");
  expect_refused("path=", "'path=' is wrong");
  expect_refused("/tmp/x", "must be path=FILE");
  expect_refused("fd=1", "must be a descriptor's number, 3 or more");
  expect_refused("fd=05", "must be a descriptor's number");
  expect_refused("fd=7x", "must be a descriptor's number");
  expect_refused("fd=1023", "fd=1023: is not open");
  expect_refused("path=" + folder_ + "/no/such", "cannot write");
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  expect_refused("path=" + path(), "nobody reads it yet");
  const int reading = ::open("/dev/null", O_RDONLY);
  EXPECT_NO_FATAL_FAILURE(open_fd(reading)->tell("vm", "booted")) << "opened anew, for writing";
}

// Whoever has the pipe's other descriptors keeps them as they are.
TEST_F(EventMonitorTest, AReaderThatIsSlowLosesWholeEventsAndMakesNobodyWait) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(::dup(ends[1]));
  const auto monitor = open_fd(ends[1]);
  EXPECT_EQ(::fcntl(writer.get(), F_GETFL) & O_NONBLOCK, 0);
  expect_whole_events(*monitor, reader.get());
}

TEST_F(EventMonitorTest, AReaderThatGoesAwayIsNobodysEnd) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const auto monitor = open_fd(ends[1]);
  ::close(ends[0]);
  monitor->tell("vm", "booted");
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const auto other = open_fd(ends[1]);
  ::close(ends[0]);
  other->tell("vm", "booted");
}

TEST_F(EventMonitorTest, ASocketGetsThemAsWell) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd reader(ends[0]);
  const auto monitor = open_fd(ends[1]);
  expect_whole_events(*monitor, reader.get());
}

TEST_F(EventMonitorTest, TellsWhatBecomesOfAMachine) {
  std::vector<std::string> events;
  std::mutex mutex;
  ControlledMachine one;
  one.control->connect({.machine = one.machine.get(),
                        .config = &one.config,
                        .stop = [&one] { one.machine->stop(); },
                        .tell =
                            [&](std::string_view source, std::string_view event, std::string_view) {
                              const std::lock_guard hold(mutex);
                              events.push_back(std::string(source) + " " + std::string(event));
                            }});
  one.run();
  EXPECT_TRUE(one.ask(Pause{}));
  EXPECT_TRUE(one.ask(Resume{}));
  EXPECT_FALSE(one.ask(Resume{})) << "which is no event";
  EXPECT_TRUE(one.ask(Reboot{}));
  EXPECT_TRUE(one.ask(PowerOff{}));
  EXPECT_TRUE(one.ask(Boot{}));
  EXPECT_TRUE(one.ask(EndProcess{}));
  one.finish();
  EXPECT_THAT(events, ElementsAre("vm booting", "vm booted", "vm pausing", "vm paused",
                                  "vm resuming", "vm resumed", "vm rebooting", "vm rebooted",
                                  "vm shutdown", "vm booting", "vm booted", "vm shutdown"));
}

TEST_F(EventMonitorTest, AGuestsOwnResetIsTold) {
  std::vector<std::string> events;
  std::mutex mutex;
  ControlledMachine one([](MachineConfig& config) { config.on_reset = OnReset::kRestart; });
  one.control->connect({.machine = one.machine.get(),
                        .config = &one.config,
                        .stop = [&one] { one.machine->stop(); },
                        .tell =
                            [&](std::string_view, std::string_view event, std::string_view) {
                              const std::lock_guard hold(mutex);
                              events.emplace_back(event);
                            }});
  one.run();
  one.vcpu().push_exit(ControlledMachine::triple_fault());
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard hold(mutex);
    return !events.empty() && events.back() == "rebooted";
  }));
  EXPECT_TRUE(one.ask(EndProcess{}));
  one.finish();
  EXPECT_THAT(events, ElementsAre("booting", "booted", "rebooting", "rebooted", "shutdown"));
}

}  // namespace
}  // namespace bellhop::control

// The API of a machine whose guest works: each command has its answer, and no request is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/unix_socket.h"
#include "control/api/metrics_sample.h"
#include "tests/integration/control_fixture.h"
#include "virtio/queue/notify_choice.h"

#ifdef BELLHOP_BENCH_GUEST

namespace bellhop {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

/// A machine whose guest reads a disk as fast as it goes, and checks every byte.
class ControlUnderLoadTest : public ControlTest {
 protected:
  void load(unsigned seconds) {
    const std::string disk = make_file("load.img", std::uintmax_t{16} << 20);
    const std::vector<std::string> options = {"--disk", disk + ",id=load,queues=1", "--balloon",
                                              "size=0"};
    pid_ = start({"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M", "--cmdline",
                  "workload=prepare", "--disk", disk});
    ASSERT_EQ(end().status, 0);
    run_until_ready("workload=randread threads=16 timeout=120 seconds=" + std::to_string(seconds),
                    options);
  }
  std::uint64_t requests() {
    return Json::parse(ask("GET", "vm.counters").body)["load"]["chains"].get<std::uint64_t>();
  }
};

TEST_F(ControlUnderLoadTest, MetricsTellWhatADiskDoes) {
  load(1000);
  const auto sample = [&] { return *control::MetricsSample::read(ask("GET", "vm.metrics").body); };
  const auto disk = [](const control::MetricsSample& of) {
    return *std::ranges::find(of.queues, "load", &control::MetricsSample::Queue::device);
  };
  const control::MetricsSample first = sample();
  EXPECT_EQ(first.state, "Running");
  EXPECT_EQ(first.memory_bytes, std::uint64_t{64} << 20);
  ASSERT_EQ(first.device_bytes.size(), 1U);
  EXPECT_EQ(first.device_bytes[0].first, "load");
  EXPECT_TRUE(disk(first).running);
  EXPECT_EQ(disk(first).server, "device");
  ASSERT_THAT(first.threads, ElementsAre(Field(&control::MetricsSample::Thread::name, "vcpu0"),
                                         Field(&control::MetricsSample::Thread::name, "io0")));
  EXPECT_TRUE(testing::eventually([&] {
    const control::MetricsSample now = sample();
    return now.device_bytes[0].second > first.device_bytes[0].second &&
           disk(now).counts != disk(first).counts &&
           now.threads[0].cpu_ns > first.threads[0].cpu_ns &&
           now.threads[1].cpu_ns > first.threads[1].cpu_ns;
  }));
  const std::string top = told("top '" + socket_ + "' --interval 50ms --count 2");
  EXPECT_THAT(top, HasSubstr("api.sock: Running, 64M of memory"));
  EXPECT_THAT(top, HasSubstr("CPU: vcpu0 "));
  EXPECT_THAT(top, HasSubstr("Data: load "));
  EXPECT_THAT(top, HasSubstr("load             0 ioeventfd"));
  const std::string lines = told("top '" + socket_ + "' --interval 50ms --count 2 --json");
  EXPECT_EQ(std::ranges::count(lines, '\n'), 2);
  EXPECT_TRUE(control::MetricsSample::read(lines.substr(0, lines.find('\n'))));
  EXPECT_EQ(put("vm.pause"), 204U);
  EXPECT_THAT(told("top '" + socket_ + "' --interval 50ms --count 1"), HasSubstr("Paused"));
  EXPECT_THAT(told("top '" + socket_ + "' --interval 10ms", 2), HasSubstr("--interval: '10ms' is"));
  EXPECT_THAT(told("top '" + socket_ + "' --count 0", 2), HasSubstr("--count: '0' is wrong"));
  EXPECT_THAT(told("top '" + socket_ + "x'", 1), HasSubstr("no machine answers there"));
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  (void)end();
}

TEST_F(ControlUnderLoadTest, EveryCommandIsAnsweredWhileADiskRunsAtItsFullRate) {
  load(6);
  const std::uint64_t before = requests();
  constexpr int kTimes = 200;
  std::vector<std::chrono::microseconds> took;
  for (int i = 0; i < kTimes; ++i) {
    const auto begin = Clock::now();
    ASSERT_EQ(ask("GET", "vm.info").status, 200U);
    took.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin));
  }
  std::ranges::nth_element(took, took.begin() + kTimes / 2);
  RecordProperty("info_median_us", static_cast<int>(took[kTimes / 2].count()));
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(put("vm.pause"), 204U);
    const std::uint64_t at_rest = requests();
    EXPECT_EQ(requests(), at_rest) << "nothing moves";
    ASSERT_EQ(put("vm.resume"), 204U);
  }
  EXPECT_TRUE(testing::eventually([&] { return requests() > before; }));
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

/// One command after the other, each of which has one right answer.
class RandomCommandsTest : public ControlUnderLoadTest {
 protected:
  void command() {
    switch (pick(14)) {
      case 0:
        ASSERT_EQ(put("vm.pause"), paused_ ? 409U : 204U);
        paused_ = true;
        break;
      case 1:
      case 2:
        ASSERT_EQ(put("vm.resume"), paused_ ? 204U : 409U);
        paused_ = false;
        break;
      case 3:
        ASSERT_EQ(ask("GET", "vm.info").status, 200U);
        break;
      case 4:
        ASSERT_EQ(ask("GET", pick(2) == 0 ? "vm.counters" : "vm.metrics").status, 200U);
        break;
      case 5:
        disk_bytes_ += 4096;
        ASSERT_EQ(put("vm.resize-disk", Json{{"id", "load"}, {"desired_size", disk_bytes_}}), 204U);
        break;
      case 6:
        ASSERT_EQ(put("vm.resize", Json{{"desired_balloon", pick(1024) * 4096}}), 204U);
        break;
      case 7:
        ASSERT_EQ(put("vm.set-rates",
                      Json{{"id", "load"}, {"options", pick(2) == 0 ? "iops=0" : "iops=20000"}}),
                  204U);
        break;
      case 8:
        ASSERT_EQ(put("vm.pin", Json{{"thread", pick(2) == 0 ? "io0" : "vcpu0"}, {"cpus", cpu_}}),
                  204U);
        break;
      case 9:
        ASSERT_EQ(put("vm.add-disk", Json{{"path", load_}, {"id", "again"}}), 400U);
        break;
      case 10: {
        // A client that does not stay for its answer.
        const UniqueFd gone = make_unix_socket();
        ASSERT_EQ(connect_unix(gone.get(), socket_), 0);
        const std::string_view half = "GET /api/v1/vm.counters HTTP/1.1\r\n\r\nPUT /api";
        (void)::send(gone.get(), half.data(), half.size(), MSG_NOSIGNAL);
        break;
      }
      default:
        set_notify();
    }
  }
  void set_notify() {
    Json body{{"id", pick(4) == 0 ? "balloon0" : "load"},
              {"mode", to_string(kNotifyModes[pick(4)])}};
    if (body["mode"] == "adaptive") {
      body["optimize"] = to_string(kObjectives[pick(std::size(kObjectives))]);
    }
    if (pick(2) == 0) body["queue"] = 0;
    ASSERT_EQ(put("vm.set-notify", body), 204U) << body;
    ASSERT_EQ(info()["notify"][body["id"]][0]["mode"], body["mode"]);
  }
  unsigned put(std::string_view name, const Json& body) {
    return ControlTest::put(name, body.dump());
  }
  using ControlTest::put;
  unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }
  /// Memory of the process, without what it only maps: KiB.
  [[nodiscard]] std::uint64_t data_kib() const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    std::uint64_t kib = 0;
    for (std::string word; status >> word;) {
      if (word == "VmData:") status >> kib;
    }
    return kib;
  }
  void run_on() {
    if (paused_) {
      ASSERT_EQ(put("vm.resume"), 204U);
    }
    paused_ = false;
  }

  const std::string load_ = (folder_ / "load.img").string();
  const std::string cpu_ = std::to_string(first_cpu());
  std::mt19937 random_{20100401};
  std::uint64_t disk_bytes_ = std::uint64_t{16} << 20;
  bool paused_ = false;

 private:
  static std::size_t first_cpu() {
    cpu_set_t cpus;
    EXPECT_EQ(::sched_getaffinity(0, sizeof cpus, &cpus), 0);
    std::size_t cpu = 0;
    while (!CPU_ISSET(cpu, &cpus)) ++cpu;
    return cpu;
  }
};

// BELLHOP_LONG_TESTS has twenty times as many.
TEST_F(RandomCommandsTest, AThousandLoseNoRequestAndLeaveNothing) {
  const bool is_long = std::getenv("BELLHOP_LONG_TESTS") != nullptr;
  load(is_long ? 300 : 15);
  constexpr int kToWarmUp = 100;  // threads, arenas and reserves that come once
  ASSERT_EQ(put("vm.set-notify", Json{{"id", "load"}, {"mode", "adaptive"}}), 204U);
  for (int i = 0; i < kToWarmUp; ++i) ASSERT_NO_FATAL_FAILURE(command()) << i;
  ASSERT_NO_FATAL_FAILURE(run_on());
  const auto end_all = [&] { return put("vm.set-notify", Json{{"id", "load"}, {"mode", "sync"}}); };
  ASSERT_EQ(end_all(), 204U);
  const std::size_t descriptors = settled("fd");
  const std::size_t threads = count("task");
  const std::uint64_t memory = data_kib();
  for (int i = 0; i < (is_long ? 20'000 : 1000); ++i) ASSERT_NO_FATAL_FAILURE(command()) << i;
  ASSERT_NO_FATAL_FAILURE(run_on());
  ASSERT_EQ(end_all(), 204U);
  EXPECT_EQ(put("vm.pause"), 204U);
  EXPECT_EQ(put("vm.resume"), 204U) << "the guest has not ended before";
  EXPECT_EQ(settled("fd"), descriptors);
  EXPECT_EQ(count("task"), threads);
  EXPECT_LE(data_kib(), memory + 512);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
}

}  // namespace
}  // namespace bellhop

#endif

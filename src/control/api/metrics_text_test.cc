#include "control/api/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "control/api/api_client.h"
#include "control/api/api_v1.h"
#include "control/api/metrics_sample.h"
#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using ::testing::HasSubstr;
using ::testing::Not;

MachineMetrics metrics_of_a_disk() {
  MachineMetrics metrics;
  metrics.state = MachineState::kRunning;
  metrics.when = std::chrono::seconds(5);
  metrics.memory_bytes = 4096;
  metrics.counters.userspace_exits = 12;
  metrics.counters.devices.push_back(
      {"disk0", {{"kicks", 7}, {"read_bytes", 512}, {"queues_sync", 1, true}}});
  metrics.counters.queues.push_back({.device = "disk0",
                                     .queue = 1,
                                     .running = true,
                                     .notify = NotifyMode::kPoll,
                                     .kicks = 7,
                                     .completions = 9});
  metrics.threads.push_back(
      {.name = "vcpu0", .tid = 3, .is_vcpu = true, .cpu = std::chrono::milliseconds(1500)});
  return metrics;
}

TEST(MetricsTextTest, NamesAreOfWhatIsCounted) {
  const std::string text = metrics_text(metrics_of_a_disk(), "1.2");
  for (const char* const line : {
           "bellhop_build_info{version=\"1.2\"} 1\n",
           "bellhop_machine_state{state=\"Running\"} 1\n",
           "bellhop_machine_state{state=\"Paused\"} 0\n",
           "bellhop_machine_memory_bytes 4096\n",
           "bellhop_machine_userspace_exits_total 12\n",
           "bellhop_thread_cpu_seconds_total{thread=\"vcpu0\",kind=\"vcpu\"} 1.5\n",
           R"(bellhop_queue_running{device="disk0",queue="1",server="device",notify="poll"} 1)",
           "bellhop_queue_kicks_total{device=\"disk0\",queue=\"1\"} 7\n",
           "bellhop_device_read_bytes_total{device=\"disk0\"} 512\n",
           "bellhop_device_queues_sync{device=\"disk0\"} 1\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("device_kicks"))) << "the queues have them";
}

TEST(MetricsTextTest, LabelsAreEscaped) {
  MachineMetrics metrics = metrics_of_a_disk();
  metrics.counters.devices[0].id = "a\"b\\c\nd";
  EXPECT_THAT(metrics_text(metrics, "1"), HasSubstr(R"({device="a\"b\\c\nd"} 512)"));
}

/// The rules of the text format 0.0.4, and Prometheus' rules for names.
void expect_well_formed(const std::string& text) {
  const std::regex help("# HELP ([a-z_]+) \\S.*");
  const std::regex type("# TYPE ([a-z_]+) (counter|gauge)");
  const std::regex value(
      R"rx(([a-z_]+)(\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})? [0-9.]+(e[-+][0-9]+)?)rx");
  std::set<std::string> families;
  std::set<std::string> samples;
  std::string family;
  std::string kind;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch part;
    if (std::regex_match(line, part, help)) {
      family = part[1];
      kind.clear();
      EXPECT_TRUE(families.insert(family).second) << "twice: " << family;
    } else if (std::regex_match(line, part, type)) {
      EXPECT_EQ(part[1], family);
      kind = part[2];
      EXPECT_EQ(kind == "counter", family.ends_with("_total")) << family;
    } else {
      ASSERT_TRUE(std::regex_match(line, part, value)) << line;
      EXPECT_EQ(part[1], family) << "a sample outside its family";
      EXPECT_FALSE(kind.empty()) << line;
      EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << "twice: " << line;
    }
  }
  EXPECT_TRUE(text.ends_with('\n'));
  EXPECT_GT(samples.size(), 20U);
}

TEST(MetricsTextTest, EveryDeviceOfAMachineIsWellFormed) {
  ControlledMachine one([](MachineConfig& config) {
    config.rngs.emplace_back();
    config.disks[0].notify = NotifyMode::kAdaptive;
  });
  one.run();
  const auto answer = one.ask(GetMetrics{});
  ASSERT_TRUE(answer);
  const auto& metrics = std::get<MachineMetrics>(*answer);
  expect_well_formed(metrics_text(metrics, "1.2"));
  EXPECT_EQ(metrics.counters.queues.front().device, metrics.counters.devices.front().id);
  const auto total = [&metrics](std::uint64_t QueueStats::*count) {
    std::uint64_t sum = 0;
    for (const QueueStats& queue : metrics.counters.queues) sum += queue.*count;
    return sum;
  };
  EXPECT_EQ(total(&QueueStats::kicks), metrics.counters.kicks);
}

TEST(MetricsSampleTest, WhatTheApiSaysIsRead) {
  const auto sample = MetricsSample::read(metrics_json(metrics_of_a_disk()));
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->state, "Running");
  EXPECT_EQ(sample->time_ns, 5'000'000'000U);
  EXPECT_EQ(sample->memory_bytes, 4096U);
  ASSERT_EQ(sample->queues.size(), 1U);
  EXPECT_EQ(sample->queues[0].device, "disk0");
  EXPECT_EQ(sample->queues[0].queue, 1U);
  EXPECT_EQ(sample->queues[0].notify, "poll");
  EXPECT_EQ(sample->queues[0].optimize, "");
  EXPECT_TRUE(sample->queues[0].running);
  EXPECT_EQ(sample->queues[0].counts.find("completions")->second, 9U);
  ASSERT_EQ(sample->device_bytes.size(), 1U);
  EXPECT_EQ(sample->device_bytes[0], std::pair(std::string("disk0"), std::uint64_t{512}));
  ASSERT_EQ(sample->threads.size(), 1U);
  EXPECT_EQ(sample->threads[0].cpu_ns, 1'500'000'000U);
}

TEST(MetricsSampleTest, AnAdaptiveQueueSaysWhatItLooksAt) {
  MachineMetrics metrics = metrics_of_a_disk();
  metrics.counters.queues[0].wish = {NotifyMode::kAdaptive, Optimize::kLatency};
  const auto sample = MetricsSample::read(metrics_json(metrics));
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->queues[0].notify, "poll") << "how it is now";
  EXPECT_EQ(sample->queues[0].optimize, "latency");
}

// A field that is missing, and one of another type, wherever it stands.
TEST(MetricsSampleTest, AnythingElseIsRefused) {
  const auto whole = nlohmann::json::parse(metrics_json(metrics_of_a_disk())).flatten();
  const std::set<std::string> needless = {"kicks_by_exit", "chains",     "interrupts_saved",
                                          "system_calls",  "bad_chains", "broken",
                                          "vcpu"};
  unsigned tried = 0;
  for (const auto& [path, value] : whole.items()) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (path.starts_with("/counters") || needless.contains(name)) continue;
    ++tried;
    auto changed = whole;
    changed[path] = value.is_number() ? nlohmann::json(-1) : nlohmann::json(1.5);
    EXPECT_FALSE(MetricsSample::read(changed.unflatten().dump())) << path;
    changed.erase(path);
    EXPECT_FALSE(MetricsSample::read(changed.unflatten().dump())) << path;
  }
  EXPECT_EQ(tried, 16U);
  for (const char* const text : {"", "[]", "{}", "1", "{\"state\":\"Running\"}"}) {
    EXPECT_FALSE(MetricsSample::read(text)) << text;
  }
}

TEST(MetricsSampleTest, TextsAreFitForATerminal) {
  EXPECT_EQ(error_text(error_response(409, "a\x1b[2Jb")), "a?[2Jb");
  MachineMetrics metrics = metrics_of_a_disk();
  metrics.counters.queues[0].device = "a\x1b[2Jb";
  EXPECT_EQ(MetricsSample::read(metrics_json(metrics))->queues[0].device, "a?[2Jb");
}

}  // namespace
}  // namespace bellhop::control

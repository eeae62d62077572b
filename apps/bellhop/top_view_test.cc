#include "apps/bellhop/top_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellhop {
namespace {

using control::MetricsSample;
using ::testing::HasSubstr;

MetricsSample sample(std::uint64_t seconds, std::uint64_t requests) {
  MetricsSample made;
  made.state = "Running";
  made.time_ns = seconds * 1'000'000'000;
  made.memory_bytes = std::uint64_t{64} << 20;
  made.device_bytes = {{"disk0", requests * 4096}};
  made.queues.push_back({.device = "disk0",
                         .queue = 0,
                         .running = true,
                         .server = "device",
                         .notify = "ioeventfd",
                         .counts = {{"kicks", requests / 2},
                                    {"spurious_kicks", requests / 8},
                                    {"completions", requests},
                                    {"interrupts", requests / 4},
                                    {"batches", requests / 4}}});
  made.queues.push_back(made.queues.back());
  made.queues.back().queue = 1;
  made.queues.back().running = false;
  made.threads = {{.name = "vcpu0", .tid = 1, .cpu_ns = seconds * 900'000'000},
                  {.name = "io0", .tid = 2, .cpu_ns = seconds * 100'000'000}};
  return made;
}

TEST(TopViewTest, ShowsWhatHappenedBetweenTwoSamples) {
  const std::string text = top_text(sample(10, 1000), sample(12, 5000));
  EXPECT_THAT(text, HasSubstr("Running, 64M of memory, 2.0 s\n"));
  EXPECT_THAT(text, HasSubstr("CPU: vcpu0 90 %, io0 10 %\n"));
  EXPECT_THAT(text, HasSubstr("Data: disk0 8.19MB/s; 8.19MB for each CPU second\n"));
  EXPECT_THAT(
      text,
      HasSubstr("disk0            0 ioeventfd     2.00k    1.00k      25 %      500         4"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("disk0            1")));
}

TEST(TopViewTest, TellsWhatAdaptiveDevicesLookAt) {
  MetricsSample later = sample(12, 5000);
  EXPECT_THAT(top_text(sample(10, 1000), later), ::testing::Not(HasSubstr("Adaptive")));
  later.queues[0].optimize = "latency";
  later.queues.push_back(later.queues[0]);
  later.queues.back().queue = 2;
  later.queues.push_back(later.queues[0]);
  later.queues.back().device = "nic0";
  later.queues.back().optimize = "efficiency";
  EXPECT_THAT(top_text(sample(10, 1000), later),
              HasSubstr("\nAdaptive: disk0 for latency, nic0 for efficiency\nDEVICE"));
}

TEST(TopViewTest, AMachineThatWasStartedAnewCountsFromThere) {
  EXPECT_THAT(top_text(sample(10, 1000), sample(12, 800)), HasSubstr("      400      200"));
}

TEST(TopViewTest, WithoutTrafficNothingIsDivided) {
  const std::string text = top_text(sample(10, 1000), sample(10, 1000));
  EXPECT_THAT(text, HasSubstr("ioeventfd         0        0         -        0         -"));
}

TEST(TopViewTest, WhatOthersServeShowsWho) {
  MetricsSample later = sample(12, 2000);
  later.queues[0].server = "kernel";
  EXPECT_THAT(top_text(sample(10, 1000), later),
              HasSubstr("disk0            0 kernel            -        -         -"));
}

TEST(TopViewTest, AnEmptyMachineHasItsHeadings) {
  EXPECT_THAT(top_text({}, {}), HasSubstr("DEVICE"));
}

}  // namespace
}  // namespace bellhop

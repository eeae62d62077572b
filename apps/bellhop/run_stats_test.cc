#include "apps/bellhop/run_stats.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace bellhop {
namespace {

using Json = nlohmann::json;

MachineCounters counters(std::uint64_t factor) {
  return {.userspace_exits = factor,
          .kicks = 2 * factor,
          .kicks_by_exit = 3 * factor,
          .spurious_kicks = 4 * factor,
          .interrupts = 5 * factor,
          .interrupts_saved = 6 * factor,
          .chains = 7 * factor,
          .batches = 8 * factor,
          .bad_chains = 9 * factor,
          .broken_queues = 10 * factor,
          .system_calls = 11 * factor,
          .devices = {{.id = "net0",
                       .stats = {{.name = "frames", .value = 12 * factor},
                                 {.name = "held", .value = 100 - factor, .level = true}}},
                      {.id = "disk0", .stats = {{.name = "errors", .value = factor}}}},
          .queues = {}};
}

Json shown(const RunStats& stats, const MachineCounters& total) {
  return Json::parse(stats.to_json(total));
}

TEST(RunStats, TheTotalIsWhatThereIsAtTheEnd) {
  RunStats stats;
  stats.set_threads({11, 12}, {13});
  const Json json = shown(stats, counters(10));
  EXPECT_EQ(json["threads"], (Json{{"vcpu", {11, 12}}, {"iothread", {13}}}));
  EXPECT_FALSE(json.contains("measured")) << "no guest has said when";
  const Json& total = json["total"];
  unsigned factor = 1;
  for (const char* name :
       {"userspace_exits", "kicks", "kicks_by_exit", "spurious_kicks", "interrupts",
        "interrupts_saved", "chains", "batches", "bad_chains", "broken_queues", "system_calls"}) {
    EXPECT_EQ(total[name], 10 * factor++) << name;
  }
  EXPECT_EQ(total["devices"]["net0"], (Json{{"frames", 120}, {"held", 90}}));
  EXPECT_EQ(total["devices"]["disk0"], (Json{{"errors", 10}}));
}

TEST(RunStats, CountsAreDifferencesAndLevelsAreWhatTheyAreAtTheEnd) {
  RunStats stats;
  stats.mark(RunStats::kMarkerBegin, counters(10));
  EXPECT_FALSE(shown(stats, counters(20)).contains("measured")) << "it has not ended";
  stats.mark(7, counters(15));
  EXPECT_FALSE(shown(stats, counters(20)).contains("measured")) << "another marker ends nothing";
  stats.mark(RunStats::kMarkerEnd, counters(30));
  const Json measured = shown(stats, counters(50))["measured"];
  EXPECT_EQ(measured["userspace_exits"], 20);
  EXPECT_EQ(measured["system_calls"], 220);
  EXPECT_EQ(measured["devices"]["net0"], (Json{{"frames", 240}, {"held", 70}}));
  EXPECT_EQ(measured["devices"]["disk0"], (Json{{"errors", 20}}));
  // A second run of the same guest is measured anew.
  stats.mark(RunStats::kMarkerBegin, counters(60));
  EXPECT_FALSE(shown(stats, counters(61)).contains("measured"));
  stats.mark(RunStats::kMarkerEnd, counters(61));
  EXPECT_EQ(shown(stats, counters(61))["measured"]["kicks"], 2);
}

TEST(RunStats, ADeviceThatCameLaterCountsFromNothing) {
  RunStats stats;
  MachineCounters begin = counters(10);
  begin.devices.pop_back();
  stats.mark(RunStats::kMarkerBegin, begin);
  stats.mark(RunStats::kMarkerEnd, counters(30));
  EXPECT_EQ(shown(stats, counters(30))["measured"]["devices"]["disk0"], (Json{{"errors", 30}}));
}

TEST(RunStats, SaysWhereItCannotBeWritten) {
  const auto refused = RunStats().open("/nonexistent/stats.json");
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("--stats"), std::string::npos);
  RunStats full;
  ASSERT_TRUE(full.open("/dev/full").has_value());
  EXPECT_FALSE(full.write(counters(1)).has_value());
}

}  // namespace
}  // namespace bellhop

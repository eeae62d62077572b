#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bench/blk/blk_cell.h"
#include "bench/net/net_cell.h"
#include "probe/verdict.h"

namespace bellhop::bench {
namespace {

/// Pairs of cells that a report would have the ratio of, as they are called there.
template <class Sweep>
std::vector<std::pair<std::string, std::string>> compared_in(const Sweep& sweep) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& set : compared_sets(sweep)) {
    for (const auto& cell : set) {
      for (const auto& base : set) {
        if (is_compared(cell, base)) pairs.emplace_back(describe(cell), describe(base));
      }
    }
  }
  return pairs;
}

// `bellhop probe` stands below the benchmarks and knows their cells by name alone.
TEST(VerdictCells, AreThoseThatBenchCompares) {
  BlkSweep blk;
  blk.vcpus = {1, 2};
  blk.placements = {Placement::kOtherCore, Placement::kSameCore, Placement::kFree};
  NetSweep net;
  net.framings = {Framing::kMtu};
  net.placements = {Placement::kOtherCore};
  auto known = compared_in(blk);
  for (auto& pair : compared_in(net)) known.push_back(std::move(pair));
  Floors floors;
  floors.userspace_exit_us = 30;
  floors.ioeventfd_kick_us = 3;
  floors.irqfd_to_handler_us = 12;
  floors.wake_same_core_us = 3;
  floors.wake_other_core_us = 40;
  const Verdict verdict = judge(floors, {0, 1}, true);
  ASSERT_EQ(verdict.statements.size(), 10U);
  for (const Statement& one : verdict.statements) {
    EXPECT_EQ(std::ranges::count(known, std::pair(one.cell, one.base)), 1) << one.cell;
  }
}

}  // namespace
}  // namespace bellhop::bench

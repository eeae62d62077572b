#include "probe/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace bellhop {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Place = Statement::Place;
using Measure = Statement::Measure;

/// A host whose KVM interprets guest kernel mode, as docs/choosing.md has it.
Floors interpreted() {
  Floors floors;
  floors.userspace_exit_us = 74;
  floors.ioeventfd_kick_us = 26;
  floors.irqfd_to_handler_us = 37;
  floors.wake_same_core_us = 1.2;
  floors.wake_other_core_us = 22;
  return floors;
}

/// The order of what hosts with VMX or SVM have.
Floors usual() {
  Floors floors;
  floors.userspace_exit_us = 2.5;
  floors.ioeventfd_kick_us = 1;
  floors.irqfd_to_handler_us = 2;
  floors.wake_same_core_us = 1.5;
  floors.wake_other_core_us = 5;
  return floors;
}

const Statement& find(const Verdict& verdict, Place place, Measure measure,
                      const std::string& ending) {
  for (const Statement& one : verdict.statements) {
    if (one.place == place && one.measure == measure && one.traffic.ends_with(ending)) return one;
  }
  throw std::runtime_error("no statement of " + ending);
}

TEST(VerdictTest, AnIoThreadWithACpuToItselfSavesTheExit) {
  const Verdict verdict = judge(interpreted(), {0, 1}, true);
  const auto& one = find(verdict, Place::kOwnCpu, Measure::kThroughput, " 1 request at a time");
  EXPECT_DOUBLE_EQ(one.sync_us, 74 + 3);
  EXPECT_DOUBLE_EQ(one.ioeventfd_us, 26 + 3);  // the answer is there when the kick returns
  EXPECT_EQ(one.advice(), Advice::kIoEventFd);
  const auto& many = find(verdict, Place::kOwnCpu, Measure::kThroughput, "16 requests at a time");
  EXPECT_DOUBLE_EQ(many.sync_us, 74.0 / 16 + 3);
  EXPECT_DOUBLE_EQ(many.ioeventfd_us, 26.0 / 16 + 1.5);
  const auto& worth = find(verdict, Place::kOwnCpu, Measure::kEfficiency, "16 requests at a time");
  EXPECT_DOUBLE_EQ(worth.sync_us, 74.0 / 16 + 3);
  EXPECT_DOUBLE_EQ(worth.ioeventfd_us, 2 * (26.0 / 16 + 1.5));
}

TEST(VerdictTest, AThreadThatSleepsMustBeWoken) {
  Floors floors = interpreted();
  floors.ioeventfd_kick_us = 62;  // longer than the thread looks
  const auto verdict = judge(floors, {0, 1}, false);
  const auto& one = find(verdict, Place::kOwnCpu, Measure::kThroughput, " 1 request at a time");
  EXPECT_DOUBLE_EQ(one.ioeventfd_us, 62 + 22 + 3);
  EXPECT_EQ(one.advice(), Advice::kSync);
  // Shorter than the work: the guest halts, and the time to its interrupt counts as well.
  floors.ioeventfd_kick_us = 2.9;
  floors.irqfd_to_handler_us = 60;
  const auto halts = judge(floors, {0, 1}, false);
  EXPECT_DOUBLE_EQ(
      find(halts, Place::kOwnCpu, Measure::kThroughput, " 1 request at a time").ioeventfd_us,
      2.9 + 22 + 3);
}

TEST(VerdictTest, OnASharedCpuABatchSharesWhatComingAndGoingCosts) {
  for (const Floors& floors : {interpreted(), usual()}) {
    const Verdict verdict = judge(floors, {0, 1}, false);
    const double turns =
        2 * *floors.ioeventfd_kick_us + 2 * *floors.wake_same_core_us + *floors.irqfd_to_handler_us;
    const auto& one =
        find(verdict, Place::kSharedCpu, Measure::kThroughput, " 1 request at a time");
    EXPECT_DOUBLE_EQ(one.ioeventfd_us, turns + 3);
    EXPECT_EQ(one.advice(), Advice::kSync);
    const auto& many =
        find(verdict, Place::kSharedCpu, Measure::kThroughput, "16 requests at a time");
    EXPECT_DOUBLE_EQ(many.ioeventfd_us, turns / 16 + 3);
    for (const Measure measure : {Measure::kThroughput, Measure::kEfficiency}) {
      const auto& all = find(verdict, Place::kAllCpus, measure, "16 requests at a time");
      EXPECT_DOUBLE_EQ(all.ioeventfd_us, turns / 16 + 3);
    }
  }
}

TEST(VerdictTest, WhatDiffersByLittleIsEither) {
  Statement one;
  one.sync_us = 10.9;
  one.ioeventfd_us = 10;
  EXPECT_EQ(one.advice(), Advice::kEither);
  one.sync_us = 11.1;
  EXPECT_EQ(one.advice(), Advice::kIoEventFd);
  one.ioeventfd_us = 12.3;
  EXPECT_EQ(one.advice(), Advice::kSync);
  // One request at a time keeps two CPUs busy, and a cheap exit does not make up for it.
  const Verdict verdict = judge(usual(), {0, 1}, false);
  EXPECT_EQ(find(verdict, Place::kOwnCpu, Measure::kEfficiency, " 1 request at a time").advice(),
            Advice::kSync);
  EXPECT_EQ(find(verdict, Place::kOwnCpu, Measure::kEfficiency, "16 requests at a time").advice(),
            Advice::kEither);
}

TEST(VerdictTest, TellsHowManyKicksMayWakeTheThread) {
  Floors floors = interpreted();
  floors.wake_other_core_us = 62;
  EXPECT_DOUBLE_EQ(*judge(floors, {0, 1}, false).asleep_at_par, (74.0 - 26) / 62);
  EXPECT_THAT(to_text(judge(floors, {0, 1}, false)), HasSubstr("over 77 % of the kicks"));
  floors.ioeventfd_kick_us = 75;
  EXPECT_DOUBLE_EQ(*judge(floors, {0, 1}, false).asleep_at_par, 0);
  floors.ioeventfd_kick_us = 1;
  floors.wake_other_core_us = 5;
  EXPECT_THAT(to_text(judge(floors, {0, 1}, false)), HasSubstr("even if it wakes"));
}

TEST(VerdictTest, TheHeadlineSaysWhatToUse) {
  const std::string text = judge(interpreted(), {0, 1}, true).headline;
  EXPECT_THAT(text, HasSubstr("ioeventfd pays where the I/O thread has a CPU to itself"));
  EXPECT_THAT(text, HasSubstr("sync pays where the I/O thread shares a vCPU's CPU, and where"));
  EXPECT_THAT(text, HasSubstr("up to 1 vCPU and a CPU for the I/O thread"));
  EXPECT_THAT(text, HasSubstr("--vcpu-affinity 0=0 --iothread io0,cpus=1"));
  EXPECT_THAT(text, HasSubstr("notify=adaptive"));
  // What holds for some statements of a place alone is said so.
  const std::string usually = judge(usual(), {2, 4, 5}, false).headline;
  EXPECT_THAT(usually,
              HasSubstr("pays where the I/O thread has a CPU to itself (for throughput); "));
  EXPECT_THAT(usually, HasSubstr("has a CPU to itself (partly for efficiency), and where"));
  EXPECT_THAT(usually, HasSubstr("0=2 --iothread io0,cpus=5"));
}

TEST(VerdictTest, OneCpuIsSyncs) {
  Floors floors = interpreted();
  floors.wake_other_core_us.reset();
  const Verdict verdict = judge(floors, {3}, true);
  ASSERT_EQ(verdict.statements.size(), 2U);
  EXPECT_EQ(verdict.statements[0].place, Place::kSharedCpu);
  EXPECT_FALSE(verdict.asleep_at_par);
  EXPECT_THAT(verdict.headline, EndsWith("use notify=sync."));
}

TEST(VerdictTest, WithoutFloorsThereIsNone) {
  for (auto member : {&Floors::userspace_exit_us, &Floors::ioeventfd_kick_us,
                      &Floors::wake_same_core_us, &Floors::irqfd_to_handler_us}) {
    Floors floors = interpreted();
    (floors.*member).reset();
    const Verdict verdict = judge(floors, {0, 1}, true);
    EXPECT_TRUE(verdict.statements.empty());
    EXPECT_TRUE(to_json(verdict).is_null());
    EXPECT_EQ(to_text(verdict), "");
  }
}

TEST(VerdictTest, EachStatementNamesTheCellsThatShowIt) {
  const auto json = to_json(judge(interpreted(), {0, 1}, true));
  ASSERT_EQ(json["statements"].size(), 10U);
  std::set<std::string> cells;
  for (const auto& one : json["statements"]) {
    const std::string cell = one["cell"];
    const std::string command = one["command"];
    cells.insert(cell + one["measure"].get<std::string>());
    EXPECT_THAT(cell, HasSubstr(" ioeventfd "));
    EXPECT_THAT(one["base"], HasSubstr(" sync "));
    EXPECT_TRUE(command.starts_with("bellhop bench ")) << command;
  }
  EXPECT_EQ(cells.size(), 10U);
  EXPECT_EQ(json["statements"][0]["cell"], "bellhop randread x1 ioeventfd other-core, 1 vCPU");
  // vCPUs on all CPUs are not measured where bench could not give each a request.
  EXPECT_EQ(judge(interpreted(), CpuList(17, 0), true).statements.size(), 8U);
}

TEST(VerdictTest, TheTextFitsATerminal) {
  const std::string text = to_text(judge(interpreted(), {0, 1}, true));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_THAT(text, HasSubstr("bellhop bench net"));
  EXPECT_THAT(to_text(judge(interpreted(), {0, 1}, false)), Not(HasSubstr("bench net")));
}

}  // namespace
}  // namespace bellhop

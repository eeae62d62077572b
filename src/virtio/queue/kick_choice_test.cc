#include "virtio/queue/kick_choice.h"

#include <gtest/gtest.h>

namespace bellhop {
namespace {

/// A driver and its host, as the choice sees them: what a window without kicks costs, and one with.
struct Load {
  unsigned quiet_interrupts;
  unsigned asked_kicks;
  unsigned asked_interrupts;
  bool answered = true;
};

constexpr unsigned kAll = KickChoice::kWindow;
/// Sleeps after each request; the medium is done before a kick is.
constexpr Load kSleepsOnMemory{kAll, kAll, 0};
/// Sleeps after each eight.
constexpr Load kBatchesOnMemory{kAll / 8, kAll / 8, 0};
/// Never sleeps.
constexpr Load kBusy{kAll / 64, kAll, 0};
/// A kick is too short for this medium.
constexpr Load kSlow{kAll, kAll, kAll};
/// Two kicks for the interrupt that they save.
constexpr Load kEven{kAll / 2, kAll, 0};
/// Each request is answered later, by an interrupt.
constexpr Load kDisk{kAll, kAll, 0, false};

class KickChoiceTest : public ::testing::Test {
 protected:
  /// So many windows of this load; how many of them had kicks asked for.
  unsigned run(const Load& load, unsigned windows) {
    unsigned asked = 0;
    for (unsigned i = 0; i < windows; ++i) {
      const bool asks = choice.asks();
      asked += asks ? 1 : 0;
      counters.kicks.add(asks ? load.asked_kicks : 0);
      counters.kicks_by_exit.add(asks && by_exit ? load.asked_kicks : 0);
      counters.interrupts.add(asks ? load.asked_interrupts : load.quiet_interrupts);
      counters.chains.add(KickChoice::kWindow);
      choice.weigh(counters, load.answered);
    }
    return asked;
  }

  bool by_exit = false;
  QueueCounters counters;
  KickChoice choice;
};

TEST_F(KickChoiceTest, DoesNotAskAtFirst) {
  EXPECT_FALSE(choice.asks());
  counters.chains.add(KickChoice::kWindow - 1);
  counters.interrupts.add(KickChoice::kWindow - 1);
  choice.weigh(counters, true);
  EXPECT_FALSE(choice.asks()) << "the window is not over";
  counters.chains.add();
  choice.weigh(counters, true);
  EXPECT_TRUE(choice.asks());
}

TEST_F(KickChoiceTest, AsksWhereKicksSaveInterrupts) {
  EXPECT_GE(run(kSleepsOnMemory, 1000), 970U);
}

TEST_F(KickChoiceTest, AsksForOneKickABatch) { EXPECT_GE(run(kBatchesOnMemory, 1000), 970U); }

TEST_F(KickChoiceTest, ABusyDriverIsNotEvenAskedOnce) { EXPECT_EQ(run(kBusy, 1000), 0U); }

TEST_F(KickChoiceTest, WhatIsAnsweredLaterIsNotEvenTried) { EXPECT_EQ(run(kDisk, 1000), 0U); }

TEST_F(KickChoiceTest, TriesLessAndLessWhatDoesNotHelp) {
  EXPECT_LE(run(kSlow, 1000), 25U);
  EXPECT_GE(run(kSlow, 1000), 10U) << "but does not give up";
}

TEST_F(KickChoiceTest, WhatCostsTheSameIsNotAskedFor) { EXPECT_LE(run(kEven, 1000), 25U); }

TEST_F(KickChoiceTest, AKickThatUserSpacePassesOnCostsMoreThanAnInterrupt) {
  by_exit = true;
  EXPECT_LE(run(kSleepsOnMemory, 1000), 25U);
}

TEST_F(KickChoiceTest, StopsAskingADriverThatHasComeToBeBusy) {
  run(kSleepsOnMemory, 1000);
  EXPECT_LE(run(kBusy, 1000), KickChoice::kMaxPause + 2);
  EXPECT_FALSE(choice.asks());
  EXPECT_GE(run(kSleepsOnMemory, 100), 85U) << "and asks again at once when it is not";
}

TEST_F(KickChoiceTest, StopsAskingWhereItHasCeasedToHelp) {
  run(kSleepsOnMemory, 1000);
  EXPECT_LE(run(kSlow, 1000), KickChoice::kMaxPause + 25);
}

TEST_F(KickChoiceTest, ANewRingStartsWithoutKnowledge) {
  run(kSleepsOnMemory, 100);
  choice.start(counters);
  EXPECT_FALSE(choice.asks());
  EXPECT_EQ(run(kSleepsOnMemory, 3), 2U);
}

}  // namespace
}  // namespace bellhop

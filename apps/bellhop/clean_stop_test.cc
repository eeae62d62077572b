#include "apps/bellhop/clean_stop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <vector>

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CleanStopTest : public ::testing::Test {
 protected:
  CleanStop make(std::chrono::nanoseconds patience) {
    return CleanStop(patience,
                     {.press =
                          [this] {
                            ++presses_;
                            return guest_;
                          },
                      .tell = [this](const std::string& line) { told_.push_back(line); }});
  }
  /// Looks whenever there is something to do, up to `end`. True if the machine was to be ended.
  bool look_until(CleanStop& stop, CleanStop::Clock::time_point end) {
    while (stop.next() && *stop.next() <= end) {
      now_ = *stop.next();
      if (stop.look(now_)) return true;
    }
    now_ = end;
    return false;
  }

  ButtonPress guest_ = ButtonPress::kHeard;
  unsigned presses_ = 0;
  std::vector<std::string> told_;
  CleanStop::Clock::time_point now_{1h};
};

TEST_F(CleanStopTest, TheFirstSignalPressesTheButtonAndTheEndOfPatienceEnds) {
  CleanStop stop = make(25s);
  EXPECT_FALSE(stop.next());
  const auto begin = now_;
  EXPECT_FALSE(stop.take(SIGTERM, now_));
  EXPECT_EQ(stop.signal(), SIGTERM);
  EXPECT_EQ(presses_, 1U);
  EXPECT_TRUE(look_until(stop, begin + 100s));
  EXPECT_EQ(now_, begin + 25s);
  EXPECT_EQ(presses_, 3U);  // two more at 10 and 20 s
  EXPECT_THAT(told_,
              ElementsAre(HasSubstr("SIGTERM: pressed the guest's power button; it has 25 s"),
                          HasSubstr("15 s left"), HasSubstr("5 s left"),
                          HasSubstr("within 25 s: the machine is ended")));
  EXPECT_FALSE(stop.next());
}

TEST_F(CleanStopTest, ASecondSignalEnds) {
  CleanStop stop = make(25s);
  EXPECT_FALSE(stop.take(SIGTERM, now_));
  EXPECT_FALSE(stop.look(now_ + 400ms));
  EXPECT_TRUE(stop.take(SIGINT, now_ + 600ms));
  EXPECT_THAT(told_.back(), HasSubstr("SIGINT: the machine is ended"));
  EXPECT_FALSE(stop.next());
  EXPECT_TRUE(stop.take(SIGINT, now_ + 700ms));
}

// timeout(1) signals its child, and then its group.
TEST_F(CleanStopTest, TwoAtOnceAreOneAndAHangUpIsNeverTheSecond) {
  CleanStop stop = make(25s);
  EXPECT_FALSE(stop.take(SIGHUP, now_));
  EXPECT_FALSE(stop.take(SIGTERM, now_ + 1ms));
  EXPECT_FALSE(stop.take(SIGHUP, now_ + 5s));
  EXPECT_EQ(told_.size(), 1U);
  EXPECT_TRUE(stop.take(SIGTERM, now_ + 6s));
  EXPECT_EQ(presses_, 1U);
}

TEST_F(CleanStopTest, WithoutPatienceOrADriverTheFirstEnds) {
  CleanStop at_once = make(0s);
  EXPECT_TRUE(at_once.take(SIGINT, now_));
  EXPECT_EQ(at_once.signal(), SIGINT);
  EXPECT_EQ(presses_, 0U);
  guest_ = ButtonPress::kNoDriver;
  CleanStop no_driver = make(90s);
  EXPECT_TRUE(no_driver.take(SIGINT, now_));
  EXPECT_FALSE(no_driver.next());
  EXPECT_THAT(told_, ElementsAre());
}

TEST_F(CleanStopTest, AGuestInItsBootIsAskedUntilItListens) {
  guest_ = ButtonPress::kUnheard;
  CleanStop stop = make(90s);
  const auto begin = now_;
  EXPECT_FALSE(stop.take(SIGTERM, now_));
  EXPECT_THAT(told_.back(), HasSubstr("does not listen to its power button"));
  EXPECT_FALSE(look_until(stop, begin + 12s));
  EXPECT_EQ(presses_, 13U);
  EXPECT_THAT(told_.back(), HasSubstr("(it does not listen): 80 s left"));
  guest_ = ButtonPress::kHeard;
  EXPECT_FALSE(look_until(stop, begin + 14s));
  EXPECT_EQ(presses_, 14U);
  EXPECT_THAT(told_.back(), HasSubstr("it listens now"));
  // The service that obeys may come later still.
  EXPECT_FALSE(look_until(stop, begin + 24s));
  EXPECT_EQ(presses_, 15U);
}

TEST_F(CleanStopTest, OfAGuestThatHasEndedNothingIsSaid) {
  CleanStop stop = make(90s);
  EXPECT_FALSE(stop.take(SIGTERM, now_));
  guest_ = ButtonPress::kNoDriver;
  EXPECT_FALSE(look_until(stop, now_ + 60s));
  EXPECT_TRUE(look_until(stop, now_ + 60s));  // nobody reads its last words
  EXPECT_EQ(told_.size(), 1U);
}

}  // namespace
}  // namespace bellhop

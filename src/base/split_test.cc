#include "base/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellhop {
namespace {

using ::testing::ElementsAre;

TEST(Split, GivesWhatIsBetweenSeparators) {
  EXPECT_THAT(split("a:bc:d", ':'), ElementsAre("a", "bc", "d"));
  EXPECT_THAT(split("abc", ':'), ElementsAre("abc"));
  EXPECT_THAT(split("", ':'), ElementsAre(""));
  EXPECT_THAT(split(":a::", ':'), ElementsAre("", "a", "", ""));
}

}  // namespace
}  // namespace bellhop

#include "base/shallow_json.h"

#include <gtest/gtest.h>

#include <string>

namespace bellhop {
namespace {

TEST(ShallowJsonTest, TakesWhatIsNestedAsDeepAsAnythingOfOurs) {
  EXPECT_EQ(parse_shallow_json(R"({"a":[1,{"b":null}]})")["a"][0], 1);
  EXPECT_FALSE(parse_shallow_json(std::string(16, '[') + std::string(16, ']')).is_discarded());
}

TEST(ShallowJsonTest, RefusesTheRest) {
  EXPECT_TRUE(parse_shallow_json("").is_discarded());
  EXPECT_TRUE(parse_shallow_json("{").is_discarded());
  EXPECT_TRUE(parse_shallow_json(std::string(18, '[') + std::string(18, ']')).is_discarded());
  EXPECT_TRUE(parse_shallow_json(R"({"a":)" + std::string(1U << 20U, '[')).is_discarded());
}

}  // namespace
}  // namespace bellhop

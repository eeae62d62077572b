#include "base/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<int> half(int number) {
  if (number % 2 != 0) return fail("odd");
  return number / 2;
}

Status check(int number) {
  if (auto halved = half(number); !halved) return forward(halved);
  return {};
}

TEST(ResultTest, IsAValueOrAnError) {
  const auto good = half(8);
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, 4);
  const auto bad = half(7);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message, "odd");
  EXPECT_EQ(bad.error().code, 0);
  EXPECT_EQ(bad.value_or(-1), -1);
}

TEST(ResultTest, CarriesWhatCanOnlyBeMoved) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(5); };
  auto made = make();
  ASSERT_TRUE(made);
  const std::unique_ptr<int> owned = std::move(*made);
  EXPECT_EQ(*owned, 5);
}

TEST(ResultTest, AnErrorPassesThroughAnotherType) {
  EXPECT_TRUE(check(2));
  const Status failed = check(3);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "odd");
  const auto further = [&]() -> Result<std::string> { return forward(failed); }();
  ASSERT_FALSE(further);
  EXPECT_EQ(further.error().message, "odd");
}

TEST(ResultTest, FailKeepsItsCode) {
  const Status failed = fail("no", ENODEV);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ENODEV);
  EXPECT_EQ(failed.error().message, "no");
}

TEST(ResultTest, FailErrnoAppendsTheKernelsWords) {
  const Status given = fail_errno("cannot open disk.img", ENOENT);
  ASSERT_FALSE(given);
  EXPECT_EQ(given.error().code, ENOENT);
  EXPECT_THAT(given.error().message, StartsWith("cannot open disk.img: "));
  EXPECT_THAT(given.error().message, HasSubstr(std::generic_category().message(ENOENT)));
  errno = EMFILE;
  const Status current = fail_errno("x");
  ASSERT_FALSE(current);
  EXPECT_EQ(current.error().code, EMFILE);
}

}  // namespace
}  // namespace bellhop

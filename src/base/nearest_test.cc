#include "base/nearest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace bellhop {
namespace {

const std::vector<std::string_view> kKnown = {"run",      "probe",    "bench",
                                              "--kernel", "--memory", "--cpus"};

TEST(Nearest, FindsWhatWasMisspelt) {
  EXPECT_EQ(nearest("rum", kKnown), "run");
  EXPECT_EQ(nearest("rn", kKnown), "run");
  EXPECT_EQ(nearest("rnu", kKnown), "run");  // two letters exchanged are one step
  EXPECT_EQ(nearest("prob", kKnown), "probe");
  EXPECT_EQ(nearest("--kernle", kKnown), "--kernel");
  EXPECT_EQ(nearest("--memroy", kKnown), "--memory");
  EXPECT_EQ(nearest("--cpu", kKnown), "--cpus");
}

TEST(Nearest, FindsNothingWhereNothingIsNear) {
  for (const char* word : {"", "x", "qemu", "--colour", "start", "bellhop"}) {
    EXPECT_EQ(nearest(word, kKnown), "") << word;
  }
  EXPECT_EQ(nearest(std::string(1000, 'r'), kKnown), "");
  EXPECT_EQ(nearest("a", std::vector<std::string_view>{"b"}), "");
  EXPECT_EQ(nearest("run", {}), "");
}

}  // namespace
}  // namespace bellhop

#include "base/descriptor_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace bellhop {
namespace {

rlimit limits() {
  rlimit now{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &now), 0);
  return now;
}

TEST(DescriptorLimitTest, IsRaisedForUsAndNotForChildren) {
  const rlimit before = limits();
  const rlimit low{.rlim_cur = before.rlim_max - 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  {
    const descriptor_limit::AsInherited nothing_to_undo;
    EXPECT_EQ(limits().rlim_cur, low.rlim_cur);
  }
  EXPECT_EQ(limits().rlim_cur, low.rlim_cur);
  descriptor_limit::raise();
  EXPECT_EQ(limits().rlim_cur, before.rlim_max);
  EXPECT_EQ(limits().rlim_max, before.rlim_max);
  descriptor_limit::raise();
  {
    const descriptor_limit::AsInherited child;
    EXPECT_EQ(limits().rlim_cur, low.rlim_cur);
    EXPECT_EQ(limits().rlim_max, before.rlim_max);
  }
  EXPECT_EQ(limits().rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace bellhop

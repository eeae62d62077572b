#include "machine/thread_placement.h"

#include <gtest/gtest.h>

#include <array>

namespace bellhop {
namespace {

TEST(ThreadPlacement, WhatIsInheritedIsTold) {
  const std::array<ThreadPlacement, 3> threads = {
      {{"vcpu0", {1}, true}, {"io0", {0, 1}, false}, {"io1", {0, 1, 2, 3}, false}}};
  EXPECT_EQ(inherited_placement(threads, 4),
            "Bellhop was started with fewer CPUs than the 4 of this host: vcpu0 on 1, io0 on 0-1 "
            "(inherited), io1 on 0-3");
}

TEST(ThreadPlacement, WhatWasAskedForIsNoNews) {
  const std::array<ThreadPlacement, 2> threads = {{{"vcpu0", {1}, true}, {"io0", {0, 1}, false}}};
  EXPECT_EQ(inherited_placement(threads, 2), "");
}

}  // namespace
}  // namespace bellhop

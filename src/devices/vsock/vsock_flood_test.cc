// Programs of the host that flood a socket's door keep no thread: others have their turns.
#include <gtest/gtest.h>

#include <vector>

#include "testing/turn_watch.h"
#include "testing/vsock_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::VsockFixture;

class VsockFloodTest : public ::testing::TestWithParam<bool> {
 protected:
  // Nobody loses patience before the test has seen all of them.
  VsockFixture fixture{NotifyMode::kIoEventFd, std::chrono::seconds(60), GetParam()};
};

TEST_P(VsockFloodTest, CallersAreTakenInTurns) {
  constexpr std::uint64_t kCallers = 500;
  constexpr std::uint64_t kInOneTurn = 16;
  // All at the door before it opens. Those that there is no room for are counted when they are
  // taken in: none of them says what it wants.
  std::vector<UniqueFd> callers;
  for (std::uint64_t i = 0; i < kCallers; ++i) callers.push_back(fixture.connect_to_guest());
  const auto refused = [this] { return fixture.vsock->counters().refused_too_many.get(); };
  testing::TurnWatch bystander(*fixture.thread, refused);
  fixture.start();
  ASSERT_TRUE(eventually([&] { return refused() >= kCallers - VsockListener::kMaxCallers; }));
  // A message takes two rounds of the loop at most.
  EXPECT_LE(bystander.most(), 2 * kInOneTurn);
  callers.clear();
  fixture.give_buffers(8);
  EXPECT_TRUE(fixture.works());
}

INSTANTIATE_TEST_SUITE_P(Loops, VsockFloodTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "epoll" : "io_uring"; });

}  // namespace
}  // namespace bellhop

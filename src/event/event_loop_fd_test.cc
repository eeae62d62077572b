#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <utility>
#include <vector>

#include "testing/event_loop_fixture.h"

namespace bellhop {
namespace {

using testing::EventLoopTest;
using testing::FunctionTask;
using testing::Recorder;
using namespace std::chrono_literals;

struct ReadyRecorder final : ReadyHandler {
  std::function<void()> also = [] {};
  int calls = 0;
  void on_ready() noexcept override {
    ++calls;
    also();
  }
};

struct SocketPair {
  SocketPair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0); }
  ~SocketPair() {
    ::close(fds[0]);
    if (fds[1] >= 0) ::close(fds[1]);
  }
  void send() const { EXPECT_EQ(::write(fds[1], "x", 1), 1); }
  void receive() const {
    char byte = 0;
    EXPECT_EQ(::read(fds[0], &byte, 1), 1);
  }
  int fds[2] = {-1, -1};
};

TEST_P(EventLoopTest, WaitsForADescriptorOnceEachTimeItIsArmed) {
  const SocketPair pair;
  ReadyRecorder recorder;
  auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
  ASSERT_TRUE(watch);
  pair.send();
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 0) << "not armed yet";
  (*watch)->arm();
  (*watch)->arm();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 1);
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 1) << "still readable, but nobody asked";
  (*watch)->arm();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 2);
  pair.receive();
  (*watch)->arm();
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 2);
  pair.send();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 3);
}

TEST_P(EventLoopTest, WaitsForOneDescriptorBothWays) {
  const SocketPair pair;
  ReadyRecorder readable;
  ReadyRecorder writable;
  auto reads = loop->watch_fd(pair.fds[0], Readiness::kReadable, readable);
  auto writes = loop->watch_fd(pair.fds[0], Readiness::kWritable, writable);
  ASSERT_TRUE(reads && writes);
  while (::write(pair.fds[0], "y", 1) == 1) {
  }
  (*reads)->arm();
  (*writes)->arm();
  loop->run_once(1ms);
  EXPECT_EQ(readable.calls + writable.calls, 0);
  pair.send();
  loop->run_once(1s);
  EXPECT_EQ(readable.calls, 1);
  EXPECT_EQ(writable.calls, 0);
  char byte = 0;
  while (::read(pair.fds[1], &byte, 1) == 1) {
  }
  loop->run_once(1s);
  EXPECT_EQ(writable.calls, 1);
}

TEST_P(EventLoopTest, ADescriptorsHandlerMayArmOrEndItsOwnWatch) {
  const SocketPair pair;
  ReadyRecorder recorder;
  auto made = loop->watch_fd(pair.fds[0], Readiness::kWritable, recorder);
  ASSERT_TRUE(made);
  auto watch = std::move(*made);
  recorder.also = [&] {
    if (recorder.calls == 3) {
      watch.reset();
    } else {
      watch->arm();
    }
  };
  watch->arm();
  for (int i = 0; i < 5; ++i) loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 3);
}

TEST_P(EventLoopTest, NoCallComesAfterADescriptorsWatchHasEnded) {
  for (int i = 0; i < 200; ++i) {
    const SocketPair pair;
    ReadyRecorder recorder;
    auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
    ASSERT_TRUE(watch);
    if (i % 4 != 0) (*watch)->arm();
    if (i % 3 != 0) loop->run_once(0ns);
    pair.send();
    watch->reset();
    const int calls = recorder.calls;
    loop->run_once(0ns);
    EXPECT_EQ(recorder.calls, calls);
  }
}

TEST_P(EventLoopTest, TellsOfADescriptorWhosePeerHasGone) {
  SocketPair pair;
  ReadyRecorder recorder;
  auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
  ASSERT_TRUE(watch);
  (*watch)->arm();
  loop->run_once(1ms);
  ::close(std::exchange(pair.fds[1], -1));
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 1);
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 1) << "an error that stays is told once";
}

TEST_P(EventLoopTest, RefusesADescriptorThatIsNotOpen) {
  ReadyRecorder recorder;
  EXPECT_FALSE(loop->watch_fd(-1, Readiness::kReadable, recorder));
}

}  // namespace
}  // namespace bellhop

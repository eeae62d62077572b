// Frames that a stream's socket has no room for wait in memory of ours, without a chain in the
// ring: what makes them go on is not the driver.

#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "net/stream_pair.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::NetFixture;

/// A back end with a stream as its wire; the test has the far end.
class StreamNic final : public NetBackend {
 public:
  StreamNic() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    far = UniqueFd(ends[1]);
    const int small = 4096;
    EXPECT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    pair_ = std::make_unique<StreamPair>(UniqueFd(ends[0]));
  }
  [[nodiscard]] const NetLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] NetPair& pair(unsigned /*index*/) noexcept override { return *pair_; }
  Status use_pairs(unsigned /*count*/) override { return {}; }
  Status set_guest_offloads(Offloads /*offloads*/) override { return {}; }

  UniqueFd far;

 private:
  NetLimits limits_;
  std::string name_ = "stream";
  std::unique_ptr<StreamPair> pair_;
};

class NetBacklogTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  static constexpr std::size_t kFrame = 1200;
  static constexpr unsigned kFrames = 64;
  static constexpr std::size_t kAllBytes = kFrames * (4 + kFrame);

  /// More than the socket takes; the driver has all of it back, and sends no more.
  void send_all() {
    for (unsigned i = 0; i < kFrames; ++i) {
      std::vector<std::byte> frame(kNetHeaderBytes + kFrame, static_cast<std::byte>(i));
      std::memset(frame.data(), 0, kNetHeaderBytes);
      ASSERT_TRUE(fixture.send(frame));
    }
    EXPECT_EQ(fixture.device->totals().tx_frames, kFrames);
  }
  /// Bytes in the socket. (To read them makes room, and the loop may fill it while the test reads.)
  [[nodiscard]] std::size_t waiting() const {
    int bytes = 0;
    EXPECT_EQ(::ioctl(nic->far.get(), FIONREAD, &bytes), 0);
    return static_cast<std::size_t>(bytes);
  }
  /// Reads until the socket is empty.
  void read_some() {
    std::array<char, 1 << 16> bytes{};
    ssize_t got = 0;
    while ((got = ::recv(nic->far.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0) {
      stream.append(bytes.data(), static_cast<std::size_t>(got));
    }
  }
  void expect_all() {
    EXPECT_TRUE(eventually([&] {
      read_some();
      return stream.size() >= kAllBytes;
    })) << stream.size();
    ASSERT_EQ(stream.size(), kAllBytes);
    for (unsigned i = 0; i < kFrames; ++i) {
      EXPECT_EQ(stream[i * (4 + kFrame) + 4], static_cast<char>(i)) << "frame " << i;
    }
  }

  std::shared_ptr<StreamNic> nic = std::make_shared<StreamNic>();
  NetFixture fixture{GetParam(), std::shared_ptr<NetBackend>(nic)};
  std::string stream;
};

TEST_P(NetBacklogTest, AFullSocketAtTheLastFrameDrainsLater) {
  fixture.start();
  send_all();
  ASSERT_LT(waiting(), kAllBytes) << "the socket took all of it: nothing is tested";
  expect_all();
}

TEST_P(NetBacklogTest, WhatIsLeftAtAPauseGoesAfterIt) {
  fixture.start();
  send_all();
  fixture.pause_and_resume([&] {
    read_some();
    fixture.settle();
    read_some();
    fixture.settle();
    ASSERT_LT(stream.size(), kAllBytes) << "nothing is tested";
  });
  expect_all();
}

TEST_P(NetBacklogTest, WhatIsLeftAtAResetGoesWithTheNextDriver) {
  fixture.start();
  send_all();
  fixture.stop();
  read_some();
  ASSERT_LT(stream.size(), kAllBytes) << "nothing is tested";
  fixture.restart(fixture.device->traits().features);
  expect_all();
}

INSTANTIATE_TEST_SUITE_P(Modes, NetBacklogTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) { return to_string(mode.param); });

}  // namespace
}  // namespace bellhop

#include "devices/rng/rng_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "testing/allocation_counter.h"
#include "testing/device_fixture.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::eventually;

constexpr GuestAddress kRoom{DeviceFixture::kBuffers};

/// A source that the test fills: a pipe.
struct Source {
  Source() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::pipe2(fds.data(), O_NONBLOCK | O_CLOEXEC), 0);
    out = UniqueFd(fds[0]);
    in = UniqueFd(fds[1]);
  }
  void put(std::size_t bytes, char value = 'r') const {
    const std::string text(bytes, value);
    ASSERT_EQ(::write(in.get(), text.data(), text.size()), static_cast<ssize_t>(bytes));
  }
  UniqueFd out;
  UniqueFd in;
};

class RngDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  RngDeviceTest() : fixture(GetParam(), testing::make_memory(std::uint64_t{64} << 20)) {}

  void serve_urandom(const RngConfig& config = {}) {
    UniqueFd source(::open("/dev/urandom", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    serve(std::move(source), config);
  }
  void serve(UniqueFd source, const RngConfig& config = {}) {
    fixture.serve(std::make_unique<RngDevice>(std::move(source), config));
    fixture.start();
  }
  void serve_urandom(std::uint64_t max_bytes, std::chrono::milliseconds period) {
    RngConfig config;
    config.max_bytes = max_bytes;
    config.period = period;
    serve_urandom(config);
  }
  std::uint32_t request(std::uint32_t bytes) {
    fixture.give(0, {{kRoom, bytes, true}});
    const auto used = fixture.wait_used(0);
    return used ? used->length : 0;
  }
  [[nodiscard]] const RngCounters& counters() const {
    return static_cast<const RngDevice&>(*fixture.device).counters();
  }

  DeviceFixture fixture;
};

TEST_P(RngDeviceTest, FillsBuffersCutInAnyWay) {
  serve_urandom();
  fixture.memory.span(kRoom, 4096)->fill(std::byte{0});
  fixture.give(0, {{kRoom, 1, true},
                   {GuestAddress(kRoom.value() + 1), 100, true},
                   {GuestAddress(kRoom.value() + 101), 27, true}});
  EXPECT_EQ(fixture.wait_used(0)->length, 128U);
  std::array<std::byte, 132> bytes{};
  ASSERT_TRUE(fixture.memory.read(kRoom, bytes));
  EXPECT_GT(std::ranges::count_if(std::span(bytes).first(128),
                                  [](std::byte byte) { return byte != std::byte{0}; }),
            64);
  EXPECT_TRUE(std::ranges::all_of(std::span(bytes).subspan(128),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(counters().bytes.get(), 128U);
  EXPECT_EQ(fixture.stat("requests"), 1U);
}

TEST_P(RngDeviceTest, Row29ARequestOfGigabytesIsCutShort) {
  serve_urandom();
  // Buffers may lie on each other: 15 of 60 MiB are near to a gigabyte.
  const std::vector<testing::FakeDriver::Buffer> many(15, {kRoom, std::uint32_t{60} << 20, true});
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(fixture.driver(0).add(many));
  fixture.offer(0);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(fixture.wait_used(0)->length, RngDevice::kBytesInOneTurn);
  EXPECT_EQ(counters().bytes.get(), 8 * RngDevice::kBytesInOneTurn);
  EXPECT_EQ(request(64), 64U);
}

TEST_P(RngDeviceTest, Row29ManyRequestsLetOthersGoFirst) {
  serve_urandom();
  struct Other final : Task {
    void run() noexcept override { ++runs; }
    std::atomic<int> runs{0};
  } other;
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(fixture.driver(0).add({{kRoom, std::uint32_t{1} << 20, true}}));
  }
  fixture.offer(0);
  fixture.thread->run_sync([&] { fixture.thread->loop().defer(other); });
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(fixture.wait_used(0));
  EXPECT_TRUE(eventually([&] { return other.runs == 1; }));
}

TEST_P(RngDeviceTest, RequestsWithoutRoomAreGivenBack) {
  serve_urandom();
  fixture.give(0, {{kRoom, 64, false}});
  EXPECT_EQ(fixture.wait_used(0)->length, 0U);
  fixture.give(0, {{kRoom, 64, false}, {kRoom, 64, true}});
  EXPECT_EQ(fixture.wait_used(0)->length, 64U) << "what can be read is of no interest";
  EXPECT_EQ(counters().guest_faults.get(), 1U);
  EXPECT_EQ(request(64), 64U);
}

TEST_P(RngDeviceTest, WaitsForTheSourceWithoutHoldingAnything) {
  Source source;
  serve(std::move(source.out));
  fixture.give(0, {{kRoom, 64, true}});
  EXPECT_TRUE(eventually([&] { return counters().source_empty.get() > 1; }));
  EXPECT_FALSE(fixture.try_used(0));
  fixture.pause_and_resume();
  EXPECT_FALSE(fixture.try_used(0));
  source.put(10);
  EXPECT_EQ(fixture.wait_used(0)->length, 10U) << "less than asked for is an answer";
  // A reset while it waits.
  fixture.give(0, {{kRoom, 64, true}});
  fixture.settle();
  fixture.restart();
  source.put(5);
  EXPECT_EQ(request(64), 5U);
}

TEST_P(RngDeviceTest, ASourceThatEndsLetsTheGuestWait) {
  Source source;
  serve(std::move(source.out));
  source.put(3);
  source.in.reset();
  EXPECT_EQ(request(64), 3U);
  fixture.give(0, {{kRoom, 64, true}});
  EXPECT_TRUE(eventually([&] { return counters().source_errors.get() != 0; }));
  EXPECT_FALSE(fixture.try_used(0));
  fixture.pause_and_resume();
  fixture.stop();
}

TEST_P(RngDeviceTest, ALimitIsKept) {
  using namespace std::chrono_literals;
  const auto begin = std::chrono::steady_clock::now();
  const auto periods = [&] { return 1U + (std::chrono::steady_clock::now() - begin) / 50ms; };
  serve_urandom(100, 50ms);
  std::uint64_t got = 0;
  EXPECT_TRUE(eventually([&] {
    const std::uint32_t length = request(500);
    EXPECT_GT(length, 0U);
    EXPECT_LE(length, 100U);
    got += length;
    EXPECT_LE(got, 100U * periods());
    return counters().limited.get() >= 2U;
  }));
  fixture.give(0, {{kRoom, 500, true}});
  fixture.pause_and_resume();
  EXPECT_LE(fixture.wait_used(0)->length, 100U) << "it waited through a pause";
}

// What a period has is given once: the second request gets what the first has left, the third
// waits.
TEST_P(RngDeviceTest, AResetIsNoWayRoundTheLimit) {
  serve_urandom(100, std::chrono::hours(1));
  EXPECT_EQ(request(64), 64U);
  fixture.restart();
  EXPECT_EQ(request(64), 36U);
  fixture.restart();
  fixture.give(0, {{kRoom, 64, true}});
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(0));
}

TEST_P(RngDeviceTest, ResetsUnderFire) {
  serve_urandom(1000, std::chrono::milliseconds(1));
  for (int i = 0; i < 500; ++i) {
    for (int k = 0; k < 4; ++k) ASSERT_TRUE(fixture.driver(0).add({{kRoom, 100, true}}));
    if (fixture.driver(0).offer() && i % 3 != 0) fixture.kick(0);
    if (i % 2 == 0) fixture.kick(0);
    fixture.restart();
  }
  EXPECT_GT(request(64), 0U);
}

TEST_P(RngDeviceTest, RequestsAllocateNothing) {
  serve_urandom();
  const auto run = [&](int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(fixture.driver(0).add({{kRoom, 64, true}}));
      if (fixture.driver(0).offer()) fixture.kick(0);
      while (!fixture.driver(0).reap()) {
        if (!fixture.driver(0).enable_interrupts()) std::this_thread::yield();
      }
    }
  };
  run(100);
  const std::uint64_t before = allocations.load();
  run(10'000);
  EXPECT_EQ(allocations.load(), before);
}

TEST(RngConfigTest, SourcesThatAreNone) {
  RngConfig config;
  EXPECT_TRUE(make_device(config, {}));
  config.source = "/nowhere";
  EXPECT_NE(make_device(config, {}).error().message.find("cannot open /nowhere"),
            std::string::npos);
  config.source = "/";
  EXPECT_NE(make_device(config, {}).error().message.find("no source"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Modes, RngDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

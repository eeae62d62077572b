#include "bus/bus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <thread>

namespace bellhop {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class RecordingDevice : public BusDevice {
 public:
  explicit RecordingDevice(std::uint8_t fill = 0x5a) : fill_(fill) {}
  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override {
    last_offset = offset;
    std::ranges::fill(data, std::byte{fill_});
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override {
    last_offset = offset;
    last_size = data.size();
    ++writes;
  }
  std::atomic<std::uint64_t> last_offset = 0;
  std::atomic<std::size_t> last_size = 0;
  std::atomic<int> writes = 0;

 private:
  std::uint8_t fill_;
};

constexpr std::array<std::byte, 8> kBytes{};

TEST(BusTest, AccessReachesTheDeviceWithItsOffset) {
  Bus bus("mmio");
  RecordingDevice a;
  RecordingDevice b;
  ASSERT_TRUE(bus.insert(0x1000, 0x100, a));
  ASSERT_TRUE(bus.insert(0x1100, 0x100, b));
  EXPECT_TRUE(bus.write(0x10fc, std::span(kBytes).first(4)));
  EXPECT_EQ(a.last_offset, 0xfcU);
  EXPECT_EQ(a.last_size, 4U);
  EXPECT_EQ(b.writes, 0);
  EXPECT_TRUE(bus.write(0x1100, std::span(kBytes).first(1)));
  EXPECT_EQ(b.last_offset, 0U);
  EXPECT_EQ(b.writes, 1);
}

TEST(BusTest, UnmappedReadsAreAllOnesAndCounted) {
  Bus bus("mmio");
  RecordingDevice device;
  ASSERT_TRUE(bus.insert(0x1000, 0x100, device));
  std::array<std::byte, 4> data{};
  for (const std::uint64_t address : {0ULL, 0xfffULL, 0x1100ULL, ~0ULL}) {
    data.fill(std::byte{0});
    EXPECT_FALSE(bus.read(address, data));
    EXPECT_THAT(data, Each(std::byte{0xff}));
    EXPECT_FALSE(bus.write(address, data));
  }
  EXPECT_EQ(bus.faults().unmapped, 8U);
  EXPECT_EQ(bus.faults().straddling, 0U);
  EXPECT_EQ(device.writes, 0);
}

TEST(BusTest, AccessThatStraddlesTheEndIsDropped) {
  Bus bus("mmio");
  RecordingDevice a;
  RecordingDevice b;
  ASSERT_TRUE(bus.insert(0x1000, 0x10, a));
  ASSERT_TRUE(bus.insert(0x1010, 0x10, b));
  std::array<std::byte, 8> data{};
  EXPECT_FALSE(bus.read(0x100c, data));
  EXPECT_THAT(data, Each(std::byte{0xff}));
  EXPECT_FALSE(bus.write(0x100f, std::span(data).first(2)));
  EXPECT_EQ(a.writes + b.writes, 0);
  EXPECT_EQ(bus.faults().straddling, 2U);
}

TEST(BusTest, RefusesOverlapsAndNonsense) {
  Bus ports("ports", 0xffff);
  RecordingDevice device;
  ASSERT_TRUE(ports.insert(0x100, 0x10, device));
  for (const auto& [base, size] :
       {std::pair{0x100U, 0x10U}, {0xf8U, 9U}, {0x10fU, 1U}, {0x104U, 1U}, {0x0U, 0x1000U}}) {
    const auto status = ports.insert(base, size, device);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EEXIST);
    EXPECT_THAT(status.error().message, HasSubstr("0x100"));
  }
  EXPECT_EQ(ports.insert(0xffff, 2, device).error().code, EINVAL);
  EXPECT_EQ(ports.insert(0x10000, 1, device).error().code, EINVAL);
  EXPECT_EQ(ports.insert(0x200, 0, device).error().code, EINVAL);
  EXPECT_TRUE(ports.insert(0xffff, 1, device));
  EXPECT_TRUE(ports.insert(0xf8, 8, device));
  EXPECT_TRUE(ports.insert(0x110, 1, device));

  Bus memory("memory");
  EXPECT_FALSE(memory.insert(~0ULL, 2, device));
  EXPECT_TRUE(memory.insert(~0ULL, 1, device));
  EXPECT_TRUE(memory.write(~0ULL, std::span(kBytes).first(1)));
}

TEST(BusTest, RemovedRangeNoLongerAnswers) {
  Bus bus("mmio");
  RecordingDevice device;
  ASSERT_TRUE(bus.insert(0x1000, 0x100, device));
  EXPECT_FALSE(bus.remove(0x1004));
  EXPECT_TRUE(bus.remove(0x1000));
  EXPECT_FALSE(bus.remove(0x1000));
  EXPECT_FALSE(bus.write(0x1000, std::span(kBytes).first(1)));
  EXPECT_TRUE(bus.insert(0x1000, 0x200, device));
  EXPECT_TRUE(bus.write(0x11ff, std::span(kBytes).first(1)));
}

TEST(BusTest, HoldsManyRanges) {
  Bus bus("mmio");
  std::vector<std::unique_ptr<RecordingDevice>> devices;
  for (std::uint64_t i = 0; i < 500; ++i) {
    devices.push_back(std::make_unique<RecordingDevice>());
    // Out of order, with a hole after each.
    const std::uint64_t place = (i * 37) % 500;
    ASSERT_TRUE(bus.insert(place * 0x20, 0x10, *devices.back()));
    ASSERT_TRUE(bus.write(place * 0x20 + 3, std::span(kBytes).first(1)));
    EXPECT_EQ(devices.back()->writes, 1);
    EXPECT_FALSE(bus.write(place * 0x20 + 0x10, std::span(kBytes).first(1)));
  }
}

// A device that moves itself when it is written to, as a BAR's registers do.
class MovingDevice : public BusDevice {
 public:
  explicit MovingDevice(Bus& bus) : bus_(bus) {}
  void read(std::uint64_t, std::span<std::byte> data) noexcept override {
    std::ranges::fill(data, std::byte{7});
  }
  void write(std::uint64_t, std::span<const std::byte>) noexcept override {
    bus_.remove(base);
    base += 0x1000;
    moved = moved && bus_.insert(base, 0x100, *this).has_value();
  }
  std::uint64_t base = 0x1000;
  bool moved = true;

 private:
  Bus& bus_;
};

TEST(BusTest, RangeMovesFromInsideItsOwnWrite) {
  Bus bus("mmio");
  MovingDevice device(bus);
  ASSERT_TRUE(bus.insert(device.base, 0x100, device));
  EXPECT_TRUE(bus.write(0x1000, std::span(kBytes).first(4)));
  EXPECT_TRUE(device.moved);
  std::array<std::byte, 1> data{};
  EXPECT_FALSE(bus.read(0x1000, data));
  EXPECT_TRUE(bus.read(0x2000, data));
  EXPECT_EQ(data[0], std::byte{7});
}

TEST(BusTest, LookupsSeeEitherPlaceWhileARangeMoves) {
  Bus bus("mmio");
  RecordingDevice fixed(1);
  RecordingDevice moving(2);
  ASSERT_TRUE(bus.insert(0x8000, 0x100, fixed));
  ASSERT_TRUE(bus.insert(0x1000, 0x100, moving));
  // From one end of the table to the other: each of the others moves up or down with it, and is for
  // a moment in no place.
  constexpr std::uint64_t kOthers = 200;
  RecordingDevice other(3);
  const auto place = [](std::uint64_t i) { return 0x2000 + i * 0x40; };
  static_assert(0x2000 + kOthers * 0x40 < 0x8000);
  for (std::uint64_t i = 0; i < kOthers; ++i) ASSERT_TRUE(bus.insert(place(i), 0x40, other));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::atomic<int> rounds = 0;
  std::thread reader([&] {
    std::array<std::byte, 4> data{};
    for (; !stop.load(std::memory_order_relaxed); ++rounds) {
      if (!bus.read(0x8000, data) || data[0] != std::byte{1}) ++wrong;
      if (bus.read(0x1000, data) && data[0] != std::byte{2}) ++wrong;
      if (bus.read(0x9000, data) && data[3] != std::byte{2}) ++wrong;
      for (std::uint64_t i = 0; i < kOthers; ++i) {
        if (!bus.read(place(i) + 0x3c, data) || data[0] != std::byte{3}) ++wrong;
      }
    }
  });
  // So many that it shows on a single CPU too, where only a change of threads comes between.
  for (int i = 0; (i < 20'000 || rounds < 4'000) && wrong == 0; ++i) {
    ASSERT_TRUE(bus.remove(i % 2 == 0 ? 0x1000 : 0x9000));
    ASSERT_TRUE(bus.insert(i % 2 == 0 ? 0x9000 : 0x1000, 0x100, moving));
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bellhop

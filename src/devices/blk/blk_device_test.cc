#include "devices/blk/blk_device.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "block/raw_file.h"
#include "devices/blk/blk_request.h"
#include "testing/count_allocations.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/faulty_backend.h"
#include "testing/long_run.h"
#include "testing/memory_backend.h"
#include "testing/ring_layout.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::make_memory;
using testing::must;
using testing::tested_ring;
using testing::tested_ring_features;
using namespace virtio;

constexpr std::uint16_t kSize = 64;
constexpr GuestAddress kRing{0x10000};
constexpr GuestAddress kHeader{0x400000};
constexpr GuestAddress kStatus{0x500000};
constexpr GuestAddress kTable{0x600000};
constexpr GuestAddress kData{0x800000};
constexpr std::uint64_t kDiskBytes = 1 << 20;
constexpr std::uint8_t kUntouched = 0xee;

/// A disk in memory whose faults the test scripts, and a driver before it.
class BlkDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  BlkDeviceTest()
      : memory(make_memory()),
        driver(memory, kRing, kSize, tested_ring({.indirect = true, .event_idx = true})),
        thread(must(IoThread::start({}))) {}
  ~BlkDeviceTest() override { stop(); }

  void make(BlkOptions options = {}, std::uint64_t logical_block = 512, bool read_only = false) {
    auto medium = std::make_unique<MemoryBackend>(kDiskBytes);
    medium->mutable_limits().logical_block = static_cast<std::uint32_t>(logical_block);
    medium->mutable_limits().read_only = read_only;
    disk = medium.get();
    faults = std::make_shared<FaultyBackend>(std::move(medium));
    options.queue_size = kSize;
    serve(std::make_unique<BlkDevice>(faults, options));
  }
  void serve(std::unique_ptr<BlkDevice> made) {
    device = made.get();
    host =
        must(InProcessDevice::create(std::move(made), {.memory = &memory,
                                                       .threads = {thread.get()},
                                                       .notify = GetParam(),
                                                       .ring_features = tested_ring_features()}));
    start(device->traits().features);
  }
  void start(std::uint64_t features) {
    const QueueConfig config = driver.config();
    must(host->start(features | kRingFeatures | tested_ring_features(), {&config, 1}));
  }
  void stop() {
    if (!host) return;
    if (faults) faults->release_all();
    host->stop();
  }
  void kick() { host->kick(0); }

  void write_header(std::uint32_t type, std::uint64_t sector) {
    const BlkRequestHeader header{type, 0, sector};
    ASSERT_TRUE(memory.write(kHeader, std::as_bytes(std::span(&header, 1))));
  }
  std::optional<FakeDriver::Used> offer_and_wait(std::span<const FakeDriver::Buffer> buffers) {
    const auto untouched = std::byte{kUntouched};
    EXPECT_TRUE(memory.write(kStatus, {&untouched, 1}));
    EXPECT_TRUE(driver.add(buffers));
    if (driver.offer()) kick();
    return wait_used();
  }
  std::optional<FakeDriver::Used> wait_used() {
    std::optional<FakeDriver::Used> used;
    EXPECT_TRUE(eventually([&] {
      used = driver.reap();
      return used || (driver.enable_interrupts() && (used = driver.reap()));
    })) << "no answer";
    return used;
  }
  std::uint8_t status() const {
    std::byte byte{};
    EXPECT_TRUE(memory.read(kStatus, {&byte, 1}));
    return static_cast<std::uint8_t>(byte);
  }
  /// One well-framed request; returns its status.
  std::uint8_t request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes) {
    write_header(type, sector);
    const bool in = type == kBlkTypeIn || type == kBlkTypeGetId;
    std::vector<FakeDriver::Buffer> buffers{{kHeader, sizeof(BlkRequestHeader), false}};
    if (bytes != 0) buffers.push_back({kData, bytes, in});
    buffers.push_back({kStatus, 1, true});
    last_used = offer_and_wait(buffers);
    return status();
  }
  std::uint8_t segments(std::uint32_t type, std::span<const BlkDiscardSegment> list) {
    EXPECT_TRUE(memory.write(kData, std::as_bytes(list)));
    return request(type, 0, static_cast<std::uint32_t>(list.size_bytes()));
  }
  /// After whatever a test did, the disk serves an ordinary request.
  void expect_works() {
    fill(std::byte{0x5a}, 512);
    EXPECT_EQ(request(kBlkTypeOut, 8, 512), kBlkStatusOk);
    fill(std::byte{0}, 512);
    EXPECT_EQ(request(kBlkTypeIn, 8, 512), kBlkStatusOk);
    EXPECT_EQ(data_byte(511), std::byte{0x5a});
  }
  void fill(std::byte value, std::size_t bytes) { memory.span(kData, bytes)->fill(value); }
  std::byte data_byte(std::size_t offset) const {
    std::byte byte{};
    EXPECT_TRUE(memory.span(kData, offset + 1)->load(offset, byte));
    return byte;
  }

  GuestMemory memory;
  FakeDriver driver;
  std::unique_ptr<IoThread> thread;
  MemoryBackend* disk = nullptr;
  std::shared_ptr<FaultyBackend> faults;
  std::unique_ptr<InProcessDevice> host;
  BlkDevice* device = nullptr;  ///< the host's
  std::optional<FakeDriver::Used> last_used;
};

TEST_P(BlkDeviceTest, ReadsWhatWasWritten) {
  make();
  fill(std::byte{0xab}, 4096);
  EXPECT_EQ(request(kBlkTypeOut, 16, 4096), kBlkStatusOk);
  EXPECT_EQ(last_used->length, 1U) << "only the status byte was written";
  EXPECT_EQ(disk->bytes()[16 * 512], std::byte{0xab});
  fill(std::byte{0}, 4096);
  EXPECT_EQ(request(kBlkTypeIn, 16, 4096), kBlkStatusOk);
  EXPECT_EQ(last_used->length, 4097U);
  EXPECT_EQ(data_byte(4095), std::byte{0xab});
}

TEST_P(BlkDeviceTest, ScatteredAndMergedBuffers) {
  make();
  // Header in two pieces, data in three with the header's tail in the first, as any layout goes.
  write_header(kBlkTypeOut, 0);
  const auto tail = memory.span(GuestAddress(kHeader.value() + 8), 8);
  std::array<std::byte, 8> bytes{};
  tail->copy_out(bytes);
  ASSERT_TRUE(memory.write(kData, bytes));
  memory.span(GuestAddress(kData.value() + 8), 512)->fill(std::byte{0x77});
  const std::array<FakeDriver::Buffer, 4> buffers{{{kHeader, 8, false},
                                                   {kData, 8 + 100, false},
                                                   {GuestAddress(kData.value() + 108), 412, false},
                                                   {kStatus, 1, true}}};
  (void)offer_and_wait(buffers);
  EXPECT_EQ(status(), kBlkStatusOk);
  EXPECT_EQ(disk->bytes()[0], std::byte{0x77});
  EXPECT_EQ(disk->bytes()[511], std::byte{0x77});
  EXPECT_EQ(disk->bytes()[512], std::byte{0});
  // Status byte at the end of the data buffer.
  write_header(kBlkTypeIn, 0);
  const std::array<FakeDriver::Buffer, 2> merged{{{kHeader, 16, false}, {kData, 513, true}}};
  (void)offer_and_wait(merged);
  EXPECT_EQ(data_byte(511), std::byte{0x77});
  EXPECT_EQ(data_byte(512), std::byte{kBlkStatusOk});
}

TEST_P(BlkDeviceTest, FlushAndWriteThrough) {
  make();
  EXPECT_EQ(request(kBlkTypeFlush, 0, 0), kBlkStatusOk);
  EXPECT_EQ(faults->submitted(BlockOp::kFlush), 1U);
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusOk);
  EXPECT_EQ(faults->submitted(BlockOp::kFlush), 1U) << "write back: no flush of its own";
  const std::byte off{0};
  device->write_config(offsetof(BlkConfig, writeback), {&off, 1});
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusOk);
  EXPECT_EQ(faults->submitted(BlockOp::kFlush), 2U) << "write through: each write is flushed";
  faults->fail_next(BlockOp::kFlush, -ENOSPC);
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusIoError) << "disk full at flush";
  expect_works();
}

TEST_P(BlkDeviceTest, CountsWhatRequestsMoved) {
  make();
  const auto expect_stats = [this](const std::vector<std::uint64_t>& values) {
    const std::vector<DeviceStat> stats = device->stats();
    const std::array names = {"read_ops",  "read_bytes",   "write_ops", "write_bytes", "flush_ops",
                              "io_errors", "guest_faults", "throttled", "throttled_ns"};
    ASSERT_EQ(stats.size(), names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_STREQ(stats[i].name, names[i]);
      EXPECT_EQ(stats[i].value, values[i]) << names[i];
    }
  };
  EXPECT_EQ(request(kBlkTypeOut, 0, 1024), kBlkStatusOk);
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusOk);
  EXPECT_EQ(request(kBlkTypeIn, 1, 4096), kBlkStatusOk);
  EXPECT_EQ(request(kBlkTypeFlush, 0, 0), kBlkStatusOk);
  EXPECT_EQ(request(kBlkTypeGetId, 0, 20), kBlkStatusOk);
  expect_stats({2, 4608, 1, 1024, 1, 0, 0, 0, 0});
  faults->fail_next(BlockOp::kRead, -EIO);
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, kDiskBytes / 512, 512), kBlkStatusIoError);
  expect_stats({2, 4608, 1, 1024, 1, 1, 1, 0, 0});
  // A write that goes through is one write.
  const std::byte off{0};
  host->life().write_config(offsetof(BlkConfig, writeback), {&off, 1});
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusOk);
  expect_stats({2, 4608, 2, 1536, 1, 1, 1, 0, 0});
  host->stop();
  expect_stats({2, 4608, 2, 1536, 1, 1, 1, 0, 0});
}

TEST_P(BlkDeviceTest, ConfigurationSpace) {
  make({.id = "x", .queues = 1}, 4096);
  BlkConfig config{};
  device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.capacity, kDiskBytes / 512);
  EXPECT_EQ(config.blk_size, 4096U);
  EXPECT_EQ(config.seg_max, blk_seg_max(kSize));
  EXPECT_EQ(config.writeback, 1U);
  EXPECT_EQ(config.num_queues, 1U);
  EXPECT_EQ(config.max_discard_seg, kBlkMaxDiscardSegments);
  const std::uint64_t capacity = 0;
  device->write_config(0, std::as_bytes(std::span(&capacity, 1)));
  device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.capacity, kDiskBytes / 512) << "only writeback can be written";
}

/// What the configuration space promises, and more than any ring promises: in an indirect table the
/// most that any disk tells, however small the ring. One more is answered with an error.
TEST_P(BlkDeviceTest, AsManySegmentsAsADriverIsToldAndAnErrorForMore) {
  make();
  const auto write = [this](std::uint32_t segments) {
    write_header(kBlkTypeOut, 0);
    for (std::uint32_t i = 0; i < segments; ++i) {
      memory.span(GuestAddress(kData.value() + 512 * i), 512)->fill(std::byte(i + 1));
    }
    std::vector<Desc> table;
    const auto add = [&](GuestAddress at, std::uint32_t bytes, std::uint16_t flags) {
      const auto next = static_cast<std::uint16_t>(table.size() + 1);
      table.push_back({at.value(), bytes, flags, next});
      // In a packed ring's table the flags come last, and there are no links.
      if (driver.features().packed) {
        table.back().flags = 0;
        table.back().next = flags & kDescWrite;
      }
    };
    add(kHeader, sizeof(BlkRequestHeader), kDescNext);
    for (std::uint32_t i = 0; i < segments; ++i) {
      add(GuestAddress(kData.value() + 512 * i), 512, kDescNext);
    }
    add(kStatus, 1, kDescWrite);
    const auto untouched = std::byte{kUntouched};
    EXPECT_TRUE(memory.write(kStatus, {&untouched, 1}));
    EXPECT_TRUE(memory.write(kTable, std::as_bytes(std::span(table))));
    const auto bytes = static_cast<std::uint32_t>(table.size() * sizeof(Desc));
    const auto head = driver.add({{kTable, bytes, false}});
    driver.make_indirect(head.value(), kTable, bytes);
    if (driver.offer()) kick();
    const auto used = wait_used();
    EXPECT_TRUE(used && used->length == 1U) << segments;
    return status();
  };
  for (const std::uint32_t segments : {blk_seg_max(kSize), blk_seg_max(kSize) + 1, kBlkSegMax}) {
    std::ranges::fill(disk->bytes(), std::byte{0});
    EXPECT_EQ(write(segments), kBlkStatusOk) << segments;
    for (std::uint32_t i = 0; i < segments; ++i) {
      ASSERT_EQ(disk->bytes()[512 * i], std::byte(i + 1)) << segments;
      ASSERT_EQ(disk->bytes()[512 * i + 511], std::byte(i + 1)) << segments;
    }
  }
  std::ranges::fill(disk->bytes(), std::byte{0});
  EXPECT_EQ(write(kMaxChainBuffers - 1), kBlkStatusIoError);
  EXPECT_EQ(disk->bytes()[0], std::byte{0});
}

TEST(BlkSegMax, FitsIntoEveryRing) {
  for (std::uint32_t size = 4; size <= 32768; size *= 2) {
    EXPECT_LE(blk_seg_max(static_cast<std::uint16_t>(size)) + 2, size);
    EXPECT_LE(blk_seg_max(static_cast<std::uint16_t>(size)), kBlkSegMax);
  }
  EXPECT_EQ(blk_seg_max(2), 1U);
  EXPECT_EQ(blk_seg_max(64), 62U);
  EXPECT_EQ(blk_seg_max(128), kBlkSegMax);
}

TEST_P(BlkDeviceTest, GetId) {
  make({.id = "a-name-that-is-longer-than-twenty-bytes"});
  fill(std::byte{0xff}, 32);
  EXPECT_EQ(request(kBlkTypeGetId, 0, 20), kBlkStatusOk);
  EXPECT_EQ(data_byte(0), std::byte{'a'});
  EXPECT_EQ(data_byte(19), std::byte{'e'});
  EXPECT_EQ(data_byte(20), std::byte{0xff});
}

TEST_P(BlkDeviceTest, DiscardAndWriteZeroes) {
  make();
  std::ranges::fill(disk->bytes(), std::byte{1});
  const std::array discard{BlkDiscardSegment{0, 8, 0}, BlkDiscardSegment{16, 8, 0}};
  EXPECT_EQ(segments(kBlkTypeDiscard, discard), kBlkStatusOk);
  EXPECT_EQ(disk->bytes()[0], std::byte{0});
  EXPECT_EQ(disk->bytes()[8 * 512], std::byte{1});
  EXPECT_EQ(disk->bytes()[16 * 512], std::byte{0});
  const std::array zeroes{BlkDiscardSegment{32, 8, kBlkWriteZeroesUnmap}};
  EXPECT_EQ(segments(kBlkTypeWriteZeroes, zeroes), kBlkStatusOk);
  EXPECT_EQ(disk->bytes()[32 * 512], std::byte{0});
  faults->fail_next(BlockOp::kDiscard, -EOPNOTSUPP);
  EXPECT_EQ(segments(kBlkTypeDiscard, discard), kBlkStatusUnsupported);
  expect_works();
}

TEST_P(BlkDeviceTest, ResetWithRequestsInFlightThenWorksAgain) {
  make();
  faults->hold();
  write_header(kBlkTypeIn, 0);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(driver.add({{kHeader, 16, false}, {kData, 512, true}, {kStatus, 1, true}}));
  }
  if (driver.offer()) kick();
  ASSERT_TRUE(eventually([&] { return faults->held() == 8; }));
  std::thread medium([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    faults->release_all();
  });
  host->stop();  // row 19: waits, frees nothing under the host's I/O
  medium.join();
  EXPECT_EQ(faults->held(), 0U);
  driver = FakeDriver(memory, kRing, kSize, tested_ring({.indirect = true, .event_idx = true}));
  start(device->traits().features);
  expect_works();
}

TEST_P(BlkDeviceTest, TenThousandResetsUnderFire) {
  make();
  for (int i = 0; i < 10'000; ++i) {
    write_header(kBlkTypeIn, 0);
    for (int k = 0; k < 4; ++k) {
      ASSERT_TRUE(driver.add({{kHeader, 16, false}, {kData, 512, true}, {kStatus, 1, true}}));
    }
    if (driver.offer() && i % 3 != 0) kick();
    if (i % 2 == 0) kick();
    host->stop();
    driver = FakeDriver(memory, kRing, kSize, tested_ring({.indirect = true, .event_idx = true}));
    start(device->traits().features);
  }
  expect_works();
}

// ---- bad-inputs.md, rows 21 to 25 ----

TEST_P(BlkDeviceTest, Row21Framing) {
  make();
  write_header(kBlkTypeIn, 0);
  const auto try_frame = [&](std::initializer_list<FakeDriver::Buffer> buffers) {
    return offer_and_wait({buffers.begin(), buffers.size()});
  };
  // Header short.
  (void)try_frame({{kHeader, 15, false}, {kData, 512, true}, {kStatus, 1, true}});
  EXPECT_EQ(status(), kBlkStatusIoError);
  // Header writable: nothing to read.
  (void)try_frame({{kHeader, 16, true}, {kData, 512, true}, {kStatus, 1, true}});
  EXPECT_EQ(status(), kBlkStatusIoError);
  // No status byte at all: given back with length 0.
  auto used = try_frame({{kHeader, 16, false}});
  EXPECT_EQ(used->length, 0U);
  EXPECT_EQ(status(), kUntouched);
  // Status byte read-only.
  used = try_frame({{kHeader, 16, false}, {kStatus, 1, false}});
  EXPECT_EQ(used->length, 0U);
  EXPECT_EQ(status(), kUntouched);
  // A read without room for data, and one that also sends some.
  (void)try_frame({{kHeader, 16, false}, {kStatus, 1, true}});
  EXPECT_EQ(status(), kBlkStatusIoError);
  (void)try_frame(
      {{kHeader, 16, false}, {kData, 512, false}, {kData, 512, true}, {kStatus, 1, true}});
  EXPECT_EQ(status(), kBlkStatusIoError);
  EXPECT_EQ(device->counters().guest_faults.get(), 6U);
  expect_works();
}

TEST_P(BlkDeviceTest, Row22Ranges) {
  make({}, 4096);
  EXPECT_EQ(request(kBlkTypeIn, UINT64_MAX, 4096), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, UINT64_MAX / 512, 4096), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, UINT64_MAX / 512 + 1, 4096), kBlkStatusIoError)
      << "counted in bytes it would be the first sector";
  EXPECT_EQ(request(kBlkTypeIn, kDiskBytes / 512, 4096), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeOut, kDiskBytes / 512 - 1, 4096), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusIoError) << "not a whole logical block";
  EXPECT_EQ(request(kBlkTypeIn, 1, 4096), kBlkStatusIoError) << "begins inside one";
  EXPECT_EQ(request(kBlkTypeIn, kDiskBytes / 512 - 8, 4096), kBlkStatusOk);
}

TEST_P(BlkDeviceTest, Row23DiscardAndWriteZeroes) {
  make();
  const auto one = [&](std::uint32_t type, BlkDiscardSegment segment) {
    return segments(type, {&segment, 1});
  };
  EXPECT_EQ(one(kBlkTypeDiscard, {UINT64_MAX - 1, 8, 0}), kBlkStatusIoError);
  EXPECT_EQ(one(kBlkTypeDiscard, {kDiskBytes / 512 - 1, 2, 0}), kBlkStatusIoError);
  EXPECT_EQ(one(kBlkTypeDiscard, {0, UINT32_MAX, 0}), kBlkStatusIoError);
  EXPECT_EQ(one(kBlkTypeDiscard, {0, 8, 1}), kBlkStatusUnsupported);
  EXPECT_EQ(one(kBlkTypeWriteZeroes, {0, 8, 2}), kBlkStatusUnsupported);
  EXPECT_EQ(one(kBlkTypeWriteZeroes, {0, 0, 0}), kBlkStatusOk) << "nothing to do";
  const std::array<BlkDiscardSegment, kBlkMaxDiscardSegments + 1> many{};
  EXPECT_EQ(segments(kBlkTypeDiscard, many), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeDiscard, 0, 15), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeDiscard, 0, 0), kBlkStatusIoError);
  EXPECT_EQ(faults->submitted(BlockOp::kDiscard), 0U);
  expect_works();
}

// Whoever resets or pauses the disk waits for what is under way.
TEST_P(BlkDeviceTest, FewLongRequestsAreUnderWayWhateverTheDriverOffers) {
  constexpr unsigned kRequests = 20;
  make();
  const BlkDiscardSegment segment{0, 8, 0};
  const auto offer_all = [&](std::uint32_t type) {
    faults->hold();
    write_header(type, 0);
    ASSERT_TRUE(memory.write(kData, std::as_bytes(std::span(&segment, 1))));
    for (unsigned i = 0; i < kRequests; ++i) {
      ASSERT_TRUE(
          driver.add({{kHeader, 16, false}, {kData, sizeof segment, false}, {kStatus, 1, true}}));
    }
    if (driver.offer()) kick();
    ASSERT_TRUE(eventually([&] { return faults->held() == kBlkMaxLongRequests; }));
  };
  for (const std::uint32_t type : {kBlkTypeDiscard, kBlkTypeWriteZeroes}) {
    const BlockOp op = type == kBlkTypeDiscard ? BlockOp::kDiscard : BlockOp::kWriteZeroes;
    offer_all(type);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(faults->submitted(op), kBlkMaxLongRequests);
    // One that is done makes room for one.
    faults->release(1);
    EXPECT_TRUE(eventually([&] { return faults->submitted(op) == kBlkMaxLongRequests + 1; }));
    EXPECT_EQ(faults->held(), kBlkMaxLongRequests);
    faults->release_all();
    unsigned done = 0;
    EXPECT_TRUE(eventually([&] {
      while (driver.reap()) ++done;
      return done == kRequests;
    })) << done;
    EXPECT_EQ(faults->submitted(op), kRequests);
    expect_works();
  }
  // Those that wait in the ring are not waited for.
  const std::uint64_t before = faults->submitted(BlockOp::kWriteZeroes);
  offer_all(kBlkTypeWriteZeroes);
  std::atomic<bool> stopped{false};
  std::thread medium([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    while (!stopped) {
      faults->release(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  host->stop();
  stopped = true;
  medium.join();
  EXPECT_LT(faults->submitted(BlockOp::kWriteZeroes) - before, kRequests);
}

TEST_P(BlkDeviceTest, ZeroesComeInPiecesOfABoundedLength) {
  make();
  BlkConfig config{};
  device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.max_write_zeroes_sectors, kBlkMaxWriteZeroesSectors);
  EXPECT_EQ(config.max_write_zeroes_seg, kBlkMaxWriteZeroesSegments);
  const std::array<BlkDiscardSegment, kBlkMaxWriteZeroesSegments + 1> many{};
  EXPECT_EQ(segments(kBlkTypeWriteZeroes, many), kBlkStatusIoError);
  EXPECT_EQ(segments(kBlkTypeDiscard, many), kBlkStatusOk);
}

TEST_P(BlkDeviceTest, Row24ReadOnlyUnknownAndShortId) {
  make({}, 512, true);
  EXPECT_NE(device->traits().features & feature_mask(kBlkFeatureReadOnly), 0U);
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusIoError);
  EXPECT_EQ(faults->submitted(BlockOp::kWrite), 0U);
  EXPECT_EQ(request(0x77, 0, 512), kBlkStatusUnsupported);
  EXPECT_EQ(request(kBlkTypeSecureErase, 0, 16), kBlkStatusUnsupported);
  EXPECT_EQ(request(kBlkTypeGetId, 0, 3), kBlkStatusOk);
  EXPECT_EQ(data_byte(2), std::byte{'s'});
  EXPECT_EQ(request(kBlkTypeGetId, 0, 0), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusOk);
}

TEST_P(BlkDeviceTest, Row25HostErrorsReachTheGuestAndAreCounted) {
  make();
  faults->fail_next(BlockOp::kRead, -EIO);
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusIoError);
  faults->fail_next(BlockOp::kWrite, -ENOSPC);
  EXPECT_EQ(request(kBlkTypeOut, 0, 512), kBlkStatusIoError);
  faults->fail_next(BlockOp::kFlush, -EIO);
  EXPECT_EQ(request(kBlkTypeFlush, 0, 0), kBlkStatusIoError);
  EXPECT_EQ(device->counters().io_errors.get(), 3U);
  expect_works();
}

/// A file that goes with the test.
class GrowingFile {
 public:
  explicit GrowingFile(std::uint64_t bytes) : fd_(::mkstemp(path_.data())) { resize(bytes); }
  ~GrowingFile() { ::unlink(path_.c_str()); }
  void resize(std::uint64_t bytes) const {
    EXPECT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(bytes)), 0);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/var/tmp/bellhop-grows-XXXXXX";
  UniqueFd fd_;
};

TEST_P(BlkDeviceTest, AFileThatHasGrownIsALargerDisk) {
  const GrowingFile file(kDiskBytes);
  serve(std::make_unique<BlkDevice>(must(RawFileSource{.path = file.path()}.open()),
                                    BlkOptions{.queue_size = kSize}));
  const auto sectors = [&] {
    BlkConfig config{};
    device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config.capacity;
  };
  constexpr std::uint64_t kSectors = kDiskBytes / 512;
  EXPECT_TRUE(device->look_at_capacity());
  EXPECT_EQ(host->config_changes(), 0U) << "nothing has changed";

  file.resize(2 * kDiskBytes + 100);
  EXPECT_EQ(request(kBlkTypeOut, kSectors, 512), kBlkStatusIoError) << "the disk is as it was told";
  EXPECT_EQ(sectors(), kSectors);
  EXPECT_TRUE(device->look_at_capacity());
  EXPECT_EQ(host->config_changes(), 1U);
  EXPECT_EQ(sectors(), 2 * kSectors) << "part of a sector is none";
  EXPECT_EQ(request(kBlkTypeOut, 2 * kSectors - 1, 512), kBlkStatusOk);
  EXPECT_EQ(request(kBlkTypeOut, 2 * kSectors, 512), kBlkStatusIoError);

  file.resize(kDiskBytes / 2);
  EXPECT_TRUE(device->look_at_capacity());
  EXPECT_EQ(host->config_changes(), 2U);
  EXPECT_EQ(sectors(), kSectors / 2);
  EXPECT_EQ(request(kBlkTypeIn, kSectors / 2, 512), kBlkStatusIoError);
  EXPECT_EQ(request(kBlkTypeIn, kSectors / 2 - 1, 512), kBlkStatusOk);
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// A queue may have 32768 entries of some 4.6 KiB each; this driver has one in flight.
TEST_P(BlkDeviceTest, RequestsTakeMemoryWhenSoManyAreFirstInFlight) {
  const std::uint64_t before = resident_bytes();
  BlkOptions options;
  options.queue_size = 32768;
  serve(std::make_unique<BlkDevice>(make_null_backend(kDiskBytes), options));
  EXPECT_EQ(request(kBlkTypeIn, 0, 512), kBlkStatusOk);
  EXPECT_LT(resident_bytes(), before + (std::uint64_t{64} << 20));
}

TEST_P(BlkDeviceTest, ManyRequestsAllocateNothing) {
  serve(
      std::make_unique<BlkDevice>(make_null_backend(kDiskBytes), BlkOptions{.queue_size = kSize}));
  write_header(kBlkTypeIn, 0);
  const std::uint64_t requests = testing::many(1'000'000);
  const auto run = [&](std::uint64_t count) {
    std::uint64_t done = 0;
    std::uint64_t offered = 0;
    while (done < count) {
      while (offered < count &&
             driver.add({{kHeader, 16, false}, {kData, 512, true}, {kStatus, 1, true}})) {
        ++offered;
      }
      if (driver.offer()) kick();
      while (driver.reap()) ++done;
      (void)driver.enable_interrupts();
    }
  };
  run(1000);
  const std::uint64_t before = allocations.load();
  run(requests);
  EXPECT_EQ(allocations.load() - before, 0U);
  EXPECT_EQ(host->life().counters(0).completions.get(), requests + 1000);
}

INSTANTIATE_TEST_SUITE_P(Modes, BlkDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                           NotifyMode::kPoll, NotifyMode::kAdaptive),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop

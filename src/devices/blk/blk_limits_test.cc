// What a disk's configuration space promises, the engine accepts; what comes back was written.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "devices/blk/vhost_user_blk_device.h"
#include "memory/fault_guard.h"
#include "testing/bytes.h"
#include "testing/device_limits.h"
#include "testing/memory_backend.h"
#include "transport/vhost_user/vhost_user_server.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::LimitsDriver;
using testing::must;
using testing::same_bytes;

std::vector<std::byte> header(std::uint32_t type, std::uint64_t offset) {
  const BlkRequestHeader header{.type = type, .reserved = 0, .sector = offset / kBlkSectorBytes};
  const auto bytes = std::as_bytes(std::span(&header, 1));
  return {bytes.begin(), bytes.end()};
}

class BlkLimits : public testing::DeviceLimits {
 public:
  static constexpr std::uint64_t kCapacity = 1 << 19;

  explicit BlkLimits(std::uint32_t logical_block) : block_(logical_block) {}

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 32768};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t queue_size) override {
    backend_ = std::make_shared<MemoryBackend>(kCapacity);
    backend_->mutable_limits().logical_block = block_;
    backend_->mutable_limits().physical_block = std::max(block_, 4096U);
    expected_.assign(kCapacity, std::byte{0});
    return std::make_unique<BlkDevice>(backend_, BlkOptions{.queue_size = queue_size});
  }
  [[nodiscard]] std::vector<Answers> answers() const override {
    return {{.queue = 0, .error = kBlkStatusIoError}};
  }

  void use(LimitsDriver& driver) override {
    const auto config = driver.config<BlkConfig>();
    ASSERT_GE(config.seg_max, 1U);
    for (int i = 0; i < 3; ++i) {
      ASSERT_NO_FATAL_FAILURE(write(driver, config, some(driver, config)));
      ASSERT_NO_FATAL_FAILURE(read(driver, config, some(driver, config)));
    }
    ASSERT_NO_FATAL_FAILURE(write(driver, config, {0, kCapacity}));
    ASSERT_NO_FATAL_FAILURE(read(driver, config, {0, kCapacity}));
    ASSERT_NO_FATAL_FAILURE(ranges(driver, config, kBlkTypeWriteZeroes));
    ASSERT_NO_FATAL_FAILURE(ranges(driver, config, kBlkTypeDiscard));
    ASSERT_NO_FATAL_FAILURE(read(driver, config, {0, kCapacity}));
    ASSERT_NO_FATAL_FAILURE(flush_and_id(driver));
  }

 private:
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };

  /// Data in seg_max segments, header and status each in one of its own.
  static unsigned promised(const BlkConfig& config) { return config.seg_max + 2; }
  Range some(LimitsDriver& driver, const BlkConfig& config) const {
    const auto blocks = static_cast<unsigned>(kCapacity / config.blk_size);
    const unsigned first = driver.random(0, blocks - 1);
    const unsigned count = driver.random(1, std::min(blocks - first, 64U));
    return {std::uint64_t{first} * config.blk_size, std::uint64_t{count} * config.blk_size};
  }
  static void expect_status(const std::optional<LimitsDriver::Answer>& answer, std::uint8_t status,
                            std::size_t length) {
    ASSERT_TRUE(answer);
    EXPECT_EQ(std::to_integer<unsigned>(answer->bytes.back()), status);
    EXPECT_EQ(answer->length, length);
  }
  /// Whether a direct ring has room for a request and its answer at all.
  static bool has_room(const LimitsDriver& driver) { return driver.pieces(2) == 2; }

  void write(LimitsDriver& driver, const BlkConfig& config, Range range) {
    if (!has_room(driver)) return;
    const auto data = driver.random_bytes(range.bytes);
    auto request = header(kBlkTypeOut, range.offset);
    request.insert(request.end(), data.begin(), data.end());
    ASSERT_NO_FATAL_FAILURE(
        expect_status(driver.ask(0, request, 1, promised(config)), kBlkStatusOk, 1));
    std::ranges::copy(data, expected_.begin() + static_cast<std::ptrdiff_t>(range.offset));
    // What the medium holds, not only what the device reads from it.
    ASSERT_TRUE(same_bytes(std::span(backend_->bytes()).subspan(range.offset, range.bytes), data));
  }
  void read(LimitsDriver& driver, const BlkConfig& config, Range range) {
    if (!has_room(driver)) return;
    const auto answer = driver.ask(0, header(kBlkTypeIn, range.offset),
                                   static_cast<std::uint32_t>(range.bytes + 1), promised(config));
    ASSERT_NO_FATAL_FAILURE(expect_status(answer, kBlkStatusOk, range.bytes + 1));
    ASSERT_TRUE(same_bytes(std::span(answer->bytes).first(range.bytes),
                           std::span(expected_).subspan(range.offset, range.bytes)));
  }
  /// As many segments as may be in a request, the first as long as one may be on this disk.
  void ranges(LimitsDriver& driver, const BlkConfig& config, std::uint32_t type) {
    if (!has_room(driver)) return;
    const bool discard = type == kBlkTypeDiscard;
    const std::uint32_t segments = discard ? config.max_discard_seg : config.max_write_zeroes_seg;
    const std::uint64_t most =
        std::uint64_t{discard ? config.max_discard_sectors : config.max_write_zeroes_sectors} *
        kBlkSectorBytes;
    ASSERT_GE(segments, 1U);
    auto request = header(type, 0);
    for (std::uint32_t i = 0; i < segments; ++i) {
      Range range = some(driver, config);
      if (i == 0) range = {kCapacity / 2, std::min(most, kCapacity / 4)};
      const BlkDiscardSegment segment{
          .sector = range.offset / kBlkSectorBytes,
          .num_sectors = static_cast<std::uint32_t>(range.bytes / kBlkSectorBytes),
          .flags = discard ? 0 : driver.random(0, config.write_zeroes_may_unmap)};
      const auto bytes = std::as_bytes(std::span(&segment, 1));
      request.insert(request.end(), bytes.begin(), bytes.end());
      std::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(range.offset), range.bytes,
                  std::byte{0});
    }
    expect_status(driver.ask(0, request, 1, promised(config)), kBlkStatusOk, 1);
  }
  static void flush_and_id(LimitsDriver& driver) {
    if (!has_room(driver)) return;
    expect_status(driver.ask(0, header(kBlkTypeFlush, 0), 1, 2), kBlkStatusOk, 1);
    const auto id = driver.ask(0, header(kBlkTypeGetId, 0), kBlkIdBytes + 1, 3);
    ASSERT_NO_FATAL_FAILURE(expect_status(id, kBlkStatusOk, kBlkIdBytes + 1));
    EXPECT_EQ(std::memcmp(id->bytes.data(), "disk0", 6), 0);
  }

  std::uint32_t block_;
  std::shared_ptr<MemoryBackend> backend_;
  std::vector<std::byte> expected_;
};

/// Ranges that are larger than any disk in memory.
class BlkRangeLimits final : public testing::DeviceLimits {
 public:
  static constexpr std::uint64_t kCapacity = std::uint64_t{1} << 40;

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override { return {2, 256}; }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t queue_size) override {
    return std::make_unique<BlkDevice>(make_null_backend(kCapacity),
                                       BlkOptions{.queue_size = queue_size});
  }
  void use(LimitsDriver& driver) override {
    const auto config = driver.config<BlkConfig>();
    for (const std::uint32_t type : {kBlkTypeDiscard, kBlkTypeWriteZeroes}) {
      const bool discard = type == kBlkTypeDiscard;
      const auto sectors = discard ? config.max_discard_sectors : config.max_write_zeroes_sectors;
      auto request = header(type, 0);
      for (unsigned i = 0; i < (discard ? config.max_discard_seg : config.max_write_zeroes_seg);
           ++i) {
        const BlkDiscardSegment segment{
            .sector = kCapacity / kBlkSectorBytes - sectors, .num_sectors = sectors, .flags = 0};
        const auto bytes = std::as_bytes(std::span(&segment, 1));
        request.insert(request.end(), bytes.begin(), bytes.end());
      }
      if (driver.pieces(2) < 2) return;
      const auto answer = driver.ask(0, request, 1, config.seg_max + 2);
      ASSERT_TRUE(answer);
      EXPECT_EQ(std::to_integer<unsigned>(answer->bytes.back()), kBlkStatusOk);
    }
  }
};

/// The same disk behind a process of its own, whose rings are larger than any that it is told of.
class OffloadedBlkLimits final : public BlkLimits {
 public:
  OffloadedBlkLimits() : BlkLimits(512) {
    must(FaultGuard::install());
    std::string name = (std::filesystem::temp_directory_path() / "limitsXXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder_ = name;
  }
  ~OffloadedBlkLimits() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {2, 16, 256, 1024};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory& memory, std::uint16_t size) override {
    server_.reset();
    const std::string path = folder_ + "/disk.sock";
    server_ = must(VhostUserServer::start(
        {.listener = must(UnixListener::listen(path, 0600)),
         .device = must(VhostUserDevice::create(
             BlkLimits::make(memory, 32768),
             {.memory = nullptr, .threads = {thread_.get()}, .notify = NotifyMode::kIoEventFd})),
         .patience = vhost_user::Channel::Patience(5000)}));
    return must(VhostUserBlkDevice::create({.queue_size = size}, connector_to("--disk", path)));
  }

 private:
  std::string folder_;
  std::unique_ptr<IoThread> thread_ = must(IoThread::start({}));
  std::unique_ptr<VhostUserServer> server_;
};

TEST(DeviceLimitsTest, OffloadedDisk) {
#ifdef BELLHOP_UNDER_TSAN
  GTEST_SKIP() << "the back end has a mapping of its own, which the sanitizer takes for other "
                  "memory";
#endif
  OffloadedBlkLimits limits;
  expect_limits_are_kept(limits);
}

TEST(DeviceLimitsTest, DiskOfSectors) {
  BlkLimits limits(512);
  expect_limits_are_kept(limits);
}

TEST(DeviceLimitsTest, DiskOfLargeBlocks) {
  BlkLimits limits(4096);
  expect_limits_are_kept(limits);
}

TEST(DeviceLimitsTest, RangesOfALargeDisk) {
  BlkRangeLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

// Real block devices as disks: loop devices, where this host has them and lets us.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "block/block_fixture.h"
#include "testing/bytes.h"

namespace bellhop {
namespace {

using testing::all_bytes;
using ::testing::HasSubstr;
using testing::same_bytes;

constexpr std::uint64_t kBytes = std::uint64_t{4} << 20;

/// A loop device on a file, let go of by the kernel when it is closed for the last time. Invalid,
/// with the reason, where there is none to be had.
class LoopDevice {
 public:
  enum class Access { kWritable, kReadOnly };

  explicit LoopDevice(const std::string& file, std::uint32_t block = 512,
                      Access access = Access::kWritable) {
    set_up(file, block, access);
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  [[nodiscard]] bool valid() const { return fd_.valid(); }
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Empties the host's page cache of it.
  void forget_cached() const { EXPECT_EQ(::ioctl(fd_.get(), BLKFLSBUF, 0), 0); }

 private:
  void set_up(const std::string& file, std::uint32_t block, Access access) {
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const UniqueFd backing(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    if (!control.valid() || !backing.valid()) return missing("no /dev/loop-control for us");
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.block_size = block;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (access == Access::kReadOnly) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    // Another process may take the free one before us.
    for (int attempt = 0; attempt < 20; ++attempt) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) return missing("no free loop device");
      path_ = "/dev/loop" + std::to_string(number);
      fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
      if (!fd_.valid()) return missing("no loop device for us");
      if (::ioctl(fd_.get(), LOOP_CONFIGURE, &config) == 0) return;
      if (errno != EBUSY) break;
    }
    missing("a loop device cannot be set up");
  }
  void missing(const char* what) {
    why_not_ = std::string("this host has ") + what + ": " + std::generic_category().message(errno);
    fd_.reset();
  }

  UniqueFd fd_;
  std::string path_;
  std::string why_not_;
};

struct CachedEngine {
  Aio aio;
  Cache cache;
};

class BlockDeviceTest : public ::testing::TestWithParam<CachedEngine> {
 protected:
  void SetUp() override {
    if (GetParam().aio == Aio::kIoUring && !EventLoop::create(LoopKind::kIoUring)) {
      GTEST_SKIP() << "this host forbids io_uring";
    }
    device_ = std::make_unique<LoopDevice>(file_.path());
    if (!device_->valid()) GTEST_SKIP() << device_->why_not();
  }
  [[nodiscard]] RawFileSource config() const {
    return {.path = device_->path(),
            .read_only = false,
            .cache = GetParam().cache,
            .aio = GetParam().aio};
  }
  void open() {
    auto opened = open_raw_file(config());
    ASSERT_TRUE(opened) << opened.error().message;
    backend_ = std::move(*opened);
    const LoopKind loop = GetParam().aio == Aio::kIoUring ? LoopKind::kIoUring : LoopKind::kEpoll;
    fixture_ = std::make_unique<QueueFixture>(*backend_, loop, QueueSharing::kLoopOnly);
  }
  int run(BlockOp op, std::uint64_t offset, std::uint64_t bytes) {
    TestIo io;
    io.set_range(op, offset, bytes);
    return fixture_->run(io);
  }
  int transfer(BlockOp op, std::uint64_t offset, GuestSpan where) {
    TestIo io;
    io.set(op, offset, {where});
    return fixture_->run(io);
  }
  /// The whole disk through the back end.
  [[nodiscard]] std::vector<std::byte> contents() {
    const Pages memory(kBytes);
    EXPECT_EQ(transfer(BlockOp::kRead, 0, memory.span(0, kBytes)), 0);
    return {memory.bytes().begin(), memory.bytes().end()};
  }
  void fill_disk(std::byte value) {
    const Pages memory(kBytes);
    std::ranges::fill(memory.bytes(), value);
    ASSERT_EQ(transfer(BlockOp::kWrite, 0, memory.span(0, kBytes)), 0);
    ASSERT_EQ(run(BlockOp::kFlush, 0, 0), 0);
  }
  [[nodiscard]] std::uint64_t backing_bytes() const {
    struct stat about {};
    EXPECT_EQ(::stat(file_.path().c_str(), &about), 0);
    return static_cast<std::uint64_t>(about.st_blocks) * 512;
  }

  ScratchFile file_{"/var/tmp", kBytes};
  std::unique_ptr<LoopDevice> device_;
  std::unique_ptr<BlockBackend> backend_;
  std::unique_ptr<QueueFixture> fixture_;
};

TEST_P(BlockDeviceTest, TellsTheDevicesSizeAndBlocks) {
  open();
  EXPECT_EQ(backend_->limits().capacity, kBytes);
  EXPECT_EQ(backend_->limits().logical_block, 512U);
  EXPECT_GE(backend_->limits().physical_block, 512U);
  EXPECT_TRUE(backend_->limits().can_discard);
  EXPECT_TRUE(backend_->limits().can_write_zeroes);
}

TEST_P(BlockDeviceTest, TakesItsLogicalBlockFromTheDevice) {
  const ScratchFile other("/var/tmp", kBytes);
  const LoopDevice large(other.path(), 4096);
  if (!large.valid()) GTEST_SKIP() << large.why_not();
  RawFileSource wanted = config();
  wanted.path = large.path();
  const auto opened = open_raw_file(wanted);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->limits().logical_block, 4096U);
}

// An image that was made for sectors of 512 bytes, on a medium with larger ones. Neighbours in one
// block are written at the same time, through the page cache and past it.
TEST_P(BlockDeviceTest, GivesTheGuestSmallerBlocksThanTheDevices) {
  constexpr std::size_t kSector = 512;
  constexpr std::size_t kSectors = 256;
  const ScratchFile other("/var/tmp", kBytes + kSector * 8);
  const LoopDevice large(other.path(), 4096);
  if (!large.valid()) GTEST_SKIP() << large.why_not();
  RawFileSource wanted = config();
  wanted.path = large.path();
  wanted.block_size = kSector;
  auto opened = open_raw_file(wanted);
  ASSERT_TRUE(opened) << opened.error().message;
  backend_ = std::move(*opened);
  EXPECT_EQ(backend_->limits().logical_block, kSector);
  EXPECT_EQ(backend_->limits().physical_block, 4096U);
  const LoopKind loop = GetParam().aio == Aio::kIoUring ? LoopKind::kIoUring : LoopKind::kEpoll;
  fixture_ = std::make_unique<QueueFixture>(*backend_, loop, QueueSharing::kLoopOnly, 2 * kSectors);
  const Pages memory(kSectors * kSector + 4096);
  std::vector<TestIo> ios(kSectors);
  for (int round = 0; round < 20; ++round) {
    // Runs of 1, 8 and 3 sectors, aligned and not, from memory as it comes.
    std::vector<std::byte> expected;
    std::size_t used = 0;
    for (std::size_t sector = 0; sector < kSectors;) {
      const std::size_t pieces[] = {1, 8, 3};
      const std::size_t count = std::min(pieces[used % 3], kSectors - sector);
      const GuestSpan where = memory.span(sector * kSector + 8, count * kSector);
      const auto value = static_cast<std::byte>(used + static_cast<std::size_t>(round));
      where.fill(value);
      expected.insert(expected.end(), count * kSector, value);
      ios[used].set(BlockOp::kWrite, sector * kSector, {where});
      sector += count;
      ++used;
    }
    // Not in order, or they would be joined.
    for (std::size_t i = 0; i < used; i += 2) fixture_->queue().enqueue(ios[i]);
    for (std::size_t i = 1; i < used; i += 2) fixture_->queue().enqueue(ios[i]);
    fixture_->queue().submit();
    ASSERT_TRUE(fixture_->run_until([&] {
      return std::ranges::all_of(std::span(ios).first(used),
                                 [](const TestIo& io) { return io.finished; });
    }));
    for (std::size_t i = 0; i < used; ++i) ASSERT_EQ(ios[i].error, 0) << i;
    ASSERT_EQ(transfer(BlockOp::kRead, 0, memory.span(0, kSectors * kSector)), 0);
    ASSERT_TRUE(same_bytes(memory.bytes().first(kSectors * kSector), expected)) << round;
    ASSERT_EQ(transfer(BlockOp::kRead, 3 * kSector, memory.span(24, kSector)), 0);
    ASSERT_EQ(memory.bytes()[24], expected[3 * kSector]);
  }
  ASSERT_EQ(run(BlockOp::kWriteZeroes, 5 * kSector, 2 * kSector), 0);
  ASSERT_EQ(run(BlockOp::kFlush, 0, 0), 0);
  ASSERT_EQ(transfer(BlockOp::kRead, 4 * kSector, memory.span(0, 4 * kSector)), 0);
  EXPECT_NE(memory.bytes()[kSector - 1], std::byte{0});
  EXPECT_EQ(memory.bytes()[kSector], std::byte{0});
  EXPECT_EQ(memory.bytes()[3 * kSector - 1], std::byte{0});
  EXPECT_NE(memory.bytes()[3 * kSector], std::byte{0});
  const UniqueFd under(::open(other.path().c_str(), O_RDONLY | O_CLOEXEC));
  std::array<std::byte, 4 * kSector> kept{};
  ASSERT_EQ(::pread(under.get(), kept.data(), kept.size(), 4 * kSector),
            static_cast<ssize_t>(kept.size()));
  EXPECT_TRUE(same_bytes(kept, memory.bytes().first(kept.size())));
}

TEST_P(BlockDeviceTest, GivesTheGuestLargerBlocksThanTheDevices) {
  auto wanted = config();
  wanted.block_size = 4096;
  const auto opened = open_raw_file(wanted);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->limits().logical_block, 4096U);
  EXPECT_GE((*opened)->limits().physical_block, 4096U);
}

TEST_P(BlockDeviceTest, KeepsWhatIsWritten) {
  open();
  const Pages memory(16384);
  std::ranges::fill(memory.bytes(), std::byte{0xc3});
  // At odd sectors, from memory as it comes.
  EXPECT_EQ(transfer(BlockOp::kWrite, 512 * 7, memory.span(8, 512 * 9)), 0);
  EXPECT_EQ(run(BlockOp::kFlush, 0, 0), 0);
  const auto found = contents();
  EXPECT_EQ(found[512 * 7 - 1], std::byte{0});
  EXPECT_EQ(found[512 * 7], std::byte{0xc3});
  EXPECT_EQ(found[512 * 16 - 1], std::byte{0xc3});
  EXPECT_EQ(found[512 * 16], std::byte{0});
  // What was flushed is in the file under the device.
  const UniqueFd under(::open(file_.path().c_str(), O_RDONLY | O_CLOEXEC));
  std::byte byte{};
  EXPECT_EQ(::pread(under.get(), &byte, 1, 512 * 7), 1);
  EXPECT_EQ(byte, std::byte{0xc3});
}

TEST_P(BlockDeviceTest, DiscardGivesBlocksBack) {
  open();
  fill_disk(std::byte{0x5a});
  const std::uint64_t before = backing_bytes();
  ASSERT_EQ(run(BlockOp::kDiscard, 1 << 20, 2 << 20), 0);
  EXPECT_LE(backing_bytes(), before - (2 << 20));
  const auto found = contents();
  EXPECT_EQ(found[(1 << 20) - 1], std::byte{0x5a});
  EXPECT_EQ(found[3 << 20], std::byte{0x5a});
}

TEST_P(BlockDeviceTest, ZeroedRangesReadAsZero) {
  open();
  for (const bool may_unmap : {false, true}) {
    fill_disk(std::byte{0x5a});
    TestIo io;
    io.set_range(BlockOp::kWriteZeroes, (1 << 20) + 512, (1 << 20) - 1024);
    io.may_unmap = may_unmap;
    ASSERT_EQ(fixture_->run(io), 0);
    const auto found = contents();
    const auto zeroes = std::span(found).subspan((1 << 20) + 512, (1 << 20) - 1024);
    EXPECT_TRUE(all_bytes(zeroes, std::byte{0}));
    EXPECT_EQ(found[(1 << 20) + 511], std::byte{0x5a});
    EXPECT_EQ(found[(2 << 20) - 512], std::byte{0x5a});
  }
}

TEST_P(BlockDeviceTest, OneWriterAtATime) {
  open();
  const auto second = open_raw_file(config());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(device_->path()));
  EXPECT_THAT(second.error().message, HasSubstr("in use by"));
  fixture_.reset();
  backend_.reset();
  EXPECT_TRUE(open_raw_file(config()));
}

TEST_P(BlockDeviceTest, AReadOnlyDeviceCanOnlyBeRead) {
  const ScratchFile other("/var/tmp", kBytes);
  const LoopDevice protected_device(other.path(), 512, LoopDevice::Access::kReadOnly);
  if (!protected_device.valid()) GTEST_SKIP() << protected_device.why_not();
  RawFileSource wanted = config();
  wanted.path = protected_device.path();
  const auto refused = open_raw_file(wanted);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr(wanted.path + " for writing"));
  wanted.read_only = true;
  EXPECT_TRUE(open_raw_file(wanted));
}

// Row 25: what lies under the device becomes shorter.
TEST_P(BlockDeviceTest, ErrorsOfTheDeviceReachTheRequest) {
  open();
  fill_disk(std::byte{0x5a});
  fixture_.reset();
  backend_.reset();
  ASSERT_EQ(::truncate(file_.path().c_str(), kBytes / 2), 0);
  device_->forget_cached();
  open();
  const Pages memory(4096);
  EXPECT_NE(transfer(BlockOp::kRead, kBytes - 4096, memory.span(0, 4096)), 0);
  EXPECT_EQ(transfer(BlockOp::kRead, 0, memory.span(0, 4096)), 0);
  EXPECT_EQ(memory.bytes()[4095], std::byte{0x5a});
}

// Row 25: the writes went well, the disk is found to be full when they are to be made durable.
TEST_P(BlockDeviceTest, AFullDiskIsReportedAtTheFlush) {
  constexpr std::uint64_t kRoom = 256 << 10;
  const SmallFileSystem small(kRoom);
  if (small.path().empty()) GTEST_SKIP() << "this host lets us mount nothing";
  const ScratchFile sparse(small.path(), kBytes);
  device_ = std::make_unique<LoopDevice>(sparse.path());
  ASSERT_TRUE(device_->valid()) << device_->why_not();
  open();
  const Pages memory(64 << 10);
  std::ranges::fill(memory.bytes(), std::byte{0x5a});
  // Piece by piece: of one long request the loop driver calls it a success if its start had room.
  int written = 0;
  for (std::uint64_t at = 0; at < 8 * kRoom && written == 0; at += memory.bytes().size()) {
    written = transfer(BlockOp::kWrite, at, memory.span(0, memory.bytes().size()));
  }
  const int flushed = run(BlockOp::kFlush, 0, 0);
  if (GetParam().cache == Cache::kWriteback) {
    EXPECT_EQ(written, 0);
    EXPECT_TRUE(flushed == -ENOSPC || flushed == -EIO) << flushed;
  } else {
    EXPECT_TRUE(written == -ENOSPC || written == -EIO) << written;
  }
  // Said once; with room again the disk works.
  EXPECT_EQ(run(BlockOp::kDiscard, 0, kBytes), 0);
  EXPECT_EQ(transfer(BlockOp::kWrite, 0, memory.span(0, 4096)), 0);
  EXPECT_EQ(run(BlockOp::kFlush, 0, 0), 0);
  fixture_.reset();
  backend_.reset();
  device_.reset();
}

// Two nodes of one device have locks of their own: the device itself is claimed.
TEST_P(BlockDeviceTest, AWriterIsAloneWhateverTheNode) {
  open();
  struct stat info {};
  ASSERT_EQ(::stat(device_->path().c_str(), &info), 0);
  const std::string node = "/var/tmp/bellhop-node-" + std::to_string(::getpid());
  if (::mknod(node.c_str(), S_IFBLK | 0600, info.st_rdev) != 0) GTEST_SKIP() << "no nodes here";
  auto other = config();
  other.path = node;
  const auto refused = open_raw_file(other);
  other.locking = Locking::kOff;
  const auto unasked = open_raw_file(other);
  ::unlink(node.c_str());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr(node + " is in use"));
  EXPECT_TRUE(unasked) << unasked.error().message;
}

INSTANTIATE_TEST_SUITE_P(Engines, BlockDeviceTest,
                         ::testing::Values(CachedEngine{Aio::kIoUring, Cache::kNone},
                                           CachedEngine{Aio::kIoUring, Cache::kWriteback},
                                           CachedEngine{Aio::kNative, Cache::kNone},
                                           CachedEngine{Aio::kThreads, Cache::kNone},
                                           CachedEngine{Aio::kThreads, Cache::kWriteback}),
                         [](const auto& engine) {
                           return name_of(engine.param.aio, engine.param.cache);
                         });

}  // namespace
}  // namespace bellhop

#include "block/raw_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include "base/file_lock.h"
#include "block/block_fixture.h"
#include "testing/bytes.h"

namespace bellhop {
namespace {

using testing::all_bytes;
using testing::fill_randomly;
using testing::same_bytes;

constexpr std::uint64_t kImage = std::uint64_t{4} << 20;

struct Engine {
  Aio aio;
  Cache cache;
  LoopKind loop;
  QueueSharing sharing;
  const char* folder;
};

std::string name_of(const Engine& engine) {
  std::string name = name_of(engine.aio, engine.cache);
  name += engine.loop == LoopKind::kIoUring ? "_on_uring" : "_on_epoll";
  name += engine.sharing == QueueSharing::kLoopOnly ? "_loop" : "_shared";
  name += engine.folder == kDiskFolder ? "_disk" : "_memory";
  return name;
}

std::vector<Engine> all_engines() {
  std::vector<Engine> all;
  for (const char* folder : {kDiskFolder, kMemoryFolder}) {
    for (const LoopKind loop : {LoopKind::kIoUring, LoopKind::kEpoll}) {
      for (const auto sharing : {QueueSharing::kLoopOnly, QueueSharing::kSharedWithVcpu}) {
        for (const Cache cache : {Cache::kNone, Cache::kWriteback}) {
          all.push_back({Aio::kIoUring, cache, loop, sharing, folder});
          all.push_back({Aio::kThreads, cache, loop, sharing, folder});
        }
        all.push_back({Aio::kNative, Cache::kNone, loop, sharing, folder});
      }
    }
  }
  return all;
}

class RawFileTest : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    if (::access(GetParam().folder, W_OK) != 0) {
      GTEST_SKIP() << "this host has no " << GetParam().folder;
    }
    const bool ring = GetParam().loop == LoopKind::kIoUring || GetParam().aio == Aio::kIoUring;
    if (ring && !EventLoop::create(LoopKind::kIoUring)) {
      GTEST_SKIP() << "this host forbids io_uring";
    }
    file_ = std::make_unique<ScratchFile>(GetParam().folder, kImage);
    auto opened = open_raw_file(config());
    if (!opened && GetParam().cache == Cache::kNone) {
      GTEST_SKIP() << "no O_DIRECT here: " << opened.error().message;
    }
    ASSERT_TRUE(opened) << opened.error().message;
    backend_ = std::move(*opened);
    fixture_ = std::make_unique<QueueFixture>(*backend_, GetParam().loop, GetParam().sharing, 256);
  }
  void TearDown() override {
    fixture_.reset();
    backend_.reset();
  }
  [[nodiscard]] RawFileSource config() const {
    return {.path = file_->path(),
            .read_only = false,
            .cache = GetParam().cache,
            .aio = GetParam().aio};
  }
  /// What the file holds, seen from outside.
  [[nodiscard]] std::vector<std::byte> image() const {
    std::vector<std::byte> bytes(kImage);
    const UniqueFd fd(::open(file_->path().c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::pread(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kImage));
    return bytes;
  }
  /// `op` over 2 MiB of an image that was written gives their blocks to the file system.
  void expect_blocks_back(BlockOp op, bool may_unmap) {
    const Pages memory(kImage);
    std::ranges::fill(memory.bytes(), std::byte{0x5a});
    TestIo io;
    io.set(BlockOp::kWrite, 0, {memory.span(0, kImage)});
    ASSERT_EQ(fixture_->run(io), 0);
    TestIo flush;
    flush.set_range(BlockOp::kFlush, 0, 0);
    ASSERT_EQ(fixture_->run(flush), 0);
    struct stat before {};
    struct stat after {};
    ASSERT_EQ(::stat(file_->path().c_str(), &before), 0);
    io.set_range(op, 1 << 20, 2 << 20);
    io.may_unmap = may_unmap;
    EXPECT_EQ(fixture_->run(io), 0);
    ASSERT_EQ(::stat(file_->path().c_str(), &after), 0);
    EXPECT_LE(after.st_blocks, before.st_blocks - (2 << 20) / 512);
    EXPECT_EQ(after.st_size, static_cast<off_t>(kImage));
  }

  std::unique_ptr<ScratchFile> file_;
  std::unique_ptr<BlockBackend> backend_;
  std::unique_ptr<QueueFixture> fixture_;
};

TEST_P(RawFileTest, TellsItsLimits) {
  const BlockLimits& limits = backend_->limits();
  EXPECT_EQ(limits.capacity, kImage);
  EXPECT_GE(limits.logical_block, 512U);
  EXPECT_GE(limits.physical_block, limits.logical_block);
  EXPECT_EQ(limits.capacity % limits.logical_block, 0U);
  EXPECT_FALSE(limits.read_only);
  EXPECT_EQ(fixture_->queue().completion_event() != nullptr,
            GetParam().sharing == QueueSharing::kSharedWithVcpu);
}

// Batches of random reads and writes, in one to six pieces, a third of them not aligned in memory,
// against a copy of the disk.
TEST_P(RawFileTest, KeepsWhatIsWritten) {
  constexpr std::size_t kBatch = 40;
  constexpr std::size_t kSlot = std::size_t{64} << 10;
  const std::uint32_t block = backend_->limits().logical_block;
  std::mt19937 random(7);
  std::vector<std::byte> disk(kImage);
  const Pages memory(kBatch * (kSlot + 4096));
  std::vector<TestIo> ios(kBatch);
  for (int round = 0; round < 6; ++round) {
    fill_randomly(memory.bytes(), random);
    for (std::size_t i = 0; i < kBatch; ++i) {
      const std::size_t blocks = 1 + random() % (kSlot / block - 1);
      const std::size_t first = random() % (kSlot / block - blocks + 1);
      std::size_t left = blocks;
      std::size_t at = i * (kSlot + 4096) + (random() % 3 == 0 ? 8 * (random() % 64) : 0);
      std::vector<GuestSpan> spans;
      while (left != 0) {
        std::size_t piece = spans.size() == 5 ? left : 1 + random() % left;
        spans.push_back(memory.span(at, piece * block));
        at += piece * block;
        left -= piece;
      }
      const BlockOp op = random() % 2 == 0 ? BlockOp::kRead : BlockOp::kWrite;
      ios[i].set(op, i * kSlot + first * block, std::move(spans));
      fixture_->queue().enqueue(ios[i]);
      if (random() % 8 == 0) fixture_->queue().submit();
    }
    fixture_->queue().submit();
    ASSERT_TRUE(fixture_->run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
    for (const TestIo& io : ios) {
      ASSERT_EQ(io.error, 0);
      auto* place = disk.data() + io.offset;
      for (const GuestSpan& span : io.spans) {
        const auto* bytes = static_cast<const std::byte*>(span.as_iovec().iov_base);
        if (io.op == BlockOp::kWrite) {
          std::memcpy(place, bytes, span.size());
        } else {
          ASSERT_TRUE(same_bytes({bytes, span.size()}, {place, span.size()}));
        }
        place += span.size();
      }
    }
  }
  TestIo flush;
  flush.set_range(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(fixture_->run(flush), 0);
  EXPECT_TRUE(same_bytes(image(), disk));
}

// Each piece lies well, none is as long as a block.
TEST_P(RawFileTest, PiecesMayBeShorterThanABlock) {
  const std::size_t block = backend_->limits().logical_block;
  const Pages memory(std::size_t{4096} * 4);
  const auto part = [&](std::size_t page, std::size_t bytes) {
    return memory.span(page * 4096, bytes);
  };
  part(0, block / 2).fill(std::byte{0xa1});
  part(1, block / 2).fill(std::byte{0xa2});
  TestIo io;
  io.set(BlockOp::kWrite, 0, {part(0, block / 2), part(1, block / 2)});
  ASSERT_EQ(fixture_->run(io), 0);
  io.set(BlockOp::kRead, 0, {part(2, block / 4), part(3, block - block / 4)});
  ASSERT_EQ(fixture_->run(io), 0);
  EXPECT_EQ(memory.bytes()[std::size_t{2} * 4096 + block / 4 - 1], std::byte{0xa1});
  EXPECT_EQ(memory.bytes()[std::size_t{3} * 4096 + block / 4 - 1], std::byte{0xa1});
  EXPECT_EQ(memory.bytes()[std::size_t{3} * 4096 + block / 4], std::byte{0xa2});
  EXPECT_EQ(memory.bytes()[std::size_t{3} * 4096 + block - block / 4 - 1], std::byte{0xa2});
}

// Longer than a bounce buffer, and more pieces than a system call takes.
TEST_P(RawFileTest, SplitsWhatIsTooLongForTheKernel) {
  std::mt19937 random(8);
  const Pages memory(kImage + 4096);
  fill_randomly(memory.bytes(), random);
  TestIo io;
  io.set(BlockOp::kWrite, 0, {memory.span(24, kImage - 512), memory.span(24 + kImage - 512, 512)});
  ASSERT_EQ(fixture_->run(io), 0);
  const auto written = memory.bytes().subspan(24, kImage);
  const auto found = image();
  EXPECT_TRUE(same_bytes(found, written));

  const Pages back(kImage + 4096);
  std::vector<GuestSpan> pieces;
  for (std::size_t at = 0; at < kImage; at += 2048) pieces.push_back(back.span(at, 2048));
  io.set(BlockOp::kRead, 0, pieces);
  ASSERT_EQ(fixture_->run(io), 0);
  EXPECT_TRUE(same_bytes(back.bytes().first(kImage), written));
}

TEST_P(RawFileTest, ACompletionMayEnqueueTheNext) {
  const Pages memory(4096);
  std::vector<TestIo> ios(200);
  for (std::size_t i = 0; i < ios.size(); ++i) {
    ios[i].set(BlockOp::kRead, 4096 * i, {memory.span(0, 4096)});
    if (i + 1 < ios.size()) ios[i].then = [&, i] { fixture_->queue().enqueue(ios[i + 1]); };
  }
  fixture_->queue().enqueue(ios[0]);
  fixture_->queue().submit();
  EXPECT_TRUE(fixture_->run_until([&] { return ios.back().finished; }));
  EXPECT_EQ(ios.back().error, 0);
}

TEST_P(RawFileTest, ReadsPastATruncationFail) {
  const Pages memory(16384);
  ASSERT_EQ(::truncate(file_->path().c_str(), 8192), 0);
  TestIo io;
  io.set(BlockOp::kRead, kImage - 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(io), -EIO);
  io.set(BlockOp::kRead, 4096, {memory.span(0, 4096), memory.span(4096, 8192)});
  EXPECT_EQ(fixture_->run(io), -EIO);
  io.set(BlockOp::kRead, 4096, {memory.span(8, 512), memory.span(1024, 8192)});
  EXPECT_EQ(fixture_->run(io), -EIO);
  // What is still there works, and writing brings the rest back.
  io.set(BlockOp::kRead, 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(io), 0);
  io.set(BlockOp::kWrite, kImage - 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(io), 0);
  io.set(BlockOp::kRead, kImage - 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(io), 0);
}

TEST_P(RawFileTest, PassesOnThatAWriteIsRefused) {
  const Pages memory(16384);
  ASSERT_EQ(::truncate(file_->path().c_str(), 8192), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small { 8192 + 4096, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  TestIo whole;
  whole.set(BlockOp::kWrite, 16384, {memory.span(0, 4096)});
  const int refused = fixture_->run(whole);
  TestIo part;  // the kernel writes what fits, then refuses
  part.set(BlockOp::kWrite, 8192, {memory.span(0, 4096), memory.span(4096, 4096)});
  const int cut = fixture_->run(part);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(refused, -EFBIG);
  EXPECT_EQ(cut, -EFBIG);
  TestIo again;
  again.set(BlockOp::kWrite, 16384, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(again), 0);
}

// A signal without SA_RESTART makes the waits of every engine end early; no request may notice.
TEST_P(RawFileTest, SignalsDisturbNoRequest) {
  struct sigaction before {};
  struct sigaction interrupting {};
  interrupting.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &interrupting, &before), 0);
  std::atomic<bool> done{false};
  std::thread nuisance([&done, target = ::pthread_self()] {
    while (!done) {
      ::pthread_kill(target, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
  const Pages memory(std::size_t{4096} * 64);
  std::vector<TestIo> ios(64);
  for (int round = 0; round < 50; ++round) {
    for (std::size_t i = 0; i < ios.size(); ++i) {
      const BlockOp op =
          (static_cast<std::size_t>(round) + i) % 2 == 0 ? BlockOp::kRead : BlockOp::kWrite;
      ios[i].set(op, 8192 * i, {memory.span(4096 * i, 2048), memory.span(4096 * i + 2048, 2048)});
      fixture_->queue().enqueue(ios[i]);
    }
    fixture_->queue().submit();
    EXPECT_TRUE(fixture_->run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
    for (const TestIo& io : ios) EXPECT_EQ(io.error, 0) << io.scratch.retries << " retries";
    TestIo flush;
    flush.set_range(BlockOp::kFlush, 0, 0);
    EXPECT_EQ(fixture_->run(flush), 0);
  }
  done = true;
  nuisance.join();
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

// One request at a time, each done by another thread of the kernel's: it ends while we switch its
// signal off, look at the completions, switch it on again and look once more. One that ends
// unheard waits for ever. On a busy machine fewer end at that very moment; none may be lost.
TEST_P(RawFileTest, NoCompletionGoesUnheard) {
  if (GetParam().sharing == QueueSharing::kLoopOnly) return;  // the loop reaps without being told
  constexpr int kRequests = 20'000;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  auto flush = std::make_unique<TestIo>();
  for (int i = 0; i < kRequests && std::chrono::steady_clock::now() < end; ++i) {
    flush->set_range(BlockOp::kFlush, 0, 0);
    EXPECT_EQ(fixture_->run(*flush), 0) << "request " << i;
    if (!flush->finished) {
      (void)flush.release();  // it is the queue's for ever
      FAIL() << "request " << i << " has ended unheard, or not at all";
    }
  }
}

// The machine goes on with the file that it opened, and keeps its lock; the new file of that name
// is none of its business.
TEST_P(RawFileTest, AFileReplacedUnderTheGuestIsStillTheOpenOne) {
  const Pages memory(8192);
  std::ranges::fill(memory.bytes(), std::byte{0xa1});
  TestIo io;
  io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
  ASSERT_EQ(fixture_->run(io), 0);
  const UniqueFd old(::open(file_->path().c_str(), O_RDWR | O_CLOEXEC));
  {
    const ScratchFile other(GetParam().folder, kImage);
    ASSERT_EQ(::rename(other.path().c_str(), file_->path().c_str()), 0);
  }
  io.set(BlockOp::kRead, 0, {memory.span(4096, 4096)});
  EXPECT_EQ(fixture_->run(io), 0);
  EXPECT_EQ(memory.bytes()[4096 + 4095], std::byte{0xa1});
  std::ranges::fill(memory.bytes(), std::byte{0xa2});
  io.set(BlockOp::kWrite, 8192, {memory.span(0, 4096)});
  EXPECT_EQ(fixture_->run(io), 0);
  io.set_range(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(fixture_->run(io), 0);
  std::byte byte{};
  EXPECT_EQ(::pread(old.get(), &byte, 1, 8192 + 4095), 1);
  EXPECT_EQ(byte, std::byte{0xa2}) << "written to the old file";
  EXPECT_TRUE(all_bytes(image(), std::byte{0})) << "nothing went to the new one";
  // A second machine may have the new file, and nobody else the old one.
  EXPECT_TRUE(open_raw_file(config()));
  EXPECT_FALSE(FileLock::take(old.get(), "the old file", LockKind::kExclusive, LockNeed::kMust));
}

TEST_P(RawFileTest, ZeroedRangesReadAsZero) {
  std::mt19937 random(9);
  const Pages memory(kImage);
  fill_randomly(memory.bytes(), random);
  TestIo io;
  io.set(BlockOp::kWrite, 0, {memory.span(0, kImage)});
  ASSERT_EQ(fixture_->run(io), 0);
  const auto expect_zero = [&](std::size_t from, std::size_t to) {
    std::memset(memory.bytes().data() + from, 0, to - from);
    EXPECT_TRUE(same_bytes(image(), memory.bytes()));
  };
  io.set_range(BlockOp::kWriteZeroes, 512, 512);
  EXPECT_EQ(fixture_->run(io), 0);
  expect_zero(512, 1024);
  io.set_range(BlockOp::kWriteZeroes, 8192 + 512, 300 * 1024);
  EXPECT_EQ(fixture_->run(io), 0);
  expect_zero(8192 + 512, 8192 + 512 + 300 * 1024);
  io.set_range(BlockOp::kWriteZeroes, 1 << 20, 1 << 20);
  io.may_unmap = true;
  EXPECT_EQ(fixture_->run(io), 0);
  expect_zero(1 << 20, 2 << 20);
}

TEST_P(RawFileTest, DiscardGivesBlocksBack) { expect_blocks_back(BlockOp::kDiscard, false); }

TEST_P(RawFileTest, ZeroesThatMayUnmapGiveBlocksBack) {
  expect_blocks_back(BlockOp::kWriteZeroes, true);
}

TEST_P(RawFileTest, TakesAsManyAsItsDepth) {
  const Pages memory(std::size_t{4096} * 256);
  std::vector<TestIo> ios(256);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < ios.size(); ++i) {
      ios[i].set(BlockOp::kRead, 4096 * i, {memory.span(4096 * i, 4096)});
      fixture_->queue().enqueue(ios[i]);
    }
    fixture_->queue().submit();
    ASSERT_TRUE(fixture_->run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
  }
}

// What completed within submit() needs no wake-up, and the loop's own ring no system call.
TEST_P(RawFileTest, MakesFewSystemCalls) {
  const Pages memory(std::size_t{4096} * 16);
  std::vector<TestIo> ios(16);
  fixture_->loop().run_once(std::chrono::nanoseconds(0));
  const std::uint64_t before = fixture_->queue().system_calls();
  // Not neighbours: those would go as one.
  for (std::size_t i = 0; i < ios.size(); ++i) {
    ios[i].set(BlockOp::kRead, 8192 * i, {memory.span(4096 * i, 4096)});
    fixture_->queue().enqueue(ios[i]);
  }
  EXPECT_EQ(fixture_->queue().system_calls(), before);
  fixture_->queue().submit();
  ASSERT_TRUE(fixture_->run_until(
      [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
  const std::uint64_t made = fixture_->queue().system_calls() - before;
  if (GetParam().aio != Aio::kThreads && in_memory(GetParam().folder)) {
    EXPECT_EQ(made, ios.size());
    EXPECT_EQ(fixture_->wake_ups(), 0U);
  } else if (GetParam().aio == Aio::kIoUring && GetParam().loop == LoopKind::kIoUring &&
             GetParam().sharing == QueueSharing::kLoopOnly) {
    EXPECT_EQ(made, 0U);
  } else {
    EXPECT_EQ(made, 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, RawFileTest, ::testing::ValuesIn(all_engines()),
                         [](const auto& engine) { return name_of(engine.param); });

}  // namespace
}  // namespace bellhop

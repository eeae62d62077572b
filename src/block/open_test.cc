#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

RawFileSource config_of(std::string path) {
  return {.path = std::move(path),
          .read_only = false,
          .cache = Cache::kWriteback,
          .aio = Aio::kThreads};
}

std::string refusal(const RawFileSource& config) {
  const auto opened = open_raw_file(config);
  EXPECT_FALSE(opened) << config.path;
  return opened ? "" : opened.error().message;
}

TEST(OpenRawFile, NamesWhatIsNotThere) {
  EXPECT_THAT(refusal(config_of("/tmp/no/such/image")), HasSubstr("/tmp/no/such/image"));
}

TEST(OpenRawFile, RefusesADirectory) {
  EXPECT_THAT(refusal(config_of("/var/tmp")), HasSubstr("directory"));
  auto config = config_of("/var/tmp");
  config.read_only = true;
  EXPECT_THAT(refusal(config), HasSubstr("directory"));
}

TEST(OpenRawFile, RefusesWhatIsNoDisk) {
  EXPECT_THAT(refusal(config_of("/dev/null")), HasSubstr("not a file or block device"));
  const ScratchFile file("/var/tmp", 0);
  ASSERT_EQ(::unlink(file.path().c_str()), 0);
  ASSERT_EQ(::mkfifo(file.path().c_str(), 0600), 0);
  auto config = config_of(file.path());
  config.read_only = true;
  EXPECT_THAT(refusal(config), HasSubstr("not a file or block device"));  // and does not hang
}

TEST(OpenRawFile, RefusesAnOddSize) {
  const ScratchFile odd("/var/tmp", 4096 + 100);
  EXPECT_THAT(refusal(config_of(odd.path())), HasSubstr("multiple of 512"));
  const ScratchFile empty("/var/tmp", 0);
  EXPECT_THAT(refusal(config_of(empty.path())), HasSubstr("0 bytes"));
}

TEST(OpenRawFile, ASizeMustFitTheBlocksThatWereAskedFor) {
  const ScratchFile odd("/var/tmp", 4096 + 512);
  auto config = config_of(odd.path());
  config.block_size = 4096;
  EXPECT_THAT(refusal(config), HasSubstr("a disk needs a multiple of 4096, or block-size=512"));
  config.block_size = 512;
  EXPECT_TRUE(open_raw_file(config));
}

TEST(OpenRawFile, RefusesNativeWithThePageCache) {
  const ScratchFile file("/var/tmp", 4096);
  auto config = config_of(file.path());
  config.aio = Aio::kNative;
  EXPECT_THAT(refusal(config), HasSubstr("cache=none"));
}

TEST(OpenRawFile, AReadOnlyImageCannotBeWritten) {
  const ScratchFile file("/var/tmp", 8192);
  auto config = config_of(file.path());
  config.read_only = true;
  for (const Aio aio : {Aio::kThreads, Aio::kIoUring}) {
    config.aio = aio;
    const auto backend = open_raw_file(config);
    ASSERT_TRUE(backend);
    EXPECT_TRUE((*backend)->limits().read_only);
    EXPECT_FALSE((*backend)->limits().can_discard);
    QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly);
    const Pages memory(4096);
    TestIo io;
    io.set(BlockOp::kRead, 0, {memory.span(0, 4096)});
    EXPECT_EQ(fixture.run(io), 0);
    io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
    EXPECT_EQ(fixture.run(io), -EBADF);
  }
}

// A file system that is full says so to every engine.
TEST(OpenRawFile, AFullFileSystemIsReported) {
  const SmallFileSystem small(64 << 10);
  if (small.path().empty()) GTEST_SKIP() << "this host lets us mount nothing";
  const ScratchFile file(small.path(), 1 << 20);
  for (const Aio aio : {Aio::kIoUring, Aio::kNative, Aio::kThreads}) {
    auto config = config_of(file.path());
    config.aio = aio;
    config.cache = aio == Aio::kNative ? Cache::kNone : Cache::kWriteback;
    const auto backend = open_raw_file(config);
    if (!backend) continue;  // O_DIRECT on tmpfs is recent
    QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly);
    const Pages memory(std::size_t{128} << 10);
    TestIo io;
    io.set(BlockOp::kWrite, 0, {memory.span(0, std::size_t{128} << 10)});
    EXPECT_EQ(fixture.run(io), -ENOSPC);
    io.set_range(BlockOp::kWriteZeroes, 0, std::uint64_t{512} << 10);
    EXPECT_EQ(fixture.run(io), -ENOSPC);
    io.set_range(BlockOp::kFlush, 0, 0);
    EXPECT_EQ(fixture.run(io), 0);
    io.set_range(BlockOp::kDiscard, 0, 1 << 20);
    EXPECT_EQ(fixture.run(io), 0);
    io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
    EXPECT_EQ(fixture.run(io), 0);
  }
}

TEST(NullBackend, CompletesEverythingAtOnce) {
  const auto backend = make_null_backend(1 << 20);
  EXPECT_EQ(backend->limits().capacity, std::uint64_t{1} << 20);
  QueueFixture fixture(*backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu);
  TestIo io;
  io.set_range(BlockOp::kRead, 0, 512);
  fixture.queue().enqueue(io);
  EXPECT_FALSE(io.finished);
  fixture.queue().submit();
  EXPECT_TRUE(io.finished);
}

}  // namespace
}  // namespace bellhop

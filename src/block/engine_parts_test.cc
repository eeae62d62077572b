// A host that refuses an engine, at the start or later.
#include "block/engine_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "block/block_fixture.h"
#include "testing/refused_call.h"

namespace bellhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

unsigned disk_workers() {
  unsigned found = 0;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "disk-worker") ++found;
  }
  return found;
}

class EnginePartsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (in_memory(kDiskFolder)) GTEST_SKIP() << "there are no engines for files in memory";
  }
  [[nodiscard]] RawFileSource source(Aio aio, Cache cache = Cache::kNone) const {
    return {.path = file_.path(), .read_only = false, .cache = cache, .aio = aio};
  }
  [[nodiscard]] std::string refusal(Aio aio) const {
    const auto opened = open_raw_file(source(aio));
    return opened ? "" : opened.error().message;
  }
  static void expect_works(QueueFixture& fixture) {
    const Pages memory(4096);
    TestIo io;
    io.set(BlockOp::kWrite, 4096, {memory.span(0, 4096)});
    EXPECT_EQ(fixture.run(io), 0);
  }

  const ScratchFile file_{kDiskFolder, 1 << 20};
};

TEST_F(EnginePartsTest, AnEngineThatWasNamedIsRefusedAtTheStart) {
  for (const int error : {EPERM, ENOSYS, ENOMEM}) {
    with_refused_call(SYS_io_uring_setup, error, [&] {
      EXPECT_THAT(refusal(Aio::kIoUring), HasSubstr("aio=io_uring is not to be had here"));
      EXPECT_THAT(refusal(Aio::kIoUring), HasSubstr("aio=threads is"));
      EXPECT_EQ(refusal(Aio::kThreads), "");
    });
  }
  with_refused_call(SYS_io_setup, EAGAIN, [&] {
    EXPECT_THAT(refusal(Aio::kNative), HasSubstr("/proc/sys/fs/aio-max-nr"));
  });
  with_refused_call(SYS_io_setup, ENOSYS, [&] {
    EXPECT_THAT(refusal(Aio::kNative), HasSubstr("aio=native is not to be had here"));
  });
}

TEST_F(EnginePartsTest, OneThatNobodyNamedIsTheBestThereIs) {
  const auto kind = [&](Cache cache) {
    const auto backend = open_raw_file(source(Aio::kAuto, cache));
    EXPECT_TRUE(backend) << backend.error().message;
    QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly);
    expect_works(fixture);
    return std::string((*backend)->kind());
  };
  const bool uring = EventLoop::create(LoopKind::kIoUring).has_value();
  EXPECT_EQ(kind(Cache::kNone), uring ? "io_uring" : "native");
  with_refused_call(SYS_io_uring_setup, EPERM, [&] {
    EXPECT_EQ(kind(Cache::kNone), "native");
    EXPECT_EQ(kind(Cache::kWriteback), "threads");
  });
  with_refused_call(SYS_io_uring_setup, EPERM, [&] {
    with_refused_call(SYS_io_setup, EAGAIN, [&] { EXPECT_EQ(kind(Cache::kNone), "threads"); });
  });
}

TEST(EnginePartsDeathTest, ALineSaysSoOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto open_two = [] {
    const ScratchFile file(kDiskFolder, 1 << 20);
    if (in_memory(kDiskFolder)) std::exit(77);
    with_refused_call(SYS_io_uring_setup, EPERM, [&] {
      for (int i = 0; i < 2; ++i) {
        if (!open_raw_file({.path = file.path()})) std::exit(1);
      }
    });
    std::exit(0);
  };
  if (in_memory(kDiskFolder)) GTEST_SKIP() << "there are no engines for files in memory";
  EXPECT_EXIT(open_two(), ::testing::ExitedWithCode(0),
              "^[^\n]*no io_uring for us [^\n]*aio=threads\n$");
}

// Whatever the host refuses later, the queues that were asked for work as they were asked for.
TEST_F(EnginePartsTest, WhatWasHadAtTheStartIsKept) {
  constexpr unsigned kQueueDepth = 16;
  const struct {
    Aio aio;
    unsigned call;
  } engines[] = {{Aio::kIoUring, SYS_io_uring_setup}, {Aio::kNative, SYS_io_setup}};
  for (const auto& [aio, call] : engines) {
    const auto backend = open_raw_file(source(aio));
    if (!backend) continue;  // this host has none of it
    ASSERT_TRUE(
        (*backend)->reserve(2, kQueueDepth, QueueSharing::kSharedWithVcpu, LoopKind::kEpoll));
    with_refused_call(call, ENOMEM, [&] {
      for (int driver = 0; driver < 3; ++driver) {
        QueueFixture one(**backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, kQueueDepth);
        QueueFixture two(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly, kQueueDepth);
        expect_works(one);
        expect_works(two);
      }
      EXPECT_EQ(disk_workers(), 0U) << (*backend)->kind();
      // One more than was asked for does with threads.
      QueueFixture one(**backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, kQueueDepth);
      QueueFixture two(**backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, kQueueDepth);
      QueueFixture three(**backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, kQueueDepth);
      expect_works(one);
      expect_works(two);
      EXPECT_EQ(disk_workers(), 0U) << (*backend)->kind();
      expect_works(three);
      EXPECT_EQ(disk_workers(), 1U) << (*backend)->kind();
    });
  }
}

TEST_F(EnginePartsTest, WhatTheKernelHasNoRoomForIsDoneByAWorker) {
  for (const int error : {EAGAIN, ENOMEM}) {
    with_refused_call(SYS_io_submit, error, [&] {
      const auto backend = open_raw_file(source(Aio::kNative));
      if (!backend) return;  // this host has none of it
      QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly);
      EXPECT_EQ(disk_workers(), 0U);
      expect_works(fixture);
      EXPECT_EQ(disk_workers(), 1U);
    });
  }
}

// More than it has asked the kernel for may be refused, and makes room where requests are kept.
TEST_F(EnginePartsTest, NativeHasNoMoreUnderWayThanItsDepth) {
  const auto backend = open_raw_file(source(Aio::kNative));
  if (!backend) GTEST_SKIP() << backend.error().message;
  for (const unsigned depth : {1U, 2U, 5U}) {
    QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly, depth);
    const Pages memory(std::size_t{4096} * 10);
    std::vector<TestIo> ios(10);
    for (std::size_t i = 0; i < ios.size(); ++i) {
      // No neighbours, which would go as one.
      ios[i].set(BlockOp::kRead, 8192 * i, {memory.span(4096 * i, 4096)});
      fixture.queue().enqueue(ios[i]);
    }
    fixture.queue().submit();
    ASSERT_TRUE(fixture.run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
    EXPECT_GE(fixture.queue().system_calls(), ios.size() / depth) << depth;
  }
}

// A file system without holes: what a discard asks for is a hint, zeroes are not.
TEST_F(EnginePartsTest, AFileWithoutHolesKeepsItsDataOrIsWrittenOver) {
  with_refused_call(SYS_fallocate, EOPNOTSUPP, [&] {
    const auto backend = open_raw_file(source(Aio::kThreads));
    ASSERT_TRUE(backend) << backend.error().message;
    QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly);
    const Pages memory(8192);
    TestIo io;
    std::ranges::fill(memory.bytes(), std::byte{0x5a});
    io.set(BlockOp::kWrite, 0, {memory.span(0, 8192)});
    ASSERT_EQ(fixture.run(io), 0);
    io.set_range(BlockOp::kDiscard, 0, 8192);
    EXPECT_EQ(fixture.run(io), 0);
    io.set_range(BlockOp::kWriteZeroes, 4096, 4096);
    io.may_unmap = true;
    EXPECT_EQ(fixture.run(io), 0);
    io.set(BlockOp::kRead, 0, {memory.span(0, 8192)});
    ASSERT_EQ(fixture.run(io), 0);
    EXPECT_EQ(memory.bytes()[4095], std::byte{0x5a});
    EXPECT_EQ(memory.bytes()[4096], std::byte{0});
  });
}

TEST_F(EnginePartsTest, AQueueOnALoopWithoutARingHasItsOwnFromTheStart) {
  const auto backend = open_raw_file(source(Aio::kIoUring));
  if (!backend) GTEST_SKIP() << backend.error().message;
  ASSERT_TRUE((*backend)->reserve(1, 16, QueueSharing::kLoopOnly, LoopKind::kEpoll));
  with_refused_call(SYS_io_uring_setup, EPERM, [&] {
    QueueFixture one(**backend, LoopKind::kEpoll, QueueSharing::kLoopOnly, 16);
    expect_works(one);
    EXPECT_EQ(disk_workers(), 0U);
  });
}

TEST_F(EnginePartsTest, WhatCannotBeHadForAllQueuesIsToldAtTheStart) {
  const auto backend = open_raw_file(source(Aio::kNative));
  if (!backend) GTEST_SKIP() << backend.error().message;
  const auto reserve = [&] {
    return (*backend)->reserve(1, 16, QueueSharing::kLoopOnly, LoopKind::kIoUring);
  };
  with_refused_call(SYS_io_setup, EAGAIN, [&] {
    EXPECT_THAT(reserve().error().message, HasSubstr("/proc/sys/fs/aio-max-nr"));
  });
  with_refused_call(SYS_eventfd2, EMFILE, [&] { EXPECT_FALSE(reserve()); });
  EXPECT_TRUE(reserve());
}

}  // namespace
}  // namespace bellhop

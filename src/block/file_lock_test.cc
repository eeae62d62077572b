#include "block/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

using testing::HasSubstr;

RawFileSource writing(const ScratchFile& file) {
  return {
      .path = file.path(), .read_only = false, .cache = Cache::kWriteback, .aio = Aio::kThreads};
}

RawFileSource reading(const ScratchFile& file) {
  RawFileSource config = writing(file);
  config.read_only = true;
  return config;
}

TEST(FileLock, OneWriterAtATime) {
  const ScratchFile file("/var/tmp", 1 << 20);
  auto first = open_raw_file(writing(file));
  ASSERT_TRUE(first) << first.error().message;
  const auto second = open_raw_file(writing(file));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(file.path()));
  EXPECT_THAT(second.error().message, HasSubstr("in use by"));
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  EXPECT_FALSE(open_raw_file(reading(file)));
  first->reset();
  EXPECT_TRUE(open_raw_file(writing(file)));
}

TEST(FileLock, ManyReadersAndNoWriterBesideThem) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const auto first = open_raw_file(reading(file));
  ASSERT_TRUE(first);
  const auto second = open_raw_file(reading(file));
  ASSERT_TRUE(second);
  EXPECT_FALSE(open_raw_file(writing(file)));
}

TEST(FileLock, NamesTheProcessThatHoldsIt) {
  const ScratchFile file("/var/tmp", 1 << 20);
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const UniqueFd fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
    const auto lock = FileLock::take(fd.get(), file.path(), LockKind::kExclusive);
    const bool locked = lock.has_value();
    [[maybe_unused]] const auto written = ::write(ready[1], locked ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char locked = 0;
  ASSERT_EQ(::read(ready[0], &locked, 1), 1);
  ASSERT_EQ(locked, 'y');
  const auto opened = open_raw_file(writing(file));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("(pid " + std::to_string(child) + ")"));
  // The lock went with the process.
  EXPECT_TRUE(open_raw_file(writing(file)));
}

TEST(FileLock, SeesTheOlderKindOfLock) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const UniqueFd fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &range), 0);
  EXPECT_FALSE(open_raw_file(writing(file)));
}

// The kernel may keep a file that was registered in a ring open for longer than we do.
TEST(FileLock, GoesWithTheBackEndAtOnce) {
  const ScratchFile file("/var/tmp", 1 << 20);
  for (const auto sharing : {QueueSharing::kLoopOnly, QueueSharing::kSharedWithVcpu}) {
    for (int i = 0; i < 20; ++i) {
      auto config = writing(file);
      config.aio = Aio::kIoUring;
      const auto backend = open_raw_file(config);
      ASSERT_TRUE(backend) << backend.error().message;
      auto loop = EventLoop::create_best();
      ASSERT_TRUE(loop);
      QueueFixture fixture(**backend, (*loop)->kind(), sharing);
      const Pages memory(4096);
      TestIo io;
      io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
      EXPECT_EQ(fixture.run(io), 0);
    }
  }
}

}  // namespace
}  // namespace bellhop

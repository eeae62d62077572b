#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <thread>
#include <type_traits>

namespace bellhop {
namespace {

static_assert(!std::is_copy_constructible_v<UniqueFd> && !std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);
static_assert(std::is_nothrow_move_assignable_v<UniqueFd>);
static_assert(!std::is_convertible_v<int, UniqueFd>);

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

UniqueFd open_null() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(UniqueFdTest, ClosesWhatItOwns) {
  int number = -1;
  {
    const UniqueFd fd = open_null();
    ASSERT_TRUE(fd.valid());
    number = fd.get();
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(UniqueFdTest, OwnsNothingByDefaultAndAfterAFailedCall) {
  EXPECT_FALSE(UniqueFd().valid());
  EXPECT_EQ(UniqueFd().get(), -1);
  EXPECT_FALSE(UniqueFd(::open("/nonexistent", O_RDONLY | O_CLOEXEC)).valid());
}

TEST(UniqueFdTest, MovesOwnership) {
  UniqueFd first = open_null();
  const int number = first.get();
  UniqueFd second = std::move(first);
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): it is what is tested
  EXPECT_EQ(second.get(), number);
  UniqueFd third = open_null();
  const int closed = third.get();
  third = std::move(second);
  EXPECT_EQ(third.get(), number);
  EXPECT_TRUE(is_open(number));
  EXPECT_FALSE(is_open(closed));
}

TEST(UniqueFdTest, SurvivesBeingMovedOntoItself) {
  UniqueFd fd = open_null();
  const int number = fd.get();
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), number);
  EXPECT_TRUE(is_open(number));
}

TEST(UniqueFdTest, ReleasesAndResets) {
  UniqueFd fd = open_null();
  const int number = fd.release();
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(is_open(number));
  fd = UniqueFd(number);
  fd.reset();
  EXPECT_FALSE(fd.valid());
  EXPECT_FALSE(is_open(number));
  fd.reset();
}

bool is_readable(const EventFd& event) {
  pollfd entry{event.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

TEST(EventFdTest, CountsSignalsUntilTheyAreConsumed) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_TRUE(event->valid());
  EXPECT_FALSE(is_readable(*event));
  EXPECT_EQ(event->consume(), 0U);
  for (int i = 0; i < 3; ++i) event->signal();
  EXPECT_TRUE(is_readable(*event));
  EXPECT_EQ(event->consume(), 3U);
  EXPECT_EQ(event->consume(), 0U);
  EXPECT_FALSE(is_readable(*event));
}

TEST(EventFdTest, IsNotInheritedAndDoesNotBlock) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_NE(::fcntl(event->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(event->get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(EventFdTest, AFullCounterIsSignalledAlready) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  constexpr std::uint64_t kMax = UINT64_MAX - 1;
  ASSERT_EQ(::write(event->get(), &kMax, sizeof kMax), static_cast<ssize_t>(sizeof kMax));
  event->signal();
  EXPECT_EQ(event->consume(), kMax);
}

TEST(EventFdTest, TakesOverAPeersDescriptor) {
  auto made = EventFd::create();
  ASSERT_TRUE(made);
  const auto taken = EventFd::adopt(UniqueFd(::fcntl(made->get(), F_DUPFD_CLOEXEC, 0)));
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_TRUE(taken->shared());
  taken->signal();
  EXPECT_EQ(made->consume(), 1U);
}

// Flags belong to the open file description, which the peer has too.
TEST(EventFdTest, NeverBlocksWhateverAPeerDoesToIt) {
  auto made = EventFd::create();
  ASSERT_TRUE(made);
  const auto sent = made->share();
  ASSERT_TRUE(sent) << sent.error().message;
  const UniqueFd peers(::fcntl(*sent, F_DUPFD_CLOEXEC, 0));
  const EventFd event = std::move(*made);
  ASSERT_TRUE(event.shared());
  for (const int flags : {0, O_NONBLOCK, O_APPEND, O_ASYNC, 0}) {
    ASSERT_EQ(::fcntl(peers.get(), F_SETFL, flags), 0);
    (void)::fcntl(peers.get(), F_SETOWN, ::getpid());
    EXPECT_EQ(event.consume(), 0U);
    for (int i = 0; i < 3; ++i) event.signal();
    EXPECT_EQ(event.consume(), 3U);
    constexpr std::uint64_t kMax = UINT64_MAX - 1;
    ASSERT_EQ(::write(peers.get(), &kMax, sizeof kMax), static_cast<ssize_t>(sizeof kMax));
    for (int i = 0; i < 3; ++i) event.signal();
    EXPECT_TRUE(is_readable(event));
    EXPECT_GE(event.consume(), kMax);
    EXPECT_EQ(event.consume(), 0U);
  }
}

TEST(EventFdTest, ManyThreadsSignalOneThatIsShared) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event && event->share());
  constexpr std::uint64_t kSignals = 5'000;
  const auto signal = [&] {
    for (std::uint64_t i = 0; i < kSignals; ++i) event->signal();
  };
  std::thread one(signal);
  std::thread two(signal);
  std::uint64_t seen = 0;
  while (seen < 2 * kSignals) {
    pollfd entry{event->get(), POLLIN, 0};
    if (::poll(&entry, 1, 20'000) != 1) break;
    seen += event->consume();
  }
  one.join();
  two.join();
  EXPECT_EQ(seen, 2 * kSignals);
}

TEST(EventFdTest, NothingIsLostBetweenThreads) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  constexpr std::uint64_t kSignals = 20'000;
  std::thread other([&] {
    for (std::uint64_t i = 0; i < kSignals; ++i) event->signal();
  });
  std::uint64_t seen = 0;
  while (seen < kSignals) {
    pollfd entry{event->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&entry, 1, 20'000), 1) << seen;
    seen += event->consume();
  }
  other.join();
  EXPECT_EQ(seen, kSignals);
}

TEST(EventFdTest, SaysWhenThereAreNoDescriptorsLeft) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit none { 0, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto event = EventFd::create();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, EMFILE);
}

}  // namespace
}  // namespace bellhop

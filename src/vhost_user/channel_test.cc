#include "vhost_user/channel.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <thread>

#include "base/unix_socket.h"

namespace bellhop::vhost_user {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using ::testing::HasSubstr;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A channel, and what is at its other end: bytes.
class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    channel = Channel(UniqueFd(ends[0]), kPatience);
    far = UniqueFd(ends[1]);
  }
  /// `fds` go beside the first byte.
  void put(std::span<const std::byte> bytes, std::span<const int> fds = {}) const {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(32 * sizeof(int))> control{};
    iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    if (!fds.empty()) {
      head.msg_control = control.data();
      head.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* const rights = CMSG_FIRSTHDR(&head);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    ASSERT_EQ(::sendmsg(far.get(), &head, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  static std::vector<std::byte> message(Header header, std::size_t payload) {
    std::vector<std::byte> bytes(sizeof header + payload);
    std::memcpy(bytes.data(), &header, sizeof header);
    for (std::size_t i = 0; i < payload; ++i) bytes[sizeof header + i] = static_cast<std::byte>(i);
    return bytes;
  }
  static std::vector<std::byte> answer(std::uint32_t size) {
    return message({.request = 1, .flags = kVersion | kReply, .size = size}, size);
  }
  /// Of a message that does not come, or is none.
  int fault() {
    const auto begin = Clock::now();
    const auto got = channel.receive();
    EXPECT_LT(Clock::now() - begin, kPatience + 2s);
    return got ? 0 : got.error().code;
  }

  static constexpr std::chrono::milliseconds kPatience{200};
  Channel channel;
  UniqueFd far;
};

TEST_F(ChannelTest, WholeMessagesGoBothWaysWithTheirDescriptors) {
  Channel other(std::move(far), kPatience);
  const std::uint64_t value = 0x0123456789abcdef;
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<int> fds(kMaxFds, file.get());
  ASSERT_TRUE(
      channel.send(Request::kSetMemTable, kNeedReply, std::as_bytes(std::span(&value, 1)), fds));
  auto got = other.receive();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->request(), Request::kSetMemTable);
  EXPECT_EQ(got->header.flags, kVersion | kNeedReply);
  EXPECT_EQ(got->header.size, sizeof value);
  EXPECT_EQ(got->fds.size(), kMaxFds);
  for (const UniqueFd& fd : got->fds) EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  std::uint64_t read = 0;
  EXPECT_TRUE(got->read(read));
  EXPECT_EQ(read, value);
  std::uint32_t half = 0;
  EXPECT_FALSE(got->read(half)) << "of another size";
  VringAddresses more;
  EXPECT_FALSE(got->read(more));

  ASSERT_TRUE(other.send(Request::kGetFeatures, kReply, {}));
  got = channel.receive();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->header.size, 0U);
  EXPECT_EQ(got->header.flags, kVersion | kReply);
  EXPECT_TRUE(got->fds.empty());
}

TEST_F(ChannelTest, MessagesInPieces) {
  channel = Channel(UniqueFd(::fcntl(channel.fd(), F_DUPFD_CLOEXEC, 0)), 20s);
  const auto bytes = answer(40);
  std::thread peer([&] {
    for (const std::byte one : bytes) {
      put({&one, 1});
      std::this_thread::yield();
    }
  });
  const auto got = channel.receive();
  peer.join();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->header.size, 40U);
  EXPECT_EQ(got->payload[39], std::byte{39});
  // Two at once are two.
  auto twice = answer(3);
  const auto second = answer(kMaxPayload);
  twice.insert(twice.end(), second.begin(), second.end());
  put(twice);
  EXPECT_EQ(channel.receive()->header.size, 3U);
  const auto longest = channel.receive();
  ASSERT_TRUE(longest) << longest.error().message;
  EXPECT_EQ(longest->header.size, kMaxPayload);
  EXPECT_EQ(longest->payload[kMaxPayload - 1], std::byte{0xff});
}

TEST_F(ChannelTest, DescriptorsThatComeLateInAMessage) {
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::array one{file.get()};
  const auto bytes = answer(8);
  put(std::span(bytes).first(5), one);
  put(std::span(bytes).subspan(5), one);
  const auto got = channel.receive();
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->fds.size(), 2U);
}

TEST_F(ChannelTest, TooManyDescriptorsAreClosedAgain) {
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::size_t before = open_descriptors();
  const std::vector<int> many(kMaxFds + 1, file.get());
  put(answer(8), many);
  EXPECT_EQ(fault(), EPROTO);
  EXPECT_EQ(open_descriptors(), before);
}

// As many as are allowed beside each byte.
TEST_F(ChannelTest, TooManyDescriptorsInSmallPortions) {
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::size_t before = open_descriptors();
  const std::vector<int> some(kMaxFds, file.get());
  const auto bytes = answer(8);
  for (std::size_t i = 0; i < 4; ++i) put(std::span(bytes).subspan(i, 1), some);
  EXPECT_EQ(fault(), EPROTO);
  // Those that were not read go with the socket.
  far.reset();
  channel = Channel();
  EXPECT_EQ(open_descriptors(), before - 2);
}

TEST_F(ChannelTest, WhatIsNoMessage) {
  for (const std::uint32_t flags : {0U, 2U, 3U, kReply}) {
    put(message({.request = 1, .flags = flags, .size = 0}, 0));
    EXPECT_EQ(fault(), EPROTO) << flags;
  }
  put(message({.request = 1, .flags = kVersion | kReply, .size = kMaxPayload + 1}, 0));
  EXPECT_EQ(fault(), EPROTO);
  put(message({.request = 1, .flags = kVersion | kReply, .size = UINT32_MAX}, 0));
  EXPECT_EQ(fault(), EPROTO);
}

TEST_F(ChannelTest, APeerThatGoes) {
  const auto bytes = answer(8);
  for (const std::size_t sent :
       {std::size_t{0}, std::size_t{5}, sizeof(Header), bytes.size() - 1}) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    channel = Channel(UniqueFd(ends[0]), kPatience);
    far = UniqueFd(ends[1]);
    if (sent != 0) put(std::span(bytes).first(sent));
    far.reset();
    EXPECT_EQ(fault(), ECONNRESET) << sent;
    const auto told = channel.send(Request::kSetOwner, 0, {});
    ASSERT_FALSE(told);  // and no SIGPIPE
    EXPECT_EQ(told.error().code, ECONNRESET);
  }
}

TEST_F(ChannelTest, APeerThatSaysNothingOrTooLittle) {
  const auto bytes = answer(8);
  for (const std::size_t sent :
       {std::size_t{0}, std::size_t{5}, sizeof(Header), bytes.size() - 1}) {
    SCOPED_TRACE(sent);
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    channel = Channel(UniqueFd(ends[0]), kPatience);
    far = UniqueFd(ends[1]);
    if (sent != 0) put(std::span(bytes).first(sent));
    const auto begin = Clock::now();
    EXPECT_EQ(fault(), ETIMEDOUT);
    EXPECT_GE(Clock::now() - begin, kPatience);
  }
}

TEST_F(ChannelTest, APeerThatTrickles) {
  std::atomic<bool> over{false};
  const auto bytes = answer(500);
  std::thread peer([&] {
    for (std::size_t i = 0; i < bytes.size() && !over; ++i) {
      put({&bytes[i], 1});
      std::this_thread::sleep_for(5ms);
    }
  });
  EXPECT_EQ(fault(), ETIMEDOUT);
  over = true;
  peer.join();
}

TEST_F(ChannelTest, APeerThatReadsNothing) {
  const std::array<std::byte, kMaxPayload> payload{};
  const auto begin = Clock::now();
  Status sent;
  while (sent) sent = channel.send(Request::kSetMemTable, 0, payload);
  EXPECT_EQ(sent.error().code, ETIMEDOUT);
  EXPECT_THAT(sent.error().message, HasSubstr("reads nothing"));
  EXPECT_LT(Clock::now() - begin, 10s);
}

TEST_F(ChannelTest, LongMessagesThroughASmallSocket) {
  const int small = 1;
  ASSERT_EQ(::setsockopt(channel.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  channel = Channel(UniqueFd(::fcntl(channel.fd(), F_DUPFD_CLOEXEC, 0)), 20s);
  Channel other(std::move(far), 20s);
  std::thread peer([&] {
    for (unsigned i = 0; i < 200; ++i) {
      const auto got = other.receive();
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_EQ(got->header.size, kMaxPayload);
      ASSERT_EQ(got->payload[kMaxPayload - 1], static_cast<std::byte>(i));
    }
  });
  for (unsigned i = 0; i < 200; ++i) {
    std::array<std::byte, kMaxPayload> payload{};
    payload.back() = static_cast<std::byte>(i);
    ASSERT_TRUE(channel.send(Request::kSetMemTable, 0, payload));
  }
  peer.join();
}

// Each answer comes in time, and all of them together do not.
TEST_F(ChannelTest, CallsInARowShareOnePatience) {
  constexpr auto kShared = 1000ms;
  channel = Channel(UniqueFd(::fcntl(channel.fd(), F_DUPFD_CLOEXEC, 0)), kShared);
  const auto bytes = answer(8);
  std::atomic<bool> over{false};
  std::thread peer([&] {
    while (!over) {
      std::this_thread::sleep_for(kShared / 4);
      put(bytes);
    }
  });
  unsigned answered = 0;
  while (answered < 20 && channel.receive()) ++answered;
  EXPECT_LE(answered, 5U);
  over = true;
  peer.join();
  // Patience comes back with the time between.
  while (channel.receive()) {
  }
  std::this_thread::sleep_for(kShared);
  std::thread late([&] {
    std::this_thread::sleep_for(kShared / 4);
    put(bytes);
  });
  EXPECT_TRUE(channel.receive());
  late.join();
}

TEST(ChannelConnectTest, SaysWhatIsWrong) {
  const auto fault = [](const std::string& path) {
    const auto made = Channel::connect(path, 100ms);
    return made ? std::string("nothing") : made.error().message;
  };
  EXPECT_THAT(fault(""), HasSubstr("1 to 107 characters"));
  EXPECT_THAT(fault(std::string(108, 'x')), HasSubstr("1 to 107 characters"));
  EXPECT_THAT(fault("/nowhere/at/all"), HasSubstr("cannot connect: No such file"));
  const std::string path = ::testing::TempDir() + "channel-test-" + std::to_string(::getpid());
  {
    const auto listener = UnixListener::listen(path);
    ASSERT_TRUE(listener) << listener.error().message;
    auto one = Channel::connect(path, 100ms);
    ASSERT_TRUE(one) << one.error().message;
    Channel other(listener->accept(), 1s);
    ASSERT_TRUE(one->send(Request::kSetOwner, 0, {}));
    EXPECT_EQ(other.receive()->request(), Request::kSetOwner);
    // One that takes no connections.
    ASSERT_EQ(::listen(listener->fd(), 0), 0);
    std::vector<Channel> waiting;
    while (true) {
      auto next = Channel::connect(path, 100ms);
      if (!next) {
        EXPECT_EQ(next.error().code, ETIMEDOUT);
        EXPECT_THAT(next.error().message, HasSubstr("takes no connection"));
        break;
      }
      waiting.push_back(std::move(*next));
      ASSERT_LT(waiting.size(), 10000U);
    }
  }
  EXPECT_THAT(fault(path), HasSubstr("cannot connect"));
}

}  // namespace
}  // namespace bellhop::vhost_user

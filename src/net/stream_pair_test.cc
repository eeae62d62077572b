#include "net/stream_pair.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

namespace bellhop {
namespace {

class StreamPairTest : public ::testing::Test {
 protected:
  StreamPairTest() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    pair = std::make_unique<StreamPair>(UniqueFd(fds[0]));
    far = UniqueFd(fds[1]);
  }
  /// Header and frame in pieces of `cut` bytes.
  ssize_t send(std::string_view frame, std::size_t cut = 1 << 20) {
    std::string all(kNetHeaderBytes, 'H');
    all += frame;
    std::vector<iovec> parts;
    for (std::size_t at = 0; at < all.size(); at += cut) {
      parts.push_back({all.data() + at, std::min(cut, all.size() - at)});
    }
    return pair->send(parts);
  }
  /// The next frame, into pieces of `cut` bytes, without its header; "-N" for an error.
  std::string receive(std::size_t room = 70000, std::size_t cut = 1 << 20) {
    // With something between them: they are no neighbours in the guest's memory either.
    constexpr std::size_t kBetween = 16;
    std::string memory(room + (room / cut + 1) * kBetween, '?');
    std::vector<iovec> parts;
    for (std::size_t at = 0; at < room; at += cut) {
      parts.push_back({memory.data() + at + parts.size() * kBetween, std::min(cut, room - at)});
    }
    const ssize_t got = pair->receive(parts);
    if (got < 0) return std::to_string(got);
    std::string all;
    for (const iovec& part : parts) {
      const auto* const from = static_cast<const char*>(part.iov_base);
      all.append(from, part.iov_len);
      EXPECT_EQ(std::string_view(from + part.iov_len, kBetween), std::string(kBetween, '?'));
    }
    EXPECT_EQ(all.substr(0, kNetHeaderBytes), std::string(kNetHeaderBytes, '\0'));
    EXPECT_EQ(all.find_first_not_of('?', static_cast<std::size_t>(got)), std::string::npos);
    return all.substr(kNetHeaderBytes, static_cast<std::size_t>(got) - kNetHeaderBytes);
  }
  static std::string wire(std::string_view frame) {
    std::string text(4, '\0');
    for (int i = 0; i < 4; ++i)
      text[3 - static_cast<std::size_t>(i)] = static_cast<char>(frame.size() >> (8 * i));
    return text + std::string(frame);
  }
  void put(std::string_view bytes) {
    ASSERT_EQ(::send(far.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  /// What has come out at the other end.
  std::string get() {
    std::string all(1 << 20, '\0');
    const ssize_t got = ::recv(far.get(), all.data(), all.size(), MSG_DONTWAIT);
    all.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return all;
  }
  static std::string frame(std::size_t bytes, unsigned seed) {
    std::string text(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((seed + i) * 31 + (i >> 8));
    return text;
  }

  std::unique_ptr<StreamPair> pair;
  UniqueFd far;
};

const std::string kNone = std::to_string(-EAGAIN);

TEST_F(StreamPairTest, GathersFramesUntilTheyAreLetGo) {
  EXPECT_EQ(pair->flush(), 0);
  EXPECT_EQ(send("first frame"), static_cast<ssize_t>(kNetHeaderBytes + 11));
  EXPECT_GT(send("second", 1), 0);
  EXPECT_GT(send("third", 13), 0);
  EXPECT_EQ(get(), "");
  EXPECT_EQ(pair->flush(), 4 + 11 + 4 + 6 + 4 + 5);
  EXPECT_EQ(get(), wire("first frame") + wire("second") + wire("third"));
  EXPECT_EQ(pair->flush(), 0);
  EXPECT_EQ(send(std::string(kMaxFrameBytes + 1, 'x')), -EINVAL);
  const iovec nothing{nullptr, 0};
  EXPECT_EQ(pair->send({&nothing, 1}), -EINVAL);
}

TEST_F(StreamPairTest, CutsTheStreamIntoFrames) {
  EXPECT_EQ(receive(), kNone);
  put(wire("one") + wire("two, longer") + wire("3"));
  EXPECT_EQ(receive(), "one");
  EXPECT_EQ(receive(70000, 5), "two, longer");
  EXPECT_EQ(receive(), "3");
  EXPECT_EQ(receive(), kNone);
  // What is longer than its room is cut off, and the next one is whole.
  put(wire("too long for its room") + wire("next"));
  EXPECT_EQ(receive(kNetHeaderBytes + 8), "too long");
  EXPECT_EQ(receive(), "next");
}

TEST_F(StreamPairTest, AFrameThatHasOnlyBegunIsWaitedFor) {
  const std::string all = wire("one, of some length");
  for (std::size_t there = 0; there < all.size(); ++there) {
    ASSERT_EQ(receive(), kNone) << there;
    put(all.substr(there, 1));
  }
  EXPECT_EQ(receive(), "one, of some length");
}

TEST_F(StreamPairTest, FramesComeInPieces) {
  const std::string all = wire("one") + wire(frame(3000, 1)) + wire("x");
  std::string got;
  for (const char byte : all) {
    put({&byte, 1});
    const std::string one = receive();
    if (one != kNone) got += one + "|";
  }
  EXPECT_EQ(got, "one|" + frame(3000, 1) + "|x|");
}

TEST_F(StreamPairTest, LongStreamsArriveWholeBothWays) {
  // More than either side can hold, with frames of all sizes; the other end reads now and then.
  std::string sent;
  std::string arrived;
  unsigned blocked = 0;
  for (unsigned i = 0; i < 400; ++i) {
    const std::string one = frame(1 + i * 7919 % kMaxFrameBytes, i);
    ssize_t result = 0;
    while ((result = send(one, 4096)) == -EAGAIN) {
      ++blocked;
      arrived += get();
    }
    ASSERT_GT(result, 0);
    sent += wire(one);
    if (i % 16 == 0) (void)pair->flush();
  }
  while (pair->flush() == -EAGAIN) arrived += get();
  for (std::string more = get(); !more.empty(); more = get()) arrived += more;
  EXPECT_GT(blocked, 0U);
  EXPECT_TRUE(arrived == sent);

  std::size_t put_bytes = 0;
  unsigned next = 0;
  while (next < 400) {
    const ssize_t done =
        ::send(far.get(), sent.data() + put_bytes,
               std::min<std::size_t>(sent.size() - put_bytes, 50000), MSG_DONTWAIT);
    if (done > 0) put_bytes += static_cast<std::size_t>(done);
    for (std::string one = receive(); one != kNone; one = receive()) {
      ASSERT_TRUE(one == frame(1 + next * 7919 % kMaxFrameBytes, next)) << next;
      ++next;
    }
  }
}

TEST_F(StreamPairTest, APeerThatIsGone) {
  put(wire("last words"));
  far.reset();
  EXPECT_EQ(receive(), "last words");
  EXPECT_EQ(receive(), std::to_string(-ECONNRESET));
  EXPECT_GT(send("to nobody"), 0);
  EXPECT_EQ(pair->flush(), -EBADFD);
  EXPECT_EQ(pair->flush(), 0);
}

TEST_F(StreamPairTest, ALengthThatIsNone) {
  put(wire(""));
  EXPECT_EQ(receive(), std::to_string(-EPROTO));
  EXPECT_EQ(receive(), std::to_string(-EPROTO)) << "what follows cannot be believed either";
}

TEST_F(StreamPairTest, ALengthBeyondEveryFrame) {
  put("\xff\xff\xff\xff....");
  EXPECT_EQ(receive(), std::to_string(-EPROTO));
}

}  // namespace
}  // namespace bellhop

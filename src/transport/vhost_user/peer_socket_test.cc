// Front ends that are called by sockets, as User Mode Linux is.
#include "transport/vhost_user/peer_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "testing/vhost_user_server_fixture.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using Client = testing::VhostUserClient;

constexpr std::uint64_t kFirstRing = 0;

/// Both ends as User Mode Linux makes them: the one that is sent waits.
struct Pair {
  Pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    reading = UniqueFd(ends[0]);
    writing = UniqueFd(ends[1]);
  }
  /// A call is what an eventfd would be read as.
  [[nodiscard]] bool is_called() const {
    std::uint64_t value = 0;
    const auto came = [&] {
      return ::recv(reading.get(), &value, sizeof value, MSG_DONTWAIT) ==
             static_cast<ssize_t>(sizeof value);
    };
    return eventually(came) && value == 1;
  }
  [[nodiscard]] bool is_empty() const {
    std::byte byte{};
    return ::recv(reading.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  UniqueFd reading;
  UniqueFd writing;
};

class PeerSocketTest : public ::testing::TestWithParam<bool>,
                       public testing::VhostUserServerFixture {
 protected:
  PeerSocketTest() : VhostUserServerFixture(GetParam()) {}

  /// Ring 0 with its calls at `pair`; nothing is there yet.
  void start_with(Client& client, const Pair& pair) const {
    start(client);
    ASSERT_TRUE(client.set_event(Request::kSetVringCall, 0, pair.writing.get()));
    ASSERT_TRUE(pair.is_called()) << "what there was before";
  }
};
INSTANTIATE_TEST_SUITE_P(Loops, PeerSocketTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(PeerSocketTest, CallsGoToASocket) {
  Client client(kRings);
  const Pair pair;
  ASSERT_NO_FATAL_FAILURE(start_with(client, pair));
  for (unsigned n = 0; n < 40; ++n) {
    ASSERT_TRUE(client.echo(0)) << n;
    ASSERT_TRUE(pair.is_called()) << n;
  }
  (void)client.rings[1]->call.consume();
  ASSERT_TRUE(client.echo(1));
  EXPECT_TRUE(eventually([&] { return client.rings[1]->call.consume() != 0; }))
      << "the other ring has its eventfd";
  EXPECT_TRUE(pair.is_empty()) << "which the socket does not tell of";
}

TEST_P(PeerSocketTest, OneTakesTheOthersPlace) {
  Client client(kRings);
  const Pair first;
  ASSERT_NO_FATAL_FAILURE(start_with(client, first));
  const Pair second;
  ASSERT_TRUE(client.set_event(Request::kSetVringCall, 0, second.writing.get()));
  ASSERT_TRUE(second.is_called());
  ASSERT_TRUE(client.echo(0));
  EXPECT_TRUE(second.is_called());
  ASSERT_TRUE(client.set_call(0));
  (void)client.rings[0]->call.consume();
  ASSERT_TRUE(client.echo(0));
  EXPECT_TRUE(eventually([&] { return client.rings[0]->call.consume() != 0; }));
  EXPECT_TRUE(first.is_empty());
  EXPECT_TRUE(second.is_empty());
}

TEST_P(PeerSocketTest, AFullSocketHoldsNobodyUp) {
  Client client(kRings);
  const Pair pair;
  ASSERT_NO_FATAL_FAILURE(start_with(client, pair));
  const std::array<std::byte, 8> call{};
  while (::send(pair.writing.get(), call.data(), call.size(), MSG_DONTWAIT) > 0) {
  }
  for (unsigned n = 0; n < 40; ++n) ASSERT_TRUE(client.echo(n % kRings)) << n;
  ASSERT_TRUE(client.set_call(0)) << "messages are read";
  EXPECT_TRUE(client.echo(0));
}

TEST_P(PeerSocketTest, ASocketThatNobodyReads) {
  Client client(kRings);
  Pair pair;
  ASSERT_NO_FATAL_FAILURE(start_with(client, pair));
  pair.reading.reset();
  for (unsigned n = 0; n < 40; ++n) ASSERT_TRUE(client.echo(n % kRings)) << n;  // and no SIGPIPE
  EXPECT_TRUE(client.set_call(0));
}

TEST_P(PeerSocketTest, KicksAndErrorsAreEventfds) {
  Client client(kRings);
  start(client);
  const Pair pair;
  for (const Request request : {Request::kSetVringKick, Request::kSetVringErr}) {
    EXPECT_FALSE(client.set_event(request, 0, pair.writing.get()));
  }
  EXPECT_TRUE(client.echo(0)) << "what was there stays";
}

TEST_P(PeerSocketTest, OtherSocketsAreRefused) {
  Client client(kRings);
  start(client);
  for (const auto& [domain, type] :
       {std::pair(AF_INET, SOCK_STREAM), {AF_INET, SOCK_DGRAM}, {AF_UNIX, SOCK_DGRAM}}) {
    const UniqueFd other(::socket(domain, type | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(other.valid());
    EXPECT_FALSE(client.set_event(Request::kSetVringCall, 0, other.get())) << domain << type;
  }
  EXPECT_TRUE(client.echo(0));
}

TEST_P(PeerSocketTest, TheConnectionItselfAsACall) {
  {
    Client client(kRings);
    start(client);
    // What is written there the server reads as half a message.
    (void)client.channel().send(Request::kSetVringCall, 0, std::as_bytes(std::span(&kFirstRing, 1)),
                                std::array{client.socket()});
    EXPECT_TRUE(client.is_closed());
  }
  Client good(kRings);
  start(good);
  EXPECT_TRUE(good.echo(0));
}

TEST_P(PeerSocketTest, NothingIsLeftOfAConnection) {
  const Pair pair;
  const auto serve_one = [&] {
    Client client(kRings);
    ASSERT_NO_FATAL_FAILURE(start_with(client, pair));
    ASSERT_TRUE(client.echo(0));
  };
  ASSERT_NO_FATAL_FAILURE(serve_one());
  ASSERT_TRUE(eventually([&] { return device().running() == 0; }));
  const std::size_t before = open_descriptors();
  for (unsigned n = 0; n < 20; ++n) ASSERT_NO_FATAL_FAILURE(serve_one());
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; }));
}

}  // namespace
}  // namespace bellhop

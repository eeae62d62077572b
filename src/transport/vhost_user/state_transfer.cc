#include "transport/vhost_user/state_transfer.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace bellhop {

namespace {

constexpr std::size_t kReadBytes = 4096;
/// Before other messages have their turn.
constexpr int kReadsInOneTurn = 64;

struct Pair {
  UniqueFd ours;
  UniqueFd theirs;
};

Result<Pair> make_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("no socket for the device's state");
  }
  return Pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Result<UniqueFd> hand_out_state(std::span<const std::byte> state) {
  auto pair = make_pair();
  if (!pair) return forward(pair);
  const ssize_t sent =
      ::send(pair->ours.get(), state.data(), state.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(state.size())) return fail("a socket does not hold the state");
  return std::move(pair->theirs);
}

Result<StateReader::Begun> StateReader::begin() {
  auto pair = make_pair();
  if (!pair) return forward(pair);
  return Begun{StateReader(std::move(pair->ours)), std::move(pair->theirs)};
}

void StateReader::read() {
  std::array<std::byte, kReadBytes> bytes;
  for (int count = 0; socket_.valid() && count < kReadsInOneTurn; ++count) {
    const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return socket_.reset();
    // What is too much is read all the same: its writer waits for that.
    too_long_ = too_long_ || state_.size() + static_cast<std::size_t>(got) > kMost;
    if (!too_long_) state_.insert(state_.end(), bytes.begin(), bytes.begin() + got);
  }
}

Result<std::span<const std::byte>> StateReader::all() const {
  if (too_long_) return fail(fmt::format("a state of more than {} bytes", kMost));
  if (socket_.valid()) return fail("the state has not come to its end");
  return std::span<const std::byte>(state_);
}

}  // namespace bellhop

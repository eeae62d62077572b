#include "vhost_user/channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/passed_fds.h"
#include "base/unix_socket.h"

namespace bellhop::vhost_user {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kControlBytes = CMSG_SPACE(kMaxFds * sizeof(int));

Status wait_for(int socket, short events, Clock::time_point end) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wanted{.fd = socket, .events = events, .revents = 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0) return {};
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno("cannot wait for the peer");
    return fail(events == POLLIN ? "the peer does not answer" : "the peer reads nothing",
                ETIMEDOUT);
  }
}

/// Fills `bytes`; descriptors that come beside them are added to `fds`.
Status read_all(int socket, std::span<std::byte> bytes, std::vector<UniqueFd>& fds,
                Clock::time_point end) {
  while (!bytes.empty()) {
    alignas(cmsghdr) std::array<std::byte, kControlBytes> control{};
    iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control.data();
    head.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got == 0) return fail("the peer has closed the connection", ECONNRESET);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return fail_errno("cannot read from the peer", ECONNRESET);
      if (auto waited = wait_for(socket, POLLIN, end); !waited) return waited;
      continue;
    }
    const bool all_there = take_passed_fds(head, fds);
    if (!all_there || fds.size() > kMaxFds)
      return fail("the peer sends too many descriptors", EPROTO);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

}  // namespace

/// One call's share of the patience.
class Channel::Turn {
 public:
  explicit Turn(Channel& channel) noexcept : channel_(channel), begin_(Clock::now()) {
    const Clock::duration between = begin_ - channel_.last_end_;
    channel_.waited_ -= std::min(channel_.waited_, between);
  }
  ~Turn() {
    channel_.last_end_ = Clock::now();
    channel_.waited_ += channel_.last_end_ - begin_;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  [[nodiscard]] Clock::time_point end() const noexcept {
    return begin_ +
           (channel_.patience_ - std::min<Clock::duration>(channel_.waited_, channel_.patience_));
  }

 private:
  Channel& channel_;
  Clock::time_point begin_;
};

Result<Channel> Channel::connect(const std::string& path, Patience patience) {
  if (path.empty() || path.size() > kMaxUnixPath) {
    return fail(fmt::format("a socket's path has 1 to {} characters", kMaxUnixPath));
  }
  UniqueFd socket = make_unix_socket();
  if (!socket.valid()) return fail_errno("cannot make a socket");
  const auto begin = Clock::now();
  const auto end = begin + patience;
  while (const int fault = connect_unix(socket.get(), path)) {
    // EAGAIN: others wait in front of us, and nobody is told when there is room.
    if (fault != EAGAIN && fault != EINTR) return fail_errno("cannot connect", fault);
    if (Clock::now() >= end) {
      return fail("cannot connect: it takes no connection", ETIMEDOUT);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Channel channel(std::move(socket), patience);
  channel.last_end_ = Clock::now();
  channel.waited_ = channel.last_end_ - begin;
  return channel;
}

Status Channel::send(Request request, std::uint32_t flags, std::span<const std::byte> payload,
                     std::span<const int> fds) {
  const Header header{.request = static_cast<std::uint32_t>(request),
                      .flags = kVersion | flags,
                      .size = static_cast<std::uint32_t>(payload.size())};
  std::array<std::byte, sizeof(Header) + kMaxPayload> bytes{};
  std::memcpy(bytes.data(), &header, sizeof header);
  std::ranges::copy(payload, bytes.data() + sizeof header);
  std::span<const std::byte> left(bytes.data(), sizeof header + payload.size());

  alignas(cmsghdr) std::array<std::byte, kControlBytes> control{};
  const Turn turn(*this);
  const auto end = turn.end();
  while (!left.empty()) {
    iovec part{.iov_base = const_cast<std::byte*>(left.data()), .iov_len = left.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    if (!fds.empty()) pass_fds(head, fds, control);
    const ssize_t sent = ::sendmsg(socket_.get(), &head, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return fail_errno("cannot write to the peer", ECONNRESET);
      if (auto waited = wait_for(socket_.get(), POLLOUT, end); !waited) return waited;
      continue;
    }
    left = left.subspan(static_cast<std::size_t>(sent));
    fds = {};  // they went with the first byte
  }
  return {};
}

Result<Message> Channel::receive() {
  const Turn turn(*this);
  const auto end = turn.end();
  Message message;
  auto bytes = std::as_writable_bytes(std::span(&message.header, 1));
  if (auto got = read_all(socket_.get(), bytes, message.fds, end); !got) return forward(got);
  if ((message.header.flags & kVersionMask) != kVersion) {
    return fail(fmt::format("the peer speaks version {} of the protocol",
                            message.header.flags & kVersionMask),
                EPROTO);
  }
  if (message.header.size > kMaxPayload) {
    return fail(fmt::format("the peer sends a message of {} bytes", message.header.size), EPROTO);
  }
  const std::span payload(message.payload.data(), message.header.size);
  if (auto got = read_all(socket_.get(), payload, message.fds, end); !got) return forward(got);
  return message;
}

}  // namespace bellhop::vhost_user

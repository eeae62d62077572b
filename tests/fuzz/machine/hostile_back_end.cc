#include "tests/fuzz/machine/hostile_back_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace bellhop::fuzz {

using vhost_user::Channel;
using vhost_user::Message;
using vhost_user::Request;

Result<Channel> HostileBackEnd::connect(Channel::Patience patience) {
  hang_up();
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  end_ = ends[1];
  channel_ = Channel(UniqueFd(ends[1]), Channel::Patience(5000));
  thread_ = std::thread([this] { run(); });
  return Channel(UniqueFd(ends[0]), patience);
}

void HostileBackEnd::hang_up() {
  if (!thread_.joinable()) return;
  (void)::shutdown(end_, SHUT_RDWR);
  thread_.join();
  channel_ = Channel();
  const std::lock_guard<std::mutex> hold(mutex_);
  events_.clear();
  memory_.clear();
}

void HostileBackEnd::be_hostile(std::vector<std::uint8_t> how) {
  const std::lock_guard<std::mutex> hold(mutex_);
  script_ = std::move(how);
}

void HostileBackEnd::signal(unsigned which) {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (events_.empty()) return;
  const std::uint64_t one = 1;
  pollfd room{.fd = events_[which % events_.size()].get(), .events = POLLOUT, .revents = 0};
  if (::poll(&room, 1, 0) == 1) (void)!::write(room.fd, &one, sizeof one);
}

HostileBackEnd::Wrong HostileBackEnd::next() {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (script_.empty()) return Wrong::kNothing;
  const std::uint8_t byte = script_.back();
  script_.pop_back();
  // Mostly right, or nothing would come of the later messages.
  return byte < 128 ? Wrong::kNothing
                    : Wrong{static_cast<std::uint8_t>(byte % static_cast<unsigned>(Wrong::kCount))};
}

void HostileBackEnd::run() {
  while (true) {
    pollfd wanted{.fd = channel_.fd(), .events = POLLIN, .revents = 0};
    (void)::poll(&wanted, 1, -1);
    auto message = channel_.receive();
    if (!message) return;
    const Wrong wrong = next();
    const bool goes_on = answer(*message, wrong);
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      const bool memory = message->request() == Request::kSetMemTable;
      for (UniqueFd& fd : message->fds) (memory ? memory_ : events_).push_back(std::move(fd));
      if (events_.size() > 32) events_.erase(events_.begin(), events_.begin() + 16);
      if (memory_.size() > 8) memory_.erase(memory_.begin());
    }
    if (!goes_on) {
      (void)::shutdown(channel_.fd(), SHUT_RDWR);
      return;
    }
  }
}

bool HostileBackEnd::answer(const Message& message, Wrong wrong) {
  switch (wrong) {
    case Wrong::kSilence:
      return true;
    case Wrong::kHangUp:
      return false;
    case Wrong::kGarbage: {
      const std::array<std::uint8_t, 24> noise{0xff, 3, 5, 7};
      (void)::send(channel_.fd(), noise.data(), noise.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      break;
    }
    case Wrong::kBlockingEvents:
    case Wrong::kFullEvents: {
      const std::lock_guard<std::mutex> hold(mutex_);
      for (const UniqueFd& event : events_) {
        if (wrong == Wrong::kFullEvents) {
          const std::uint64_t most = UINT64_MAX - 1;
          const int flags = ::fcntl(event.get(), F_GETFL);
          (void)::fcntl(event.get(), F_SETFL, flags | O_NONBLOCK);
          (void)!::write(event.get(), &most, sizeof most);
        }
        (void)::fcntl(event.get(), F_SETFL, ::fcntl(event.get(), F_GETFL) & ~O_NONBLOCK);
      }
      break;
    }
    case Wrong::kShrinkMemory: {
      const std::lock_guard<std::mutex> hold(mutex_);
      for (const UniqueFd& memory : memory_) (void)::ftruncate(memory.get(), 0);
      break;
    }
    default:
      break;
  }
  std::uint64_t number = 0;
  std::size_t bytes = sizeof number;
  switch (message.request()) {
    case Request::kGetFeatures:
      number = UINT64_MAX;
      break;
    case Request::kGetProtocolFeatures:
      number = 1U << vhost_user::kProtocolMq | 1U << vhost_user::kProtocolReplyAck;
      break;
    case Request::kGetQueueNum:
      number = 8;
      break;
    case Request::kGetVringBase: {
      vhost_user::VringState state;
      if (!message.read(state)) return false;
      number = state.index;
      break;
    }
    default:
      if ((message.header.flags & vhost_user::kNeedReply) == 0) return true;
      break;
  }
  Request request = message.request();
  std::uint32_t flags = vhost_user::kReply;
  std::vector<int> fds;
  if (wrong == Wrong::kOtherNumber) number = ~number << 16 | 0xffff;
  if (wrong == Wrong::kWrongSize) bytes = 4;
  if (wrong == Wrong::kWrongRequest) request = Request::kSetOwner;
  if (wrong == Wrong::kNoReplyFlag) flags = 0;
  if (wrong == Wrong::kSurplusDescriptor) fds.push_back(channel_.fd());
  const auto payload = std::as_bytes(std::span(&number, 1)).first(bytes);
  if (!channel_.send(request, flags, payload, fds)) return false;
  return wrong != Wrong::kTwice || channel_.send(request, flags, payload).has_value();
}

}  // namespace bellhop::fuzz

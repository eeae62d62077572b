#include "vhost_user/back_end_requests.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace bellhop {

using namespace vhost_user;

namespace {

/// Who says more at once is heard in turns.
constexpr unsigned kAtOnce = 16;

}  // namespace

Result<std::unique_ptr<BackEndRequests>> BackEndRequests::create() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("cannot make a pair of sockets");
  }
  return std::unique_ptr<BackEndRequests>(
      new BackEndRequests(UniqueFd(ends[0]), UniqueFd(ends[1])));
}

bool BackEndRequests::usable() const noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  return usable_;
}

bool BackEndRequests::take() noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  for (unsigned i = 0; i < kAtOnce && take_one(); ++i) {
  }
  return std::exchange(changed_, false);
}

void BackEndRequests::forget() noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  for (unsigned i = 0; i < kAtOnce && take_one(); ++i) {
  }
  have_ = 0;
  changed_ = false;
}

/// A message, or a part of one. False: there is no more for now.
bool BackEndRequests::take_one() {
  if (!usable_) return false;
  // Descriptors that come along are closed by the kernel: there is no room for them.
  const ssize_t got =
      ::recv(ours_.get(), bytes_.data() + have_, bytes_.size() - have_, MSG_DONTWAIT);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    end();
    return false;
  }
  have_ += static_cast<std::size_t>(got);
  if (have_ < bytes_.size()) return true;
  have_ = 0;
  Header header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  if (header.request != kBackendConfigChange || header.size != 0 ||
      (header.flags & ~kNeedReply) != kVersion) {
    end();
    return false;
  }
  changed_ = true;
  if ((header.flags & kNeedReply) == 0) return true;
  const Header head{.request = header.request, .flags = kVersion | kReply, .size = 8};
  std::array<std::byte, sizeof head + sizeof(std::uint64_t)> reply{};
  std::memcpy(reply.data(), &head, sizeof head);
  const ssize_t sent = ::send(ours_.get(), reply.data(), reply.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(reply.size())) end();
  return usable_;
}

void BackEndRequests::end() noexcept {
  usable_ = false;
  // Nobody is to write where nobody reads.
  (void)::shutdown(ours_.get(), SHUT_RDWR);
}

}  // namespace bellhop

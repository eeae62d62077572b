#include "control/api/api_connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/passed_fds.h"

namespace bellhop::control {

namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
/// Answers that its client has not read; no request is served meanwhile.
constexpr std::size_t kUnreadLimit = 64 * 1024;
/// Before others have their turn.
constexpr int kRequestsInOneTurn = 16;
/// What a client may go on sending after an answer that ends its connection, so that it gets to
/// read that answer: with bytes unread, a close is a reset.
constexpr std::size_t kDrainedLimit = 1024 * 1024;
constexpr std::size_t kDescriptorsOfAMessage = 253;  // SCM_MAX_FD

}  // namespace

Result<std::unique_ptr<ApiConnection>> ApiConnection::create(std::uint64_t id, UniqueFd socket,
                                                             EventLoop& loop,
                                                             const ApiLimits& limits,
                                                             ApiRequestSink& sink) {
  std::unique_ptr<ApiConnection> made(new ApiConnection(id, std::move(socket), loop, limits, sink));
  const int fd = made->socket_.get();
  auto can_read = loop.watch_fd(fd, Readiness::kReadable, made->reader_);
  if (!can_read) return forward(can_read);
  auto can_write = loop.watch_fd(fd, Readiness::kWritable, made->writer_);
  if (!can_write) return forward(can_write);
  made->can_read_ = std::move(*can_read);
  made->can_write_ = std::move(*can_write);
  made->can_read_->arm();
  return made;
}

ApiConnection::~ApiConnection() {
  loop_.cancel_deferred(*this);
  loop_.stop_timer(*this);
}

bool ApiConnection::idle() const noexcept {
  return !waiting_ && !closing_ && in_.empty() && out_.empty() && !parser_.under_way();
}

void ApiConnection::readable() noexcept {
  if (over_) return;
  std::array<char, kReadBytes> bytes;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kDescriptorsOfAMessage * sizeof(int))> control;
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr head{};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control.data();
  head.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_.get(), &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return can_read_->arm();
  if (got < 0) return finish();
  const bool fitting = take_descriptors(head);
  if (got == 0) {
    input_over_ = true;
  } else if (closing_) {
    drained_ += static_cast<std::size_t>(got);
    if (drained_ > kDrainedLimit) return finish();
  } else {
    in_.append(bytes.data(), static_cast<std::size_t>(got));
    if (!fitting) refuse(400, "too many descriptors beside one request");
  }
  go_on();
}

bool ApiConnection::take_descriptors(::msghdr& head) {
  const bool all_there = take_passed_fds(head, fds_);
  const bool fitting = all_there && fds_.size() <= limits_.descriptors;
  if (!fitting || closing_) fds_.clear();
  return fitting;
}

void ApiConnection::answer(const HttpResponse& response) {
  waiting_ = false;
  last_used_ = Clock::now();
  const bool stays = keep_alive_ && !response.close;
  out_ += to_bytes(response, stays);
  if (!stays) closing_ = true;
  // Each request has a time of its own.
  timed_ = false;
  loop_.stop_timer(*this);
  if (!serving_) go_on();
}

void ApiConnection::refuse(unsigned status, std::string_view message) {
  HttpResponse response = error_response(status, message);
  out_ += to_bytes(response, false);
  closing_ = true;
  in_.clear();
  fds_.clear();
}

void ApiConnection::go_on() noexcept {
  if (over_) return;
  serve_some();
  if (!flush()) return finish();
  if (closing_ && out_.empty() && !shut_) {
    shut_ = true;
    ::shutdown(socket_.get(), SHUT_WR);
  }
  const bool all_served = !waiting_ && in_.empty() && out_.empty();
  if (input_over_ && (closing_ ? shut_ : all_served)) return finish();
  if (!out_.empty()) can_write_->arm();
  if (!input_over_ && !waiting_ && out_.size() < kUnreadLimit) can_read_->arm();
  watch_the_time();
}

void ApiConnection::serve_some() {
  for (int count = 0; !waiting_ && !closing_ && !in_.empty() && out_.size() < kUnreadLimit;
       ++count) {
    if (count == kRequestsInOneTurn) return loop_.defer(*this);
    const HttpStep step = parser_.put(in_);
    in_.erase(0, step.taken);
    switch (step.progress) {
      case HttpProgress::kNeedsMore:
        if (parser_.expects_continue() && !std::exchange(continued_, true)) {
          out_ += "HTTP/1.1 100 Continue\r\n\r\n";
        }
        if (input_over_) {
          closing_ = true;  // half a request, and its client has gone
        } else if (in_.size() > limits_.http.head + kReadBytes) {
          refuse(400, "the request cannot be read");  // a line of a chunked body without an end
        }
        return;
      case HttpProgress::kMalformed:
        return refuse(400, "this is no HTTP request");
      case HttpProgress::kHeadTooLarge:
        return refuse(431, "the request's head is too large");
      case HttpProgress::kBodyTooLarge:
        return refuse(413, "the request's body is too large");
      case HttpProgress::kComplete:
        break;
    }
    HttpRequest request = parser_.take();
    request.fds = std::exchange(fds_, {});
    keep_alive_ = request.keep_alive;
    continued_ = false;
    waiting_ = true;
    serving_ = true;
    sink_.take_request(id_, std::move(request));
    serving_ = false;
  }
}

bool ApiConnection::flush() noexcept {
  while (!out_.empty()) {
    const ssize_t sent =
        ::send(socket_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    out_.erase(0, static_cast<std::size_t>(sent));
  }
  return true;
}

void ApiConnection::watch_the_time() noexcept {
  // While a command is executed its client waits, not we.
  const bool for_client = !out_.empty() || (!waiting_ && !idle());
  if (for_client == timed_) return;
  timed_ = for_client;
  if (timed_) {
    loop_.start_timer(*this, limits_.patience);
  } else {
    loop_.stop_timer(*this);
  }
}

void ApiConnection::on_timer() noexcept {
  timed_ = false;
  if (closing_ || !out_.empty()) return finish();
  refuse(408, "the request did not come to its end in time");
  go_on();
}

void ApiConnection::finish() noexcept {
  if (std::exchange(over_, true)) return;
  loop_.stop_timer(*this);
  sink_.connection_over();
}

}  // namespace bellhop::control

#include "apps/bellhop/serial_terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/poll.h"
#include "base/thread.h"

namespace bellhop {

namespace {

/// How often one looks for somebody: the kernel does not tell when the other end is opened.
constexpr int kLookAgainMilliseconds = 200;
/// How often a guest that had no room is asked again.
constexpr int kOfferAgainMilliseconds = 5;

short state_of(const UniqueFd& master) noexcept {
  pollfd wanted{.fd = master.get(), .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, 0) > 0 ? wanted.revents : short{0};
}

}  // namespace

Result<std::unique_ptr<SerialTerminal>> SerialTerminal::open() {
  auto terminal = PseudoTerminal::open("--serial pty");
  if (!terminal) return forward(terminal);
  std::unique_ptr<SerialTerminal> serial(new SerialTerminal(*std::move(terminal)));
  auto wake = EventFd::create();
  if (!wake) return forward(wake);
  serial->wake_ = std::move(*wake);
  auto thread =
      start_thread(ThreadKind::kSerial, "--serial", [self = serial.get()] { self->run(); });
  if (!thread) return forward(thread);
  serial->thread_ = std::move(*thread);
  return serial;
}

SerialTerminal::~SerialTerminal() {
  connect({});
  give_up();
  (void)finish();
}

bool SerialTerminal::write(std::span<const std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  while (there_ && !data.empty() && backlog_.empty()) {
    const ssize_t done = ::write(terminal_.master.get(), data.data(), data.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) break;
    data = data.subspan(static_cast<std::size_t>(done));
  }
  if (data.empty()) return true;
  if (!there_) {
    backlog_.insert(backlog_.end(), data.begin(), data.end());
    if (backlog_.size() > kBacklog) {
      backlog_.erase(backlog_.begin(), backlog_.end() - kBacklog);
    }
    return true;
  }
  const std::size_t most = given_up_ ? 0 : kBacklog + kSlack;
  const auto kept = data.first(std::min(data.size(), most - std::min(backlog_.size(), most)));
  if (backlog_.empty() && !kept.empty()) wake_.signal();
  backlog_.insert(backlog_.end(), kept.begin(), kept.end());
  lost_ += data.size() - kept.size();
  full_ = backlog_.size() >= kBacklog;
  return !full_;
}

bool SerialTerminal::prepare(Wait& wait) {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (finished_ && (!there_ || backlog_.empty())) return false;
  wait.there = there_;
  wait.output = !backlog_.empty();
  wait.milliseconds = there_ ? -1 : kLookAgainMilliseconds;
  wait.input = has_guest_ && first_key_ == keys_end_;
  if (has_guest_ && first_key_ != keys_end_) wait.milliseconds = kOfferAgainMilliseconds;
  if (more_keys_) wait.milliseconds = 0;
  return true;
}

void SerialTerminal::run() {
  Wait wait;
  while (prepare(wait)) {
    // With nobody there poll() would return at once.
    const int events = (wait.input ? POLLIN : 0) | (wait.output ? POLLOUT : 0);
    std::array fds{pollfd{wake_.get(), POLLIN, 0},
                   pollfd{wait.there ? terminal_.master.get() : -1, static_cast<short>(events), 0}};
    wait_ready(fds, wait.milliseconds);
    wake_.consume();
    more_keys_ = pass_on();
    look();
    flush();
    tell_room();
  }
}

bool SerialTerminal::pass_on() {
  const std::lock_guard<std::mutex> hold(guest_mutex_);
  if (!guest_.input) return false;
  if (first_key_ == keys_end_) {
    const ssize_t got = ::read(terminal_.master.get(), keys_.data(), keys_.size());
    if (got <= 0) return false;  // nothing, or nobody
    first_key_ = 0;
    keys_end_ = static_cast<std::size_t>(got);
  }
  first_key_ += guest_.input(std::span(keys_).subspan(first_key_, keys_end_ - first_key_));
  return first_key_ == keys_end_;
}

void SerialTerminal::look() noexcept {
  const bool there = (state_of(terminal_.master) & POLLHUP) == 0;
  const std::lock_guard<std::mutex> hold(mutex_);
  there_ = there;
  if (!there && backlog_.size() > kBacklog) {
    backlog_.erase(backlog_.begin(), backlog_.end() - kBacklog);
  }
}

void SerialTerminal::flush() noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  std::array<std::byte, 4096> piece;
  while (there_ && !backlog_.empty()) {
    const std::size_t bytes = std::min(backlog_.size(), piece.size());
    std::copy_n(backlog_.begin(), bytes, piece.begin());
    const ssize_t done = ::write(terminal_.master.get(), piece.data(), bytes);
    if (done <= 0) break;
    backlog_.erase(backlog_.begin(), backlog_.begin() + done);
  }
  if (there_ && given_up_) {
    lost_ += backlog_.size();
    backlog_.clear();
  }
}

void SerialTerminal::tell_room() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    const bool room = !there_ || backlog_.size() <= kBacklog / 2;
    if (!room || !std::exchange(full_, false)) return;
  }
  const std::lock_guard<std::mutex> calling(guest_mutex_);
  if (guest_.has_room) guest_.has_room();
}

void SerialTerminal::connect(SerialGuest guest) {
  const std::lock_guard<std::mutex> calling(guest_mutex_);
  guest_ = std::move(guest);
  const std::lock_guard<std::mutex> hold(mutex_);
  has_guest_ = guest_.input != nullptr;
  if (wake_.valid()) wake_.signal();
}

void SerialTerminal::give_up() noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  given_up_ = true;
  if (wake_.valid()) wake_.signal();
}

Status SerialTerminal::finish() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    finished_ = true;
    if (wake_.valid()) wake_.signal();
  }
  if (thread_.joinable()) thread_.join();
  if (lost_ == 0) return {};
  return fail(fmt::format("--serial: {} bytes for {} were lost: nobody read them", lost_, place()));
}

}  // namespace bellhop

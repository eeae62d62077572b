#include "control/event_monitor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/passed_fds.h"

namespace bellhop::control {

namespace {

/// Opens what is behind a descriptor once more: whether a write waits is then ours to say, whoever
/// else has it. Of a socket that is said with each write.
Result<UniqueFd> own_file(const UniqueFd& fd) {
  UniqueFd own(::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(),
                      O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!own.valid()) return fail_errno("cannot be written");
  return own;
}

}  // namespace

EventPlace EventPlace::read(std::string_view where) {
  constexpr std::string_view kPath = "path=";
  constexpr std::string_view kFd = "fd=";
  const bool passed = where.starts_with(kFd);
  const std::string_view start = passed ? kFd : kPath;
  if (!where.starts_with(start)) return {};
  return {passed, std::string(where.substr(start.size()))};
}

Result<std::unique_ptr<EventMonitor>> EventMonitor::open(std::string_view where,
                                                         OutputFiles& outputs) {
  const EventPlace place = EventPlace::read(where);
  if (place.name.empty()) {
    return fail(fmt::format("--event-monitor: '{}' is wrong; it must be path=FILE or fd=N", where));
  }
  if (!place.passed) {
    auto file = outputs.open("--event-monitor", place.name);
    if (!file) return forward(file);
    return std::unique_ptr<EventMonitor>(new EventMonitor(std::move(*file), false));
  }
  auto fd = take_inherited_fd(place.name);
  struct stat info {};
  if (fd && ::fstat(fd->get(), &info) != 0) fd = fail("is not open");
  const bool is_socket = fd && S_ISSOCK(info.st_mode);
  if (fd && is_socket && ::fcntl(fd->get(), F_SETFD, FD_CLOEXEC) != 0)
    fd = fail_errno("cannot be prepared");
  if (fd && !is_socket) fd = own_file(*fd);
  if (!fd) {
    return fail(fmt::format("--event-monitor: {}: {}", where, fd.error().message), fd.error().code);
  }
  return std::unique_ptr<EventMonitor>(new EventMonitor(std::move(*fd), is_socket));
}

void EventMonitor::tell(std::string_view source, std::string_view event, std::string_view id) {
  const auto since = Clock::now() - begin_;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  const std::string text = fmt::format(
      R"({{"timestamp":{{"secs":{},"nanos":{}}},"source":"{}","event":"{}","properties":{}}})"
      "\n\n",
      seconds.count(), std::chrono::nanoseconds(since - seconds).count(), source, event,
      (id.empty() ? nlohmann::json() : nlohmann::json{{"id", id}}).dump());
  const std::lock_guard hold(mutex_);
  flush();
  if (unsent_.size() + text.size() <= kBacklog) {
    unsent_ += text;
    return flush();
  }
  ++lost_;
  log_.warn("--event-monitor: its reader is slow; an event is lost");
}

std::size_t EventMonitor::lost() const {
  const std::lock_guard hold(mutex_);
  return lost_;
}

void EventMonitor::flush() {
  while (!unsent_.empty()) {
    const ssize_t sent =
        is_socket_ ? ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                   : ::write(fd_.get(), unsent_.data(), unsent_.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // EAGAIN; or its reader has gone, and may come back
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
}

}  // namespace bellhop::control

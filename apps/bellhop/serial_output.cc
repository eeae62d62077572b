#include "apps/bellhop/serial_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/log_stream.h"
#include "base/poll.h"
#include "base/thread.h"

namespace bellhop {

std::string SerialOutput::file_of(const std::string& text) {
  constexpr std::string_view kFile = "file=";
  return text.starts_with(kFile) ? text.substr(kFile.size()) : std::string();
}

Result<std::unique_ptr<SerialOutput>> SerialOutput::open(const std::string& text,
                                                         OutputFiles& outputs) {
  std::unique_ptr<SerialOutput> output(new SerialOutput());
  Status opened;
  if (text == "tty") {
    opened = output->open_standard_output();
  } else if (const std::string path = file_of(text); !path.empty()) {
    opened = output->open_file(path, outputs);
  } else if (text == kPty) {
    auto pty = SerialTerminal::open();
    if (!pty) return forward(pty);
    output->pty_ = std::move(*pty);
    log::info("the serial port is at {}", output->pty_->place());
  } else if (text != "null") {
    opened = fail(
        fmt::format("--serial: '{}' is unknown; it must be tty, pty, null or file=PATH", text));
  }
  if (!opened) return forward(opened);
  if (output->fd_ < 0 || output->regular_) return output;
  auto wake = EventFd::create();
  if (!wake) return forward(wake);
  output->wake_ = std::move(*wake);
  auto thread =
      start_thread(ThreadKind::kSerial, "--serial", [self = output.get()] { self->run(); });
  if (!thread) return forward(thread);
  output->thread_ = std::move(*thread);
  return output;
}

// Opened anew, so that it does not block for us alone: the flag belongs to what is open, which a
// shell and others share with us.
Status SerialOutput::open_standard_output() {
  terminal_ = true;
  place_ = "standard output";
  fd_ = STDOUT_FILENO;
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return fail_errno("--serial: standard output");
  regular_ = S_ISREG(info.st_mode);
  socket_ = S_ISSOCK(info.st_mode);
  struct stat errors {};
  beside_log_ = ::fstat(STDERR_FILENO, &errors) == 0 && errors.st_dev == info.st_dev &&
                errors.st_ino == info.st_ino;
  if (regular_ || socket_) return {};
  own_ = UniqueFd(::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  blocking_ = !own_.valid();
  if (own_.valid()) fd_ = own_.get();
  return {};
}

Status SerialOutput::open_file(const std::string& path, OutputFiles& outputs) {
  place_ = path;
  auto opened = outputs.open("--serial", path);
  if (!opened) return forward(opened);
  own_ = std::move(*opened);
  fd_ = own_.get();
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return fail_errno(fmt::format("--serial: {}", path));
  regular_ = S_ISREG(info.st_mode);
  return {};
}

SerialOutput::~SerialOutput() {
  connect({});
  give_up();
  (void)finish();
}

ssize_t SerialOutput::write_some(const std::byte* data, std::size_t bytes) const noexcept {
  const ssize_t done = try_write(data, bytes);
  if (beside_log_ && done > 0) log::set_line_open(data[done - 1] != std::byte{'\n'});
  return done;
}

ssize_t SerialOutput::try_write(const std::byte* data, std::size_t bytes) const noexcept {
  if (socket_) return ::send(fd_, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (!blocking_) return ::write(fd_, data, bytes);
  std::array one{pollfd{fd_, POLLOUT, 0}};
  if (::poll(one.data(), one.size(), 0) <= 0) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd_, data, 1);
}

void SerialOutput::lose(std::size_t bytes, int error) noexcept {
  if (lost_ == 0) error_ = error;
  lost_ += bytes;
}

bool SerialOutput::write(std::span<const std::byte> data) noexcept {
  if (pty_) return pty_->write(data);
  if (fd_ < 0) return true;
  const std::lock_guard<std::mutex> hold(mutex_);
  while (!data.empty() && backlog_.empty()) {
    const ssize_t done = write_some(data.data(), data.size());
    if (done < 0 && errno == EINTR) continue;  // a signal, each of which comes once
    if (done < 0 && errno == EAGAIN) break;
    if (done <= 0) {
      lose(data.size(), errno);
      return true;
    }
    data = data.subspan(static_cast<std::size_t>(done));
  }
  if (data.empty()) return true;
  const std::size_t room =
      given_up_ || regular_ ? 0 : kBacklog + kSlack - std::min(backlog_.size(), kBacklog + kSlack);
  const auto kept = data.first(std::min(data.size(), room));
  if (backlog_.empty() && !kept.empty()) changed_.notify_all();
  backlog_.insert(backlog_.end(), kept.begin(), kept.end());
  if (kept.size() < data.size()) lose(data.size() - kept.size(), 0);
  full_ = backlog_.size() >= kBacklog;
  return !full_;
}

void SerialOutput::flush() noexcept {
  std::array<std::byte, 4096> piece;
  while (!backlog_.empty()) {
    const std::size_t bytes = std::min(backlog_.size(), piece.size());
    std::copy_n(backlog_.begin(), bytes, piece.begin());
    const ssize_t done = write_some(piece.data(), bytes);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (done <= 0) {
      lose(backlog_.size(), errno);
      backlog_.clear();
      return;
    }
    backlog_.erase(backlog_.begin(), backlog_.begin() + done);
  }
}

void SerialOutput::run() {
  std::unique_lock<std::mutex> hold(mutex_);
  while (true) {
    changed_.wait(hold, [this] { return !backlog_.empty() || finished_; });
    if (backlog_.empty()) return;
    if (!given_up_) {
      hold.unlock();
      std::array fds{pollfd{fd_, POLLOUT, 0}, pollfd{wake_.get(), POLLIN, 0}};
      wait_ready(fds, -1);
      hold.lock();
    }
    flush();
    if (given_up_ && !backlog_.empty()) {
      lose(backlog_.size(), 0);
      backlog_.clear();
    }
    if (full_ && backlog_.size() <= kBacklog / 2) {
      full_ = false;
      hold.unlock();
      {
        const std::lock_guard<std::mutex> calling(guest_mutex_);
        if (guest_.has_room) guest_.has_room();
      }
      hold.lock();
    }
    changed_.notify_all();
  }
}

void SerialOutput::connect(SerialGuest guest) {
  if (pty_) return pty_->connect(std::move(guest));
  const std::lock_guard<std::mutex> calling(guest_mutex_);
  guest_ = std::move(guest);
}

void SerialOutput::give_up() noexcept {
  if (pty_) return pty_->give_up();
  const std::lock_guard<std::mutex> hold(mutex_);
  given_up_ = true;
  if (wake_.valid()) wake_.signal();
}

control::SerialPort SerialOutput::port() const {
  using Mode = control::SerialPort::Mode;
  if (pty_) return {Mode::kPty, pty_->place()};
  if (terminal_) return {Mode::kTty, {}};
  return fd_ < 0 ? control::SerialPort() : control::SerialPort{Mode::kFile, place_};
}

Status SerialOutput::finish() {
  if (pty_) return pty_->finish();
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    finished_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  if (lost_ == 0 || error_ == EPIPE) return {};
  const auto what = fmt::format("--serial: {} bytes for {} were lost", lost_, place_);
  return error_ == 0 ? fail(what + ": nobody read them") : fail_errno(what, error_);
}

}  // namespace bellhop

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "devices/console/console_backend.h"

namespace bellhop {

namespace {

class SocketConsole final : public ConsoleBackend {
 public:
  SocketConsole(std::string path, UniqueFd listener)
      : path_(std::move(path)), listener_(std::move(listener)) {
    (void)::lstat(path_.c_str(), &made_);
  }
  ~SocketConsole() override {
    // Somebody else may have put his own there.
    struct stat info {};
    if (::lstat(path_.c_str(), &info) == 0 && info.st_dev == made_.st_dev &&
        info.st_ino == made_.st_ino) {
      ::unlink(path_.c_str());
    }
  }

  [[nodiscard]] std::string place() const override { return path_; }
  [[nodiscard]] bool connected() const noexcept override { return client_.valid(); }
  [[nodiscard]] int input() const noexcept override { return client_.get(); }
  [[nodiscard]] int output() const noexcept override { return client_.get(); }
  [[nodiscard]] ssize_t write(std::span<const iovec> data) noexcept override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(data.data());
    message.msg_iovlen = data.size();
    ssize_t done = 0;
    do {
      done = ::sendmsg(client_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
  }
  [[nodiscard]] bool gone() const noexcept override {
    std::byte byte{};
    const ssize_t seen = ::recv(client_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return seen == 0 || (seen < 0 && errno != EAGAIN && errno != EINTR);
  }
  [[nodiscard]] bool hung_up() const noexcept override {
    pollfd wanted{.fd = client_.get(), .events = POLLOUT, .revents = 0};
    return ::poll(&wanted, 1, 0) > 0 && (wanted.revents & (POLLHUP | POLLERR)) != 0;
  }
  [[nodiscard]] Arrival arrival() const noexcept override { return Arrival::kListener; }
  [[nodiscard]] int listener() const noexcept override { return listener_.get(); }
  [[nodiscard]] bool connect() noexcept override {
    if (!client_.valid()) {
      client_ =
          UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    return client_.valid();
  }
  void disconnect() noexcept override { client_.reset(); }

 private:
  std::string path_;
  struct stat made_ {};
  UniqueFd listener_;
  UniqueFd client_;
};

Result<UniqueFd> stream_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("--console: no socket");
  return fd;
}

}  // namespace

Result<std::unique_ptr<ConsoleBackend>> make_socket_console(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(fmt::format("--console: socket={}: at most {} characters", path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  auto listener = stream_socket();
  if (!listener) return forward(listener);
  int bound = ::bind(listener->get(), at, sizeof address);
  struct stat info {};
  if (bound != 0 && errno == EADDRINUSE && ::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return fail(fmt::format("--console: socket={}: something else has that name", path));
    }
    auto probe = stream_socket();
    if (!probe) return forward(probe);
    if (::connect(probe->get(), at, sizeof address) == 0 || errno != ECONNREFUSED) {
      return fail(fmt::format("--console: socket={}: somebody listens there already", path));
    }
    ::unlink(path.c_str());  // its owner died
    bound = ::bind(listener->get(), at, sizeof address);
  }
  if (bound != 0) return fail_errno(fmt::format("--console: cannot listen at {}", path));
  auto console = std::make_unique<SocketConsole>(path, std::move(*listener));
  if (::listen(console->listener(), SOMAXCONN) != 0) {
    return fail_errno(fmt::format("--console: cannot listen at {}", path));
  }
  return console;
}

}  // namespace bellhop

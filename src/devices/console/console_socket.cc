#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/unix_socket.h"
#include "devices/console/console_backend.h"

namespace bellhop {

namespace {

class SocketConsole final : public ConsoleBackend {
 public:
  explicit SocketConsole(UnixListener listener) : listener_(std::move(listener)) {}

  [[nodiscard]] std::string place() const override { return listener_.path(); }
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
  [[nodiscard]] int listener() const noexcept override { return listener_.fd(); }
  [[nodiscard]] bool connect() noexcept override {
    if (!client_.valid()) client_ = listener_.accept();
    return client_.valid();
  }
  void disconnect() noexcept override { client_.reset(); }

 private:
  UnixListener listener_;
  UniqueFd client_;
};

}  // namespace

Result<std::unique_ptr<ConsoleBackend>> make_socket_console(const std::string& path) {
  auto listener = UnixListener::listen(path);
  if (!listener) {
    return fail(fmt::format("--console: socket={} {}", path, listener.error().message),
                listener.error().code);
  }
  return std::make_unique<SocketConsole>(std::move(*listener));
}

}  // namespace bellhop

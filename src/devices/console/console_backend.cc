#include "devices/console/console_backend.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace bellhop {

ssize_t ConsoleBackend::read(std::span<const iovec> room) noexcept {
  ssize_t done = 0;
  do {
    done = ::readv(input(), room.data(), static_cast<int>(room.size()));
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : done;
}

ssize_t ConsoleBackend::write(std::span<const iovec> data) noexcept {
  ssize_t done = 0;
  do {
    done = ::writev(output(), data.data(), static_cast<int>(data.size()));
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : done;
}

namespace {

class NullConsole final : public ConsoleBackend {
 public:
  [[nodiscard]] std::string place() const override { return "null"; }
  [[nodiscard]] bool connected() const noexcept override { return true; }
};

class FileConsole final : public ConsoleBackend {
 public:
  FileConsole(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
  [[nodiscard]] std::string place() const override { return path_; }
  [[nodiscard]] bool connected() const noexcept override { return true; }
  [[nodiscard]] int output() const noexcept override { return file_.get(); }

 private:
  std::string path_;
  UniqueFd file_;
};

/// The same file as `fd`, but not blocking for us alone: the flag belongs to what is open, which a
/// shell and others share with us. Sockets cannot be opened anew, but each call can ask not to
/// wait. What remains is what we may not open: there the flag is set, and the caller puts it back.
struct Opened {
  UniqueFd fd;
  std::optional<int> flags;  ///< to be put back
  bool socket = false;
};

Result<Opened> open_again(int fd, int mode) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno(fmt::format("--console stdio: descriptor {}", fd));
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
    // It never blocks, and where the next byte goes is shared with all who write into it.
    UniqueFd same(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!same.valid()) return fail_errno(fmt::format("--console stdio: descriptor {}", fd));
    return Opened{.fd = std::move(same), .flags = std::nullopt};
  }
  if (S_ISSOCK(info.st_mode)) {
    UniqueFd same(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!same.valid()) return fail_errno(fmt::format("--console stdio: descriptor {}", fd));
    return Opened{.fd = std::move(same), .flags = std::nullopt, .socket = true};
  }
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  UniqueFd again(::open(path.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (again.valid()) {
    // Where the first one writes behind what is there, so does this one.
    (void)::fcntl(again.get(), F_SETFL, O_NONBLOCK | (flags & O_APPEND));
    return Opened{.fd = std::move(again), .flags = std::nullopt};
  }
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.valid() || ::fcntl(copy.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_errno(fmt::format("--console stdio: descriptor {}", fd));
  }
  return Opened{.fd = std::move(copy), .flags = flags};
}

msghdr message_of(std::span<const iovec> parts) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  return message;
}

class StdioConsole final : public ConsoleBackend {
 public:
  StdioConsole(Opened input, Opened output)
      : input_(std::move(input)), output_(std::move(output)) {}
  ~StdioConsole() override {
    for (const Opened* one : {&input_, &output_}) {
      if (one->flags) (void)::fcntl(one->fd.get(), F_SETFL, *one->flags);
    }
  }
  [[nodiscard]] std::string place() const override { return "standard input and output"; }
  [[nodiscard]] bool connected() const noexcept override { return connected_; }
  [[nodiscard]] int input() const noexcept override { return ended_ ? -1 : input_.fd.get(); }
  [[nodiscard]] int output() const noexcept override { return output_.fd.get(); }
  [[nodiscard]] ssize_t read(std::span<const iovec> room) noexcept override {
    if (!input_.socket) return ConsoleBackend::read(room);
    msghdr message = message_of(room);
    ssize_t done = 0;
    do {
      done = ::recvmsg(input_.fd.get(), &message, MSG_DONTWAIT);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
  }
  [[nodiscard]] ssize_t write(std::span<const iovec> data) noexcept override {
    if (!output_.socket) return ConsoleBackend::write(data);
    const msghdr message = message_of(data);
    ssize_t done = 0;
    do {
      done = ::sendmsg(output_.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
  }
  [[nodiscard]] bool end_of_input() noexcept override {
    ended_ = true;  // `... </dev/null` is no reason to stop talking
    return false;
  }
  void disconnect() noexcept override { connected_ = false; }

 private:
  Opened input_;
  Opened output_;
  bool ended_ = false;
  bool connected_ = true;
};

}  // namespace

std::unique_ptr<ConsoleBackend> make_null_console() { return std::make_unique<NullConsole>(); }

Result<std::unique_ptr<ConsoleBackend>> make_file_console(const std::string& path,
                                                          OutputFiles& outputs) {
  auto file = outputs.open("--console", path);
  if (!file) return forward(file);
  return std::make_unique<FileConsole>(path, std::move(*file));
}

Result<std::unique_ptr<ConsoleBackend>> make_stdio_console(int input, int output) {
  auto in = open_again(input, O_RDONLY);
  if (!in) return forward(in);
  auto out = open_again(output, O_WRONLY);
  if (!out) return forward(out);
  return std::make_unique<StdioConsole>(std::move(*in), std::move(*out));
}

}  // namespace bellhop

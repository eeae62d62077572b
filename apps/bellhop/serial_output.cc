#include "apps/bellhop/serial_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace bellhop {

Result<SerialOutput> SerialOutput::open(const std::string& text) {
  constexpr std::string_view kFile = "file=";
  SerialOutput output;
  if (text == "tty") {
    output.terminal_ = true;
  } else if (text.starts_with(kFile) && text.size() > kFile.size()) {
    const std::string path = text.substr(kFile.size());
    output.file_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!output.file_.valid()) return fail_errno(fmt::format("--serial: cannot write {}", path));
  } else if (text != "null") {
    return fail(fmt::format("--serial: '{}' is unknown; it must be tty, null or file=PATH", text));
  }
  auto end = EventFd::create();
  if (!end) return forward(end);
  output.end_ = std::move(*end);
  struct stat info {};
  output.may_block_ = ::fstat(output.descriptor(), &info) == 0 && !S_ISREG(info.st_mode);
  return output;
}

int SerialOutput::descriptor() const noexcept { return terminal_ ? STDOUT_FILENO : file_.get(); }

void SerialOutput::write(std::span<const std::byte> data) const noexcept {
  const int fd = descriptor();
  if (fd < 0) return;
  while (!data.empty()) {
    if (may_block_) {
      std::array<pollfd, 2> wait{pollfd{fd, POLLOUT, 0}, pollfd{end_.get(), POLLIN, 0}};
      if (::poll(wait.data(), wait.size(), -1) < 0) continue;
      if ((wait[0].revents & POLLOUT) == 0 && wait[1].revents != 0) return;
    }
    const ssize_t done = ::write(fd, data.data(), data.size());
    if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (done <= 0) return;
    data = data.subspan(static_cast<std::size_t>(done));
  }
}

}  // namespace bellhop

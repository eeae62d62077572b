#include "apps/bellhop/serial_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

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
  return output;
}

void SerialOutput::write(std::span<const std::byte> data) const noexcept {
  const int fd = terminal_ ? STDOUT_FILENO : file_.get();
  if (fd < 0) return;
  while (!data.empty()) {
    const ssize_t done = ::write(fd, data.data(), data.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    data = data.subspan(static_cast<std::size_t>(done));
  }
}

}  // namespace bellhop

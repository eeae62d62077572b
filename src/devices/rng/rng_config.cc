#include "devices/rng/rng_config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "devices/rng/rng_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const RngConfig& config) {
  // Not blocking: a source that has nothing yet must not keep an I/O thread.
  UniqueFd source(::open(config.source.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!source.valid()) return fail_errno(fmt::format("--rng: cannot open {}", config.source));
  struct stat info {};
  if (::fstat(source.get(), &info) != 0) {
    return fail_errno(fmt::format("--rng: cannot look at {}", config.source));
  }
  if (!S_ISCHR(info.st_mode) && !S_ISFIFO(info.st_mode) && !S_ISREG(info.st_mode)) {
    return fail(
        fmt::format("--rng: {} is no source of random bytes: it must be a character device, "
                    "a pipe or a file",
                    config.source));
  }
  return std::make_unique<RngDevice>(
      std::move(source), RngOptions{.id = config.id,
                                    .source = config.source,
                                    .limit = {.bytes = config.max_bytes, .period = config.period}});
}

}  // namespace bellhop

#include "vhost/vhost_handle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace bellhop {

namespace {

class OpenHandle final : public VhostHandle {
 public:
  explicit OpenHandle(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  int control(unsigned long request, void* argument) noexcept override {
    return ::ioctl(fd_.get(), request, argument) < 0 ? -errno : 0;
  }

 private:
  UniqueFd fd_;
};

}  // namespace

Result<std::unique_ptr<VhostHandle>> open_vhost(const char* device, const char* module) {
  UniqueFd fd(::open(device, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return std::make_unique<OpenHandle>(std::move(fd));
  switch (const int error = errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return fail(fmt::format("{} is missing (modprobe {})", device, module), ENODEV);
    case EACCES:
    case EPERM:
      return fail(fmt::format("{} may not be opened (it is for root, or for its group)", device),
                  EPERM);
    default:
      return fail_errno(fmt::format("cannot open {}", device), error);
  }
}

}  // namespace bellhop

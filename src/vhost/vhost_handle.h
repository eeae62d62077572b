#pragma once

#include <memory>

#include "base/result.h"

namespace bellhop {

/// One open vhost device of the kernel: all that we ask of it are ioctls, so that a test can be the
/// kernel.
class VhostHandle {
 public:
  virtual ~VhostHandle() = default;
  /// `request` of linux/vhost.h with its argument. 0, or -errno. Any thread.
  virtual int control(unsigned long request, void* argument) noexcept = 0;
};

/// Opens `device`, a path such as "/dev/vhost-net"; `module` is the kernel module that makes it.
/// Errors: it is missing, or may not be opened; the text says which, and what helps.
Result<std::unique_ptr<VhostHandle>> open_vhost(const char* device, const char* module);

}  // namespace bellhop

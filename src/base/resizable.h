#pragma once

#include <cstdint>

#include "base/result.h"

namespace bellhop {

/// What has a size that can be changed while it is used: a disk and what lies under it, a balloon.
/// Who has something of a more general type asks it whether it is one.
class Resizable {
 public:
  /// Another size in bytes; whoever uses it is told. Any thread, one call at a time. Errors: it
  /// cannot have this one (code EINVAL), it keeps its size (ENOTSUP), or the host refuses.
  virtual Status resize(std::uint64_t bytes) = 0;

 protected:
  ~Resizable() = default;
};

}  // namespace bellhop

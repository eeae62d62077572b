#pragma once

#include <string>

#include "base/result.h"

namespace bellhop {

enum class LockKind { kShared, kExclusive };

/// Locks the whole of an open file against other open file descriptions (F_OFD_SETLK); the lock
/// goes when the descriptor is closed. A file system without locks is accepted with a warning.
/// Errors: somebody else holds it, named with process id where that can be found out.
Status lock_file(int fd, const std::string& path, LockKind kind);

}  // namespace bellhop

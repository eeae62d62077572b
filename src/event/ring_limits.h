#pragma once

#include <liburing.h>

#include "base/result.h"

namespace bellhop {

/// Has a ring that is not enabled yet take what we ask of one, and nothing else. No filter of
/// system calls sees what is asked through a ring, and a ring can open files and make sockets: who
/// got hold of a thread could otherwise do so. Linux 5.10.
///
/// Errors: the kernel knows no such limits.
Status limit_ring(::io_uring& ring);

}  // namespace bellhop

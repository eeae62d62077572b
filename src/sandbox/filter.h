#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sandbox/seccomp_mode.h"
#include "sandbox/system_calls.h"

namespace bellhop::sandbox {

/// The system calls of a kind of thread as a program for the kernel.
using Filter = std::vector<::sock_filter>;

/// Makes it from the table. `mode` is not kOff. Errors: no memory or descriptor left.
Result<Filter> make_filter(ThreadKind kind, SeccompMode mode);

/// Gives the calling thread, and those that it starts, a filter for good. With kLog, returns the
/// descriptor at which refused calls are heard of. Errors: the kernel has no seccomp, or not what
/// kLog needs (Linux 5.5); no memory left.
Result<UniqueFd> install_filter(const Filter& filter, SeccompMode mode);

}  // namespace bellhop::sandbox

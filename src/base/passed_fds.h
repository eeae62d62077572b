#pragma once

#include <sys/socket.h>

#include <vector>

#include "base/unique_fd.h"

namespace bellhop {

/// Adds the descriptors that came with a message of a Unix socket (SCM_RIGHTS): they are ours from
/// here on, wanted or not. False if there was no room for all of them in the message's control
/// bytes; those that are missing are closed.
bool take_passed_fds(::msghdr& message, std::vector<UniqueFd>& fds);

}  // namespace bellhop

#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Adds the descriptors that came with a message of a Unix socket (SCM_RIGHTS): they are ours from
/// here on, wanted or not. False if there was no room for all of them in the message's control
/// bytes; those that are missing are closed.
bool take_passed_fds(::msghdr& message, std::vector<UniqueFd>& fds);

/// Has `fds`, of which there is one at least, go with a message. `control` is for CMSG_SPACE of
/// them, aligned as a cmsghdr, and lives until the message is sent.
void pass_fds(::msghdr& message, std::span<const int> fds, std::span<std::byte> control) noexcept;

/// Adopts a descriptor that this process was started with, by its number as a user gives it
/// ("fd=5"). Errors: no number of 3 or more, or with a zero before it, so that one descriptor has
/// one name; whether it is open is for the next call to find.
Result<UniqueFd> take_inherited_fd(std::string_view number);

}  // namespace bellhop

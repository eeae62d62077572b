#pragma once

#include <poll.h>

#include <span>

namespace bellhop {

/// poll() for threads that have nothing else to do: a failure of it (a signal, no memory left) is
/// no event, and comes back only after a moment, so that a loop around it never spins. Returns how
/// many are ready; 0 after `milliseconds` (-1: no limit) or a failure, with every `revents` 0.
int wait_ready(std::span<pollfd> fds, int milliseconds) noexcept;

}  // namespace bellhop

#pragma once

#include <functional>
#include <string_view>
#include <thread>

#include "base/result.h"

namespace bellhop {

/// The only place where threads are made. The new one takes no signal: those are the main thread's
/// to handle. Errors: the host allows no more threads; the message names `what`.
Result<std::thread> start_thread(std::string_view what, std::function<void()> body);

/// Runs `body` on a thread of its own and waits for its end: for work that is pinned to CPUs while
/// the caller's CPU set stays as it is. Errors: as start_thread().
Status run_on_thread(std::string_view what, std::function<void()> body);

}  // namespace bellhop

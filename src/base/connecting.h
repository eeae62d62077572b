#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"

namespace bellhop {

/// Runs `body`, which makes a socket and connects it: here, or on a thread of its own where the
/// calling one is confined (base/thread.h) and may make none. Returns when it has run. `what` is
/// whose connection it is. Errors: as start_thread().
Status run_connecting(std::string_view what, const std::function<void()>& body);

}  // namespace bellhop

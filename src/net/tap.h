#pragma once

#include <memory>

#include "net/net_backend.h"
#include "net/net_source.h"

namespace bellhop {

/// Opens a tap: a network interface of the host whose wire ends in this process. It is brought up.
/// With more than one pair it has a queue for each, and the host spreads flows over those in use.
///
/// Errors name the option and say what is wrong: no tap device in this kernel, no rights to make or
/// use the interface, in use by another process, a name that is none, a descriptor that is no tap.
Result<std::shared_ptr<NetBackend>> open_tap(const TapSource& source);

}  // namespace bellhop

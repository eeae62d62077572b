#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "net/net_backend.h"

namespace bellhop {

/// `--net tap=NAME` or `--net fd=N[:N...]`.
struct TapConfig {
  std::string name;      ///< of the interface; made for as long as we live if it is not there
  std::vector<int> fds;  ///< instead of a name: open taps, one for each pair; they become ours
  unsigned pairs = 1;
  std::uint16_t mtu = 0;  ///< bytes to set the interface to; 0: leave it
};

/// Opens a tap: a network interface of the host whose wire ends in this process. It is brought up.
/// With more than one pair it has a queue for each, and the host spreads flows over those in use.
///
/// Errors name the option and say what is wrong: no tap device in this kernel, no rights to make or
/// use the interface, in use by another process, a name that is none, a descriptor that is no tap.
Result<std::shared_ptr<NetBackend>> open_tap(const TapConfig& config);

}  // namespace bellhop

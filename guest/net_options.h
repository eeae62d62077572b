#pragma once

#include <cstdint>

#include "guest/net_wire.h"
#include "guest/nic.h"
#include "guest/options.h"

// What the command line asks of the network workloads. See README.md for the words.
namespace bellhop::guest {

struct NetOptions {
  const Options* common = nullptr;
  NicFeatures features;
  wire::Cut cut;
  bool to_guest = false;
  std::uint32_t nic = 0;
  std::uint32_t window_bytes = 512 * 1024;
  std::uint32_t batch = 1;            ///< messages for one publication
  std::uint32_t receive_buffers = 0;  ///< 0: as many as suit their size
  std::uint32_t receive_bytes = 0;    ///< of one buffer; 0: the largest frame
};

/// Reads the command line; ends the guest with kExitUsage when it is wrong.
NetOptions parse_net_options(const Options& common);

}  // namespace bellhop::guest

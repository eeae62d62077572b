#pragma once

#include <cstdint>

// Console device (virtio 1.3 section 5.3).
namespace bellhop::virtio {

// Feature bit numbers (5.3.3).
inline constexpr unsigned kConsoleFeatureSize = 0;
inline constexpr unsigned kConsoleFeatureMultiport = 1;
inline constexpr unsigned kConsoleFeatureEmergWrite = 2;

// Queues (5.3.2). Ports from 1 on have theirs behind these, a receive and a transmit queue each.
inline constexpr unsigned kConsoleReceiveQueue = 0;
inline constexpr unsigned kConsoleTransmitQueue = 1;
inline constexpr unsigned kConsoleControlReceiveQueue = 2;
inline constexpr unsigned kConsoleControlTransmitQueue = 3;

/// Device configuration (5.3.4).
struct [[gnu::packed]] ConsoleConfigSpace {
  std::uint16_t cols;          ///< with SIZE
  std::uint16_t rows;          ///< with SIZE
  std::uint32_t max_nr_ports;  ///< with MULTIPORT
  std::uint32_t emerg_wr;      ///< with EMERG_WRITE
};
static_assert(sizeof(ConsoleConfigSpace) == 12);

/// A message on a control queue (5.3.6.2); a name or a ConsoleSize may follow.
struct [[gnu::packed]] ConsoleControlMessage {
  std::uint32_t id;  ///< of the port
  std::uint16_t event;
  std::uint16_t value;
};
static_assert(sizeof(ConsoleControlMessage) == 8);

// Events (5.3.6.2).
inline constexpr std::uint16_t kConsoleDeviceReady = 0;
inline constexpr std::uint16_t kConsolePortAdd = 1;
inline constexpr std::uint16_t kConsolePortRemove = 2;
inline constexpr std::uint16_t kConsolePortReady = 3;
inline constexpr std::uint16_t kConsoleConsolePort = 4;
inline constexpr std::uint16_t kConsoleResize = 5;
inline constexpr std::uint16_t kConsolePortOpen = 6;
inline constexpr std::uint16_t kConsolePortName = 7;

/// Follows a RESIZE (5.3.6.2).
struct [[gnu::packed]] ConsoleSize {
  std::uint16_t cols;
  std::uint16_t rows;
};
static_assert(sizeof(ConsoleSize) == 4);

}  // namespace bellhop::virtio

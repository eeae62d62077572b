#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"

namespace bellhop::bench {

enum class NetWorkload : std::uint8_t {
  kStream,   ///< messages one way, as fast as they go
  kPing,     ///< one byte there and back, one at a time
  kPackets,  ///< frames of 64 bytes one way
};
enum class Direction : std::uint8_t { kGuestToHost, kHostToGuest };
/// Who serves the queues, and where a kick goes.
enum class NetNotify : std::uint8_t { kSync, kIoEventFd, kVhost, kPoll, kAdaptive };
/// What crosses the link as one frame.
enum class Framing : std::uint8_t {
  kGso,    ///< trains of up to 64 KiB, which offload cuts into datagrams of 1472 bytes
  kMtu,    ///< each datagram of 1472 bytes
  kJumbo,  ///< each datagram of up to 64 KiB, on a link of that MTU
  kTcp,    ///< what the TCP of a Linux guest makes of the stream
};

/// Whether Bellhop's NIC joins the guest's datagrams to trains (gro=on).
enum class Trains : std::uint8_t { kOn, kOff };

/// One cell of a sweep of `bellhop bench net`. One vCPU, one pair of queues, one flow.
struct NetCell {
  NetWorkload workload = NetWorkload::kStream;
  Direction direction = Direction::kGuestToHost;  ///< kPing goes both ways
  unsigned message_bytes = 0;
  Framing framing = Framing::kGso;
  Placement placement = Placement::kFree;
  Vmm vmm = Vmm::kBellhop;
  NetNotify notify = NetNotify::kSync;
  Trains trains = Trains::kOn;  ///< of a peer always
  friend auto operator<=>(const NetCell&, const NetCell&) = default;
};

/// Which cells; every list is one that the command line can narrow.
struct NetSweep {
  std::vector<NetWorkload> workloads = {NetWorkload::kStream, NetWorkload::kPing,
                                        NetWorkload::kPackets};
  std::vector<Direction> directions = {Direction::kGuestToHost, Direction::kHostToGuest};
  std::vector<unsigned> message_bytes = {65536, 16384, 4096, 1024};
  std::vector<Framing> framings = {Framing::kGso};
  std::vector<Placement> placements;
  std::vector<Vmm> vmms = {Vmm::kBellhop};
  std::vector<NetNotify> notify = {NetNotify::kSync, NetNotify::kIoEventFd, NetNotify::kVhost};
  std::vector<Trains> trains = {Trains::kOn};  ///< without them where they make a difference
};

/// UDP payload of a frame of 64 bytes (without its checksum).
inline constexpr unsigned kSmallestMessage = 22;

const char* to_string(NetWorkload workload) noexcept;
const char* to_string(Direction direction) noexcept;
const char* to_string(NetNotify notify) noexcept;
const char* to_string(Framing framing) noexcept;
/// As the values of gro= are called.
const char* to_string(Trains trains) noexcept;
/// Whether --gro makes a difference: the guest sends datagrams, and Bellhop itself moves them.
bool has_trains(const NetCell& cell) noexcept;
/// "bellhop stream guest-to-host 65536 ioeventfd other-core, gso".
std::string describe(const NetCell& cell);

/// Whether reports have the ratio of `cell` to `base`: another way to notify to sync, or Bellhop to
/// a peer, everything else the same (a peer has no --gro).
bool is_compared(const NetCell& cell, const NetCell& base);

/// Largest UDP payload, and the link's MTU for it.
unsigned datagram_bytes(Framing framing) noexcept;
unsigned link_mtu(Framing framing) noexcept;

/// In the order in which they are run: the cells of one compared set (same workload, direction and
/// message size) stand together.
std::vector<std::vector<NetCell>> compared_sets(const NetSweep& sweep);

}  // namespace bellhop::bench

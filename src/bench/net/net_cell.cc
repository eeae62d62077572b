#include "bench/net/net_cell.h"

#include <fmt/format.h>

namespace bellhop::bench {

namespace {

/// Ethernet's own: 1500 bytes, less the headers of IPv4 and UDP.
constexpr unsigned kHeadBytes = 28;
constexpr unsigned kEthernetMtu = 1500;
/// A tap device's largest, rounded down so that datagrams are whole words.
constexpr unsigned kJumboMtu = 65516;

using Cells = std::vector<std::vector<NetCell>>;

void add_set(Cells& sets, const NetSweep& sweep, const NetCell& common,
             const std::vector<Framing>& framings) {
  auto& set = sets.emplace_back();
  for (const Framing framing : framings) {
    for (const Placement placement : sweep.placements) {
      for (const Vmm vmm : sweep.vmms) {
        for (const NetNotify notify : sweep.notify) {
          NetCell cell = common;
          cell.framing = framing;
          cell.placement = placement;
          cell.vmm = vmm;
          cell.notify = notify;
          if (!has_trains(cell)) {
            set.push_back(cell);
            continue;
          }
          for (const Trains trains : sweep.trains) {
            cell.trains = trains;
            set.push_back(cell);
          }
        }
      }
    }
  }
}

}  // namespace

const char* to_string(NetWorkload workload) noexcept {
  switch (workload) {
    case NetWorkload::kStream:
      return "stream";
    case NetWorkload::kPing:
      return "ping";
    case NetWorkload::kPackets:
      return "packets";
  }
  return "";
}

const char* to_string(Direction direction) noexcept {
  return direction == Direction::kGuestToHost ? "guest-to-host" : "host-to-guest";
}

const char* to_string(NetNotify notify) noexcept {
  switch (notify) {
    case NetNotify::kSync:
      return "sync";
    case NetNotify::kIoEventFd:
      return "ioeventfd";
    case NetNotify::kVhost:
      return "vhost-net";
    case NetNotify::kPoll:
      return "poll";
    case NetNotify::kAdaptive:
      return "adaptive";
  }
  return "";
}

const char* to_string(Framing framing) noexcept {
  switch (framing) {
    case Framing::kGso:
      return "gso";
    case Framing::kMtu:
      return "mtu";
    case Framing::kJumbo:
      return "jumbo";
    case Framing::kTcp:
      return "tcp";
  }
  return "";
}

const char* to_string(Trains trains) noexcept { return trains == Trains::kOn ? "on" : "off"; }

std::string describe(const NetCell& cell) {
  std::string what = to_string(cell.workload);
  if (cell.workload != NetWorkload::kPing) what += fmt::format(" {}", to_string(cell.direction));
  if (cell.workload == NetWorkload::kStream) {
    what += fmt::format(" {} ({})", cell.message_bytes, to_string(cell.framing));
  }
  return fmt::format("{} {} {} {}{}", describe(cell.vmm), what, to_string(cell.notify),
                     to_string(cell.placement), cell.trains == Trains::kOn ? "" : ", gro=off");
}

bool has_trains(const NetCell& cell) noexcept {
  return cell.vmm == Vmm::kBellhop && cell.notify != NetNotify::kVhost &&
         cell.framing != Framing::kTcp && cell.workload != NetWorkload::kPing &&
         cell.direction == Direction::kGuestToHost;
}

bool is_compared(const NetCell& cell, const NetCell& base) {
  NetCell same = cell;
  if (cell.notify != base.notify) {
    if (base.notify != NetNotify::kSync) return false;
    same.notify = base.notify;
  } else {
    if (cell.vmm != Vmm::kBellhop || !base.vmm.is_qemu()) return false;
    same.vmm = base.vmm;
    same.trains = base.trains;
  }
  return same == base;
}

unsigned link_mtu(Framing framing) noexcept {
  return framing == Framing::kJumbo ? kJumboMtu : kEthernetMtu;
}

unsigned datagram_bytes(Framing framing) noexcept { return link_mtu(framing) - kHeadBytes; }

std::vector<std::vector<NetCell>> compared_sets(const NetSweep& sweep) {
  Cells sets;
  for (const NetWorkload workload : sweep.workloads) {
    NetCell common;
    common.workload = workload;
    if (workload == NetWorkload::kPing) {
      common.message_bytes = 1;
      add_set(sets, sweep, common, {Framing::kMtu});
      continue;
    }
    for (const Direction direction : sweep.directions) {
      common.direction = direction;
      if (workload == NetWorkload::kPackets) {
        common.message_bytes = kSmallestMessage;
        add_set(sets, sweep, common, {Framing::kMtu});
        continue;
      }
      for (const unsigned bytes : sweep.message_bytes) {
        common.message_bytes = bytes;
        add_set(sets, sweep, common, sweep.framings);
      }
    }
  }
  return sets;
}

}  // namespace bellhop::bench

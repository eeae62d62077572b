#include "bench/net/net_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bellhop::bench {

namespace {

constexpr unsigned kQueueSize = 256;
constexpr unsigned kSeed = 2010;
constexpr const char* kGuestMac = "52:54:00:be:11:02";

const char* guest_workload(const NetCell& cell) {
  switch (cell.workload) {
    case NetWorkload::kStream:
      return cell.direction == Direction::kGuestToHost ? "netsend" : "netrecv";
    case NetWorkload::kPing:
      return "netping";
    case NetWorkload::kPackets:
      return "netpps";
  }
  return "";
}

/// For scripts/linux-guest-init. iperf3 takes whole seconds only.
std::string linux_cmdline(const NetCell& cell, const NetSetting& setting, const Launch& launch) {
  const double warmup = std::max(std::ceil(launch.warmup_s), 1.0);
  return fmt::format(
      "console=ttyS0 quiet loglevel=1 panic=-1 message={} direction={} seconds={:.0f} "
      "warmup={:.0f}{}{}",
      cell.message_bytes, cell.direction == Direction::kGuestToHost ? "to-host" : "to-guest",
      std::ceil(setting.seconds), warmup, launch.extra_cmdline.empty() ? "" : " ",
      launch.extra_cmdline);
}

}  // namespace

std::string guest_cmdline(const NetCell& cell, const NetSetting& setting, const Launch& launch) {
  if (cell.framing == Framing::kTcp) return linux_cmdline(cell, setting, launch);
  std::string words = fmt::format("workload={}", guest_workload(cell));
  if (cell.workload != NetWorkload::kPing) {
    words += fmt::format(" message={} datagram={} uso={} direction={}", cell.message_bytes,
                         datagram_bytes(cell.framing), cell.framing == Framing::kGso ? "on" : "off",
                         cell.direction == Direction::kGuestToHost ? "to-host" : "to-guest");
  }
  words += fmt::format(" seconds={:.3f} warmup={:.3f} size={} seed={}", setting.seconds,
                       launch.warmup_s, kQueueSize, kSeed);
  if (!launch.extra_cmdline.empty()) words += " " + launch.extra_cmdline;
  return words;
}

std::vector<std::string> bellhop_command(const NetCell& cell, const CpuPlan& plan,
                                         const NetSetting& setting, const Launch& launch) {
  auto command =
      bellhop_machine(launch, plan, 1, setting.transport, guest_cmdline(cell, setting, launch));
  const bool vhost = cell.notify == NetNotify::kVhost;
  command.emplace_back("--net");
  command.push_back(fmt::format("fd={},mac={},queue-size={},iothread=io0,gro={},notify={},vhost={}",
                                kTapFd, kGuestMac, kQueueSize, to_string(cell.trains),
                                vhost ? "ioeventfd" : to_string(cell.notify),
                                vhost ? "force" : "off"));
  return command;
}

std::vector<std::string> qemu_command(const NetCell& cell, const NetSetting& setting,
                                      const Launch& launch) {
  auto command =
      qemu_machine(setting.programs.qemus.at(cell.vmm.number), launch, 1,
                   guest_cmdline(cell, setting, launch) + guest_words(setting.transport));
  const auto add = [&command](const char* option, std::string value) {
    command.emplace_back(option);
    command.push_back(std::move(value));
  };
  add("-netdev", fmt::format("tap,id=net0,fd={},vhost={}", kTapFd,
                             cell.notify == NetNotify::kVhost ? "on" : "off"));
  add("-device",
      fmt::format("virtio-net-pci,netdev=net0,disable-legacy={},mac={},rx_queue_size={},"
                  "tx_queue_size={},ioeventfd={},romfile=",
                  setting.transport == TransportKind::kPciTransitional ? "off" : "on", kGuestMac,
                  kQueueSize, kQueueSize, cell.notify == NetNotify::kSync ? "off" : "on"));
  return command;
}

}  // namespace bellhop::bench

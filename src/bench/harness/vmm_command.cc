#include "bench/harness/vmm_command.h"

#include <fmt/format.h>

#include "bench/harness/bench_image.h"

namespace bellhop::bench {

namespace {

constexpr unsigned kQueueSize = 256;

/// Of `--disk` what lies under it.
std::string medium_keys(const BlkSetting& setting) {
  if (setting.null) {
    return fmt::format("null={},latency={}ns", setting.null->bytes, setting.null->latency.count());
  }
  return fmt::format("path={},cache={},aio={}", inherited_file(kImageFd), to_string(setting.cache),
                     to_string(setting.aio));
}

}  // namespace

std::string guest_cmdline(const BlkCell& cell, const BlkSetting& setting, const Launch& launch) {
  return fmt::format(
      "workload={} threads={} bs={} seconds={:.3f} warmup={:.3f} vcpus={} queues={} size={} "
      "seed={}{}{}{}{}",
      to_string(cell.workload), cell.threads, setting.block_bytes, setting.seconds, launch.warmup_s,
      cell.vcpus, cell.vcpus, kQueueSize, kImageSeed,
      cell.ring == RingLayout::kPacked ? " ring=packed" : "", setting.null ? " check=off" : "",
      launch.extra_cmdline.empty() ? "" : " ", launch.extra_cmdline);
}

std::vector<std::string> bellhop_command(const BlkCell& cell, const CpuPlan& plan,
                                         const BlkSetting& setting, const Launch& launch) {
  auto command = bellhop_machine(launch, plan, cell.vcpus, setting.transport,
                                 guest_cmdline(cell, setting, launch));
  command.emplace_back("--disk");
  command.push_back(medium_keys(setting) +
                    fmt::format(",queues={},queue-size={},notify={},iothread=io0", cell.vcpus,
                                kQueueSize, bellhop::to_string(cell.notify)));
  if (cell.ring == RingLayout::kPacked) command.back() += ",packed=on";
  if (cell.notify == NotifyMode::kAdaptive) {
    command.back() += fmt::format(",optimize={}", bellhop::to_string(setting.optimize));
  }
  return command;
}

std::vector<std::string> qemu_command(const BlkCell& cell, const BlkSetting& setting,
                                      const Launch& launch) {
  const bool ioeventfd = cell.notify == NotifyMode::kIoEventFd;
  const Qemu& qemu = setting.programs.qemus.at(cell.vmm.number);
  auto command =
      qemu_machine(qemu, launch, cell.vcpus,
                   guest_cmdline(cell, setting, launch) + guest_words(setting.transport));
  const auto add = [&command](const char* option, std::string value) {
    command.emplace_back(option);
    command.push_back(std::move(value));
  };
  if (qemu.best) {
    // Without the layer of format=raw, which counts and checks each request once more.
    add("-blockdev",
        fmt::format("driver=file,node-name=disk0,filename={},aio={},cache.direct={},discard=ignore",
                    inherited_file(kImageFd), to_string(setting.aio),
                    setting.cache == Cache::kNone ? "on" : "off"));
  } else {
    add("-drive",
        fmt::format("if=none,id=disk0,file={},format=raw,cache={},aio={}", inherited_file(kImageFd),
                    to_string(setting.cache), to_string(setting.aio)));
  }
  add("-device",
      fmt::format("virtio-blk-pci,drive=disk0,disable-legacy={},num-queues={},queue-size={},"
                  "ioeventfd={}{}{}",
                  setting.transport == TransportKind::kPciTransitional ? "off" : "on", cell.vcpus,
                  kQueueSize, ioeventfd ? "on" : "off", ioeventfd ? ",iothread=io0" : "",
                  qemu.best ? ",config-wce=off,discard=off,write-zeroes=off" : "",
                  cell.ring == RingLayout::kPacked ? ",packed=on" : ""));
  if (ioeventfd)
    add("-object", qemu.best ? "iothread,id=io0,poll-max-ns=64000" : "iothread,id=io0");
  return command;
}

}  // namespace bellhop::bench

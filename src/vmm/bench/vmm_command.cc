#include "vmm/bench/vmm_command.h"

#include <fmt/format.h>

#include "vmm/bench/bench_image.h"

namespace bellhop::bench {

namespace {

constexpr const char* kMemory = "256M";
constexpr unsigned kQueueSize = 256;

std::string inherited_file(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

std::string guest_cmdline(const BlkCell& cell, const BlkSetting& setting, const BlkLaunch& launch) {
  return fmt::format(
      "workload={} threads={} bs={} seconds={:.3f} warmup={:.3f} vcpus={} queues={} size={} "
      "seed={}{}{}",
      to_string(cell.workload), cell.threads, setting.block_bytes, setting.seconds, launch.warmup_s,
      cell.vcpus, cell.vcpus, kQueueSize, kImageSeed, launch.extra_cmdline.empty() ? "" : " ",
      launch.extra_cmdline);
}

std::vector<std::string> bellhop_command(const BlkCell& cell, const CpuPlan& plan,
                                         const BlkSetting& setting, const BlkLaunch& launch) {
  std::vector<std::string> command = {
      launch.bellhop,
      "run",
      "--kernel",
      launch.guest,
      "--cpus",
      fmt::format("{}", cell.vcpus),
      "--memory",
      kMemory,
      "--transport",
      setting.transport == TransportKind::kPci ? "pci" : "mmio",
      "--cmdline",
      guest_cmdline(cell, setting, launch),
      "--stats",
      inherited_file(kStatsFd),
      "--iothread",
      plan.io.empty() ? "io0" : "io0,cpus=" + format_cpu_list(plan.io),
      "--disk",
      fmt::format("path={},cache={},aio={},queues={},queue-size={},notify={},iothread=io0",
                  inherited_file(kImageFd), to_string(setting.cache), to_string(setting.aio),
                  cell.vcpus, kQueueSize, bellhop::to_string(cell.notify))};
  std::string affinity;
  for (std::size_t i = 0; i < plan.vcpus.size(); ++i) {
    affinity += fmt::format("{}{}={}", i == 0 ? "" : ",", i, format_cpu_list(plan.vcpus[i]));
  }
  if (!affinity.empty()) {
    command.emplace_back("--vcpu-affinity");
    command.push_back(affinity);
  }
  return command;
}

std::vector<std::string> qemu_command(const BlkCell& cell, const BlkSetting& setting,
                                      const BlkLaunch& launch) {
  const bool ioeventfd = cell.notify == NotifyMode::kIoEventFd;
  std::vector<std::string> command = {
      launch.qemu,
      "-M",
      "q35",
      "-accel",
      "kvm",
      "-cpu",
      "qemu64",
      "-smp",
      fmt::format("{}", cell.vcpus),
      "-m",
      kMemory,
      "-nodefaults",
      "-no-user-config",
      "-display",
      "none",
      "-no-reboot",
      "-serial",
      "stdio",
      "-device",
      "isa-debug-exit,iobase=0xf4,iosize=0x04",
      "-chardev",
      fmt::format("socket,id=control,fd={}", kQmpFd),
      "-mon",
      "chardev=control,mode=control",
      "-S",
      "-kernel",
      launch.guest,
      "-append",
      guest_cmdline(cell, setting, launch),
      "-drive",
      fmt::format("if=none,id=disk0,file={},format=raw,cache={},aio={}", inherited_file(kImageFd),
                  to_string(setting.cache), to_string(setting.aio)),
      "-device",
      fmt::format("virtio-blk-pci,drive=disk0,disable-legacy=on,num-queues={},queue-size={},"
                  "ioeventfd={}{}",
                  cell.vcpus, kQueueSize, ioeventfd ? "on" : "off",
                  ioeventfd ? ",iothread=io0" : "")};
  if (ioeventfd) {
    command.emplace_back("-object");
    command.emplace_back("iothread,id=io0");
  }
  return command;
}

}  // namespace bellhop::bench

#include "bench/harness/machine_command.h"

#include <fmt/format.h>

namespace bellhop::bench {

namespace {

constexpr const char* kMemory = "256M";

}  // namespace

std::string guest_words(TransportKind transport) {
  return transport == TransportKind::kPciTransitional ? " transport=legacy" : "";
}

std::string inherited_file(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

std::vector<std::string> bellhop_machine(const Launch& launch, const CpuPlan& plan, unsigned vcpus,
                                         TransportKind transport, const std::string& cmdline) {
  std::vector<std::string> command = {
      launch.bellhop, "run",
      "--kernel",     launch.guest,
      "--cpus",       fmt::format("{}", vcpus),
      "--memory",     kMemory,
      "--transport",  to_string(transport),
      "--cmdline",    cmdline + guest_words(transport),
      "--stats",      inherited_file(kStatsFd),
      "--iothread",   plan.io.empty() ? "io0" : "io0,cpus=" + format_cpu_list(plan.io)};
  if (!launch.initrd.empty()) {
    command.emplace_back("--initrd");
    command.push_back(launch.initrd);
  }
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

std::vector<std::string> qemu_machine(const Qemu& qemu, const Launch& launch, unsigned vcpus,
                                      const std::string& cmdline) {
  std::vector<std::string> command = {qemu.path,
                                      "-M",
                                      "q35",
                                      "-accel",
                                      "kvm",
                                      "-cpu",
                                      qemu.best ? "host" : "qemu64",
                                      "-smp",
                                      fmt::format("{}", vcpus),
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
                                      cmdline};
  if (!launch.initrd.empty()) {
    command.emplace_back("-initrd");
    command.push_back(launch.initrd);
  }
  return command;
}

}  // namespace bellhop::bench

#include "probe/probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "hypervisor/kvm/kvm_system.h"
#include "sandbox/landlock.h"

namespace bellhop {
namespace {

// Where the ioeventfds of the count lie: no RAM, no device.
constexpr std::uint64_t kCountBase = 0xd100'0000;

Feature missing(std::string why) { return {false, std::move(why)}; }

Feature probe_device(const char* path) {
  const UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return {true, {}};
  return missing(fmt::format("{}: {}", path, std::strerror(errno)));
}

Feature probe_io_uring() {
  io_uring ring{};
  const int code = ::io_uring_queue_init(2, &ring, 0);
  if (code < 0) {
    return missing(fmt::format("{}{}", std::strerror(-code),
                               code == -EPERM ? " (see the sysctl kernel.io_uring_disabled)" : ""));
  }
  ::io_uring_queue_exit(&ring);
  return {true, {}};
}

Feature probe_linux_aio() {
  aio_context_t context = 0;
  if (::syscall(SYS_io_setup, 1, &context) < 0) return missing(std::strerror(errno));
  ::syscall(SYS_io_destroy, context);
  return {true, {}};
}

Feature probe_irqfd(Hypervisor& hypervisor) {
  auto vm = hypervisor.create_vm();
  if (!vm) return missing(vm.error().message);
  const auto event = EventFd::create();
  if (!event) return missing(event.error().message);
  const auto gsi = (*vm)->allocate_msi_route();
  if (!gsi) return missing(gsi.error().message);
  Status status = (*vm)->set_msi_route(*gsi, {0xfee0'0000, 0x40});
  if (status) status = (*vm)->attach_irqfd(*event, *gsi);
  if (status) status = (*vm)->detach_irqfd(*event, *gsi);
  return status ? Feature{true, {}} : missing(status.error().message);
}

// Other work on the CPUs makes every floor too high.
void note_load(ProbeReport& report) {
  double load = 0;
  if (::getloadavg(&load, 1) == 1 && load > report.host.cpus * 0.75) {
    report.notes.push_back(fmt::format(
        "the host is busy (load {:.1f} on {} CPUs): figures are higher than they need to be", load,
        report.host.cpus));
  }
}

void probe_kvm(ProbeReport& report, const ProbeOptions& options) {
  auto hypervisor = open_kvm();
  if (const auto system = KvmSystem::open()) {
    report.kvm_api = (*system)->api_version();
    report.max_vcpus = (*system)->max_vcpus();
    for (const KvmCapability& capability : kvm_capabilities()) {
      report.capabilities.emplace_back(capability.name, (*system)->check(capability.number));
    }
  }
  if (!hypervisor) {
    report.kvm = missing(hypervisor.error().message);
    report.irqfd = missing("no KVM");
    return;
  }
  report.kvm.present = true;
  report.irqfd = probe_irqfd(**hypervisor);
  if (const auto limit = count_ioeventfds(**hypervisor, options.ioeventfd_bound)) {
    report.ioeventfds = *limit;
  } else {
    report.notes.push_back("ioeventfds could not be counted: " + limit.error().message);
  }
  if (!options.floors) return;
  if (auto floors = measure_floors(**hypervisor, options.cpus, report.notes)) {
    report.floors = *floors;
    if (report.kernel_mode_interpreted()) {
      report.host.kvm += ", guest kernel mode interpreted";
      report.notes.emplace_back(
          "this KVM interprets guest kernel mode: stock kernels do not run well here, the bench "
          "guest, which works in user mode, does");
    }
  } else {
    report.notes.push_back("floors could not be measured: " + floors.error().message);
  }
}

std::string yes_no(const Feature& feature) {
  if (feature.present) return "yes";
  return feature.why_not.empty() ? "no" : "no: " + feature.why_not;
}

nlohmann::ordered_json feature_json(const Feature& feature) {
  nlohmann::ordered_json json;
  json["present"] = feature.present;
  if (!feature.present) json["why_not"] = feature.why_not;
  return json;
}

std::string limit_text(const std::optional<IoeventfdLimit>& limit) {
  if (!limit) return "not counted";
  return fmt::format("{}{}{}", limit->at_least ? "at least " : "", limit->allowed,
                     !limit->at_least && limit->allowed < 7 ? " (old kernels allow six)" : "");
}

}  // namespace

Result<IoeventfdLimit> count_ioeventfds(Hypervisor& hypervisor, unsigned bound) {
  auto vm = hypervisor.create_vm();
  if (!vm) return forward(vm);
  const auto event = EventFd::create();
  if (!event) return forward(event);
  const auto match = [](unsigned i) {
    return IoEventMatch{IoSpace::kMmio, kCountBase + std::uint64_t{i} * 4, 4, std::nullopt};
  };
  IoeventfdLimit limit;
  Status refusal;
  while (limit.allowed < bound && refusal) {
    refusal = (*vm)->attach_ioeventfd(*event, match(limit.allowed));
    if (refusal) ++limit.allowed;
  }
  limit.at_least = refusal.has_value();
  for (unsigned i = limit.allowed; i-- > 0;) {
    if (auto status = (*vm)->detach_ioeventfd(*event, match(i)); !status) return forward(status);
  }
  if (!refusal && refusal.error().code != ENOSPC) return forward(refusal);
  return limit;
}

ProbeReport probe_host(const ProbeOptions& options) {
  ProbeReport report;
  report.host = read_host_facts(options.version);
  report.io_uring = probe_io_uring();
  report.linux_aio = probe_linux_aio();
  report.vhost_net = probe_device("/dev/vhost-net");
  report.tun = probe_device("/dev/net/tun");
  const sandbox::LandlockVersion landlock = sandbox::landlock_version();
  report.landlock_abi = landlock.abi;
  report.landlock = landlock.abi > 0 ? Feature{true, {}} : missing(std::strerror(landlock.error));
  note_load(report);
  probe_kvm(report, options);
  if (!report.kvm.present) {
    report.host.kvm = "none";
    if (options.floors) measure_wakes(report.floors, options.cpus, report.notes);
  }
  report.verdict = judge(report.floors, options.cpus.empty() ? allowed_cpus() : options.cpus,
                         report.tun.present);
  return report;
}

nlohmann::ordered_json to_json(const ProbeReport& report) {
  nlohmann::ordered_json json;
  json["schema"] = 1;
  json["host"] = to_json(report.host);
  json["floors"] = to_json(report.floors);
  json["runs"] = nlohmann::ordered_json::array();
  nlohmann::ordered_json& probe = json["probe"];
  probe["kvm"] = feature_json(report.kvm);
  if (report.kvm_api != 0) {
    probe["kvm"]["api"] = report.kvm_api;
    probe["kvm"]["max_vcpus"] = report.max_vcpus;
    for (const auto& [name, value] : report.capabilities) {
      probe["kvm"]["capabilities"][name] = value;
    }
  }
  probe["kernel_mode_interpreted"] = report.floors.kernel_mode_ratio
                                         ? nlohmann::ordered_json(report.kernel_mode_interpreted())
                                         : nlohmann::ordered_json(nullptr);
  if (report.ioeventfds) {
    probe["ioeventfds"]["allowed"] = report.ioeventfds->allowed;
    probe["ioeventfds"]["at_least"] = report.ioeventfds->at_least;
  } else {
    probe["ioeventfds"] = nullptr;
  }
  probe["irqfd"] = feature_json(report.irqfd);
  probe["io_uring"] = feature_json(report.io_uring);
  probe["linux_aio"] = feature_json(report.linux_aio);
  probe["vhost_net"] = feature_json(report.vhost_net);
  probe["tun"] = feature_json(report.tun);
  probe["landlock"] = feature_json(report.landlock);
  if (report.landlock.present) probe["landlock"]["abi"] = report.landlock_abi;
  probe["notes"] = report.notes;
  probe["verdict"] = to_json(report.verdict);
  return json;
}

std::string to_text(const ProbeReport& report) {
  std::string text;
  const auto line = [&](std::string_view name, std::string_view value) {
    text += fmt::format("  {:<34} {}\n", name, value);
  };
  const auto cost = [&](std::string_view name, const std::optional<double>& value) {
    if (value) text += fmt::format("  {:<34} {:>9.2f} us\n", name, *value);
  };
  const HostFacts& host = report.host;
  text += "Host\n";
  line("CPUs", fmt::format("{} x {}", host.cpus, host.cpu_model));
  line("kernel", host.kernel);
  line("frequency governor", host.governor);
  line("KVM", report.kvm.present ? host.kvm : yes_no(report.kvm));
  if (report.kvm_api != 0) {
    line("KVM API, vCPUs", fmt::format("{}, up to {}", report.kvm_api, report.max_vcpus));
    std::string lacking;
    for (const auto& [name, value] : report.capabilities) {
      if (value <= 0) lacking += (lacking.empty() ? "" : ", ") + name;
    }
    line("KVM capabilities", lacking.empty() ? "all that Bellhop asks for" : "without " + lacking);
  }
  if (host.halt_poll_ns)
    line("polling before a vCPU sleeps", fmt::format("{} ns", *host.halt_poll_ns));
  if (report.kvm.present) line("ioeventfds in one VM", limit_text(report.ioeventfds));
  line("irqfd", yes_no(report.irqfd));
  line("io_uring", yes_no(report.io_uring));
  line("linux-aio", yes_no(report.linux_aio));
  line("vhost-net", yes_no(report.vhost_net));
  line("tap devices", yes_no(report.tun));
  line("Landlock", report.landlock.present ? fmt::format("version {}", report.landlock_abi)
                                           : yes_no(report.landlock));

  const Floors& floors = report.floors;
  text += "Floors (medians)\n";
  cost("exit to user space, MMIO write", floors.userspace_exit_us);
  cost("exit to user space, OUT", floors.userspace_exit_pio_us);
  cost("ioeventfd kick, MMIO, 2 bytes", floors.ioeventfd_kick_us);
  cost("ioeventfd kick, MMIO, any length", floors.ioeventfd_kick_len0_us);
  cost("ioeventfd kick, MMIO, 4 bytes", floors.ioeventfd_kick_len4_us);
  cost("ioeventfd kick, OUT, 2 bytes", floors.ioeventfd_kick_pio_us);
  cost("irqfd to the guest's handler", floors.irqfd_to_handler_us);
  cost("eventfd wake-up, same core", floors.wake_same_core_us);
  cost("eventfd wake-up, other core", floors.wake_other_core_us);
  if (floors.kernel_mode_ratio) {
    line("guest kernel mode / user mode",
         fmt::format("{:>9.1f} times the time for an instruction", *floors.kernel_mode_ratio));
  }
  for (const std::string& note : report.notes) text += "Note: " + note + "\n";
  return text + to_text(report.verdict);
}

}  // namespace bellhop

#include "bench/net/net_runner.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cpu_list.h"
#include "bench/net/net_end.h"
#include "bench/net/net_link.h"
#include "guest/net_wire.h"

namespace bellhop::bench {

namespace {

constexpr int kLinkPatienceMs = 5000;
constexpr std::chrono::seconds kQemuPatience{10};
/// Its boot may take long, on a host that is itself emulated.
constexpr std::chrono::seconds kLinuxPatience{120};

std::uint64_t count_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool flag_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

/// Returns only if there is no such program. What iperf3 prints for people nobody would read.
Status become_iperf_server(const std::string& iperf) {
  const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!nowhere.valid() || ::dup2(nowhere.get(), STDOUT_FILENO) < 0) {
    return fail_errno("cannot open /dev/null");
  }
  in_addr address{};
  address.s_addr = htonl(wire::kHostAddress);
  char text[INET_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET, &address, text, sizeof text);
  ::execlp(iperf.c_str(), iperf.c_str(), "--server", "--bind", text, nullptr);
  return fail_errno(fmt::format("cannot run {}", iperf));
}

/// Whether QEMU's virtio-net knows UDP segmentation at all.
bool knows_uso(const std::string& qemu, const EventFd& interrupt) {
  auto child = Child::spawn({qemu, "-device", "virtio-net-pci,help"}, {});
  if (!child) return false;
  const auto deadline = Child::Clock::now() + kQemuPatience;
  while (true) {
    auto line = child->read_line(deadline, interrupt);
    if (!line || !*line) return false;
    if ((*line)->find("host_uso") != std::string::npos) return true;
  }
}

}  // namespace

Result<Measurement> read_iperf_result(const nlohmann::json& result) {
  const auto report = result.find("iperf");
  if (report == result.end() || !report->is_object()) return fail("no report of iperf3 came");
  if (const auto error = report->find("error"); error != report->end() && error->is_string()) {
    return fail("iperf3: " + error->get<std::string>());
  }
  const nlohmann::json::json_pointer received("/end/sum_received");
  const nlohmann::json::json_pointer block("/start/test_start/blksize");
  if (!report->contains(received) || !report->at(received).is_object() ||
      !report->contains(block) || !report->at(block).is_number_unsigned()) {
    return fail("iperf3's report does not say what was received");
  }
  const nlohmann::json& sum = report->at(received);
  const auto seconds = sum.find("seconds");
  Measurement m;
  m.bytes = count_in(sum, "bytes");
  m.seconds = seconds != sum.end() && seconds->is_number() ? seconds->get<double>() : 0;
  const auto message = report->at(block).get<std::uint64_t>();
  m.operations = message == 0 ? 0 : m.bytes / message;
  if (m.operations == 0 || !(m.seconds > 0)) return fail("iperf3 received nothing");
  return m;
}

std::uint64_t iperf_retransmits(const nlohmann::json& result) {
  const nlohmann::json::json_pointer sent("/iperf/end/sum_sent");
  return result.contains(sent) && result.at(sent).is_object()
             ? count_in(result.at(sent), "retransmits")
             : 0;
}

Status serve_net_end(int control, unsigned mtu, const std::string& iperf) {
  if (auto entered = enter_network_namespace(); !entered) return entered;
  auto tap = make_tap(mtu);
  if (!tap) return forward(tap);
  if (!iperf.empty()) {
    if (auto sent = send_descriptor(control, tap->get()); !sent) return sent;
    tap->reset();
    return become_iperf_server(iperf);
  }
  auto socket = make_link_socket();
  if (!socket) return forward(socket);
  if (auto sent = send_descriptor(control, tap->get()); !sent) return sent;
  tap->reset();
  NetEnd end(std::move(*socket));
  return end.serve([control] {
    pollfd watched{control, 0, 0};
    return ::poll(&watched, 1, 0) > 0;  // closed
  });
}

void read_net_result(const nlohmann::json& result, NetMeasurement& measurement) {
  measurement.datagrams = count_in(result, "datagrams");
  measurement.datagrams_sent = count_in(result, "datagrams_sent");
  measurement.lost = count_in(result, "lost");
  measurement.frames = count_in(result, "frames_in") + count_in(result, "frames_out");
  const auto direction = result.find("direction");
  const bool to_guest = direction != result.end() && *direction == "host-to-guest";
  measurement.offload = flag_in(result, to_guest ? "guest_uso" : "uso");
}

Result<NetMeasurement> NetRunner::run(const NetCell& cell, const CpuPlan& plan) const {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno("cannot make a socket for the host's end");
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::vector<std::string> other = {launch_.bellhop,
                                    "bench",
                                    "net-end",
                                    "--control-fd",
                                    fmt::format("{}", kEndFd),
                                    "--mtu",
                                    fmt::format("{}", link_mtu(cell.framing))};
  const bool is_tcp = cell.framing == Framing::kTcp;
  if (is_tcp) {
    other.emplace_back("--iperf");
    other.push_back(launch_.iperf);
  }
  auto end = Child::spawn(other, {{theirs.get(), kEndFd}});
  if (!end) return forward(end);
  theirs.reset();
  if (auto pinned = pin_thread(end->pid(), setting_.end_cpus); !pinned) {
    return fail("the other end " + pinned.error().message, pinned.error().code);
  }
  auto tap = receive_descriptor(ours.get(), kLinkPatienceMs);
  if (!tap) {
    end->wait(Child::Clock::now());
    const std::string complaint = end->last_complaint();
    return fail(complaint.empty() ? tap.error().message : complaint);
  }
  const bool qemu = cell.vmm.is_qemu();
  MachineRun run;
  run.command =
      qemu ? qemu_command(cell, setting_, launch_) : bellhop_command(cell, plan, setting_, launch_);
  run.files = {{tap->get(), kTapFd}};
  run.plan = plan;
  run.seconds = setting_.seconds + launch_.warmup_s;
  run.other = end->pid();
  if (is_tcp) {
    run.patience = kLinuxPatience;
    run.read = read_iperf_result;
  }
  const auto outcome = qemu ? runner_.run_qemu(run) : runner_.run_bellhop(run);
  if (!outcome) {
    const std::string complaint = end->last_complaint();
    if (complaint.empty()) return forward(outcome);
    return fail(outcome.error().message + "; the host's end: " + complaint, outcome.error().code);
  }
  NetMeasurement measurement;
  static_cast<Measurement&>(measurement) = outcome->measurement;
  measurement.end_cpu_s = outcome->other_cpu_s;
  if (is_tcp) {
    measurement.retransmits = iperf_retransmits(outcome->result);
  } else {
    read_net_result(outcome->result, measurement);
  }
  return measurement;
}

std::string why_not(const NetCell& cell, const NetSetting& setting, bool qemu_has_uso) {
  const bool qemu = cell.vmm.is_qemu();
  if (!setting.programs.has(cell.vmm)) return "QEMU is not installed here";
  if (qemu && setting.transport == TransportKind::kMmio) {
    return "QEMU's q35 machine has no virtio-mmio; compare with --transport pci";
  }
  if (qemu && (cell.notify == NetNotify::kPoll || cell.notify == NetNotify::kAdaptive)) {
    return "QEMU's network devices have no such mode";
  }
  if (cell.notify == NetNotify::kVhost && ::access("/dev/vhost-net", F_OK) != 0) {
    return "/dev/vhost-net is missing on this host";
  }
  const bool trains = cell.framing == Framing::kGso && cell.workload == NetWorkload::kStream &&
                      cell.message_bytes > datagram_bytes(cell.framing);
  if (qemu && trains && !qemu_has_uso) {
    return fmt::format("QEMU {} has no UDP segmentation offload; compare with --framing mtu,jumbo",
                       setting.programs.version(cell.vmm));
  }
  return "";
}

void run_net_sweep(const NetSweep& sweep, const Launch& launch, const EventFd& interrupt,
                   const Earlier<NetMeasurement>& earlier, const SweepHooks& hooks,
                   NetReport& report) {
  const NetSetting& setting = report.setting;
  const CpuList available = allowed_cpus();
  std::vector<bool> qemu_has_uso;
  qemu_has_uso.reserve(setting.programs.qemus.size());
  for (const Qemu& qemu : setting.programs.qemus) {
    qemu_has_uso.push_back(!qemu.version.empty() && knows_uso(qemu.path, interrupt));
  }
  const NetRunner machines(setting, launch, interrupt);
  const CellRunner<NetCell, NetMeasurement> runner{
      [&](const NetCell& cell) -> Result<CpuPlan> {
        const bool has_uso = cell.vmm.is_qemu() && qemu_has_uso.at(cell.vmm.number);
        if (std::string reason = why_not(cell, setting, has_uso); !reason.empty()) {
          return fail(std::move(reason));
        }
        return plan_cpus(cell.placement, 1, available);
      },
      [&](const NetCell& cell, const CpuPlan& plan) { return machines.run(cell, plan); },
      // Its threads wait for the process at the other end as well.
      [](const NetCell&, const NetMeasurement& m) { return m.steal_s.value_or(0); }};
  Interleaved<NetReport, NetCell, NetMeasurement>(report, runner, hooks)
      .run(compared_sets(sweep), earlier);
}

}  // namespace bellhop::bench

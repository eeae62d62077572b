#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_session.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/scalar_option.h"
#include "base/cpu_list.h"
#include "bellhop_version.h"
#include "bench/net/net_page.h"
#include "bench/net/net_runner.h"
#include "guest/net_wire.h"
#include "hypervisor/hypervisor.h"
#include "probe/floors.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop bench net --quick                      a first look: one repeat of one second a cell
  bellhop bench net --json results.json --html report.html
  bellhop bench net --workload stream --direction host-to-guest --message-bytes 4096
  bellhop bench net --peer qemu --framing gso,mtu,jumbo --repeat 5
  bellhop bench net --guest linux --linux linux-guest    TCP, between iperf3 in Linux and on the host

Each cell is a machine of its own (bellhop run, or QEMU) with the bench guest in it, and a process
with a UDP socket at the other end of its tap device, in a network namespace that is made for it and
vanishes with it. The stream is no TCP: datagrams with a window and without retransmission; what is
lost is counted. Every byte is checked where it arrives; a wrong or reordered one and the cell gives
no figure. docs/bench-net.md says more.
Mb/s are 10^6 bits of UDP payload at the receiver; host CPU seconds are all that the VMM's process
spent, guest included, without the process that has the socket.)";

struct NetArguments {
  std::string workloads;
  std::string directions;
  std::string message_bytes;
  std::string framings;
  std::string notify;
  MachineArguments machines;
  TimeArguments times;
  std::string end_cpus;
  std::string transport = "pci";
  std::string gro;
  std::string guest;
  std::string linux_folder;
  std::string linux_kernel;
  std::string linux_initrd;
  std::string iperf = "iperf3";
  std::string guest_words;
  BenchOutput output;
};

/// All that a run needs, from the arguments.
struct NetJob {
  bench::NetSweep sweep;
  bench::NetSetting setting;
  bench::Launch launch;
  bench::Comparing comparing;
};

Status read_sweep(const NetArguments& arguments, bench::NetSweep& sweep,
                  bench::Programs& programs) {
  using bench::Direction;
  using bench::Framing;
  using bench::NetNotify;
  using bench::NetWorkload;
  OptionLists lists;
  lists.choices<NetWorkload>("--workload", arguments.workloads, sweep.workloads,
                             {{"stream", NetWorkload::kStream},
                              {"ping", NetWorkload::kPing},
                              {"packets", NetWorkload::kPackets}});
  lists.choices<Direction>(
      "--direction", arguments.directions, sweep.directions,
      {{"guest-to-host", Direction::kGuestToHost}, {"host-to-guest", Direction::kHostToGuest}});
  lists.numbers("--message-bytes", arguments.message_bytes, sweep.message_bytes, 16, 1 << 20);
  lists.choices<NetNotify>("--notify", arguments.notify, sweep.notify,
                           {{"sync", NetNotify::kSync},
                            {"ioeventfd", NetNotify::kIoEventFd},
                            {"vhost", NetNotify::kVhost},
                            {"poll", NetNotify::kPoll},
                            {"adaptive", NetNotify::kAdaptive}});
  read_machines(lists, arguments.machines, sweep.placements, sweep.vmms, programs);
  // A peer without segmentation offload is measured against Bellhop without it, too.
  if (!arguments.machines.peers.empty()) sweep.framings = {Framing::kGso, Framing::kMtu};
  // Nor do peers make trains.
  if (!arguments.machines.peers.empty()) sweep.trains = {bench::Trains::kOn, bench::Trains::kOff};
  lists.choices<bench::Trains>("--gro", arguments.gro, sweep.trains,
                               {{"on", bench::Trains::kOn}, {"off", bench::Trains::kOff}});
  lists.choices<Framing>(
      "--framing", arguments.framings, sweep.framings,
      {{"gso", Framing::kGso}, {"mtu", Framing::kMtu}, {"jumbo", Framing::kJumbo}});
  return lists.status();
}

Status read_setting(const NetArguments& arguments, NetJob& job) {
  OptionLists lists;
  lists.choice<TransportKind>("--transport", arguments.transport, job.setting.transport,
                              {{"pci", TransportKind::kPci},
                               {"pci-transitional", TransportKind::kPciTransitional},
                               {"mmio", TransportKind::kMmio}});
  Times times;
  read_times(lists, arguments.times, times);
  take_times(times, job);
  if (!lists.status() || arguments.end_cpus.empty()) return lists.status();
  auto cpus = parse_cpu_list(arguments.end_cpus);
  if (!cpus) return fail("--end-cpus: " + cpus.error().message);
  job.setting.end_cpus = std::move(*cpus);
  return {};
}

/// The rest of a job with the Linux guest: TCP knows neither other workloads nor framings.
Status use_linux_guest(const NetArguments& arguments, NetJob& job) {
  if (!arguments.workloads.empty() && arguments.workloads != "stream") {
    return fail("--workload: with --guest linux there is the stream only");
  }
  if (!arguments.framings.empty()) {
    return fail("--framing: with --guest linux TCP makes the frames; leave it out");
  }
  if (job.setting.seconds < 1 || job.setting.seconds != std::floor(job.setting.seconds)) {
    return fail("--seconds: iperf3 measures whole seconds only (--guest linux)");
  }
  job.sweep.workloads = {bench::NetWorkload::kStream};
  job.sweep.framings = {bench::Framing::kTcp};
  const std::string& folder = arguments.linux_folder;
  job.launch.guest = arguments.linux_kernel.empty() ? folder + "/vmlinuz" : arguments.linux_kernel;
  job.launch.initrd =
      arguments.linux_initrd.empty() ? folder + "/initrd.img" : arguments.linux_initrd;
  job.launch.iperf = arguments.iperf;
  const bool named =
      !folder.empty() || (!arguments.linux_kernel.empty() && !arguments.linux_initrd.empty());
  for (const std::string& file : {job.launch.guest, job.launch.initrd}) {
    if (named && ::access(file.c_str(), R_OK) == 0) continue;
    return fail(fmt::format(
        "--guest linux: {}; scripts/make-linux-guest.sh FOLDER makes a kernel and an initial RAM "
        "disk, and --linux FOLDER names them",
        named ? "cannot read " + file : "no kernel and initial RAM disk are named"));
  }
  if (bench::find_program(arguments.iperf).empty()) {
    return fail(
        fmt::format("--guest linux: {} is missing on this host: install iperf3", arguments.iperf));
  }
  return {};
}

/// Errors: no KVM, or one that cannot run a Linux guest.
Status check_host_for_linux() {
  auto hypervisor = open_kvm();
  if (!hypervisor) return forward(hypervisor);
  const auto reason = why_no_linux(**hypervisor);
  if (!reason) return {};
  return fail(fmt::format("--guest linux: {}", *reason));
}

Status use_bench_guest(const NetArguments& arguments, NetJob& job) {
  for (const unsigned bytes : job.sweep.message_bytes) {
    for (const bench::Framing framing : job.sweep.framings) {
      if (const wire::Cut cut{bytes, bench::datagram_bytes(framing)}; !cut.valid()) {
        return fail(fmt::format(
            "--message-bytes: {} leaves a last datagram of under {} bytes with framing {}", bytes,
            wire::kHeadBytes, to_string(framing)));
      }
    }
  }
  auto guest = find_bench_guest(arguments.guest == "bench" ? "" : arguments.guest);
  if (!guest) return forward(guest);
  job.launch.guest = *guest;
  return {};
}

Result<NetJob> make_job(const NetArguments& arguments) {
  NetJob job;
  if (auto read = read_sweep(arguments, job.sweep, job.setting.programs); !read) {
    return forward(read);
  }
  if (auto read = read_setting(arguments, job); !read) return forward(read);
  auto guest = arguments.guest == "linux" ? use_linux_guest(arguments, job)
                                          : use_bench_guest(arguments, job);
  if (!guest) return forward(guest);
  job.launch.extra_cmdline = arguments.guest_words;
  job.setting.programs.bellhop_version = BELLHOP_VERSION;
  return job;
}

/// What decides what is measured, for --resume.
nlohmann::ordered_json describe_options(const NetArguments& arguments, const NetJob& job) {
  const bench::NetSweep& sweep = job.sweep;
  const bench::NetSetting& setting = job.setting;
  nlohmann::ordered_json options{
      {"workload", names_of(sweep.workloads)},
      {"direction", names_of(sweep.directions)},
      {"message-bytes", sweep.message_bytes},
      {"framing", names_of(sweep.framings)},
      {"notify", names_of(sweep.notify)},
      {"placement", names_of(sweep.placements)},
      {"gro", names_of(sweep.trains)},
      {"end-cpus", format_cpu_list(setting.end_cpus)},
      {"transport", to_string(setting.transport)},
      {"guest", arguments.guest == "linux" ? "linux" : "bench"},
  };
  add_machines(options, sweep.vmms, setting.programs);
  add_times(options, setting.rounds, setting.seconds, job.launch);
  return options;
}

/// A start, the guest's boot, and the end of a machine; those of a Linux guest.
constexpr double kAroundARepeat_s = 0.4;
constexpr double kAroundLinux_s = 10;

int run_net(const NetArguments& arguments) {
  const auto job = make_job(arguments);
  if (!job) return report(job.error());
  if (::access("/dev/kvm", R_OK | W_OK) != 0) {
    return report(fail_errno("/dev/kvm cannot be used").value(), kFailed);
  }
  const bool is_linux = arguments.guest == "linux";
  if (is_linux) {
    if (auto able = check_host_for_linux(); !able) return report(able.error(), kFailed);
  }
  bench::NetReport result;
  result.setting = job->setting;
  result.comparing = job->comparing;
  result.options = describe_options(arguments, *job);
  const std::string& resume = arguments.times.resume;
  const auto earlier =
      read_earlier<bench::NetMeasurement>(resume, result, job->setting.rounds.most);
  if (!earlier) return report(earlier.error());
  auto session = BenchSession::start(output_for(arguments.output, resume),
                                     {job->launch.guest, job->launch.initrd});
  if (!session) return report(session.error());
  const double around_s = is_linux ? kAroundLinux_s : kAroundARepeat_s;
  bench::run_net_sweep(job->sweep, job->launch, (*session)->interrupt(), *earlier,
                       (*session)->hooks(job->setting.seconds + job->launch.warmup_s + around_s),
                       result);
  return (*session)->write({}, result);
}

}  // namespace

void add_bench_net_command(CLI::App& bench, int& exit_status) {
  CLI::App* net = bench.add_subcommand(
      "net",
      "The 2010 patch's virtio-net table, sync against ioeventfd, with MB per host CPU second");
  auto arguments = std::make_shared<NetArguments>();
  const auto text = [net](const char* name, std::string& value, const char* help,
                          const char* type) { add_scalar(*net, name, value, help, type); };
  text("--workload", arguments->workloads,
       "stream,ping,packets (all): messages one way, one byte there and back, frames of 64 bytes",
       "LIST");
  text("--direction", arguments->directions, "guest-to-host,host-to-guest (both)", "LIST");
  text("--message-bytes", arguments->message_bytes,
       "Bytes of the stream's messages (65536,16384,4096,1024)", "LIST");
  text("--framing", arguments->framings,
       "gso,mtu,jumbo (gso; with --peer gso,mtu): what is one frame of the stream: a train of "
       "datagrams cut by offload, a datagram of 1472 bytes, a datagram of up to 64 KiB",
       "LIST");
  text("--notify", arguments->notify, "sync,ioeventfd,vhost,poll,adaptive (the first three)",
       "LIST");
  add_machine_options(*net, arguments->machines);
  text("--gro", arguments->gro, "on,off: bellhop run's --net gro= (on; with --peer both)", "LIST");
  text("--end-cpus", arguments->end_cpus,
       "Host CPUs of the process at the other end (the scheduler's choice)", "LIST");
  add_time_options(*net, arguments->times);
  text("--transport", arguments->transport,
       "pci (default), pci-transitional (driven as before virtio 1.0: kicks by a word in ports) or "
       "mmio",
       "KIND");
  text("--guest", arguments->guest,
       "bench (default), linux (TCP by iperf3), or the bench guest's file", "bench|linux|FILE");
  text("--linux", arguments->linux_folder,
       "What scripts/make-linux-guest.sh has made, for --guest linux", "FOLDER");
  text("--linux-kernel", arguments->linux_kernel, "or its kernel", "FILE");
  text("--linux-initrd", arguments->linux_initrd, "and its initial RAM disk", "FILE");
  text("--iperf", arguments->iperf, "The host's iperf3, for --guest linux (iperf3)", "FILE");
  text("--guest-words", arguments->guest_words, "Further words of the guest's command line",
       "TEXT");
  add_output_options(*net, arguments->output);
  net->footer(kExamples);
  net->callback([arguments, &exit_status] { exit_status = run_net(*arguments); });
}

void add_bench_net_end_command(CLI::App& bench, int& exit_status) {
  struct EndArguments {
    int control = -1;
    unsigned mtu = 1500;
    std::string iperf;
  };
  CLI::App* end = bench.add_subcommand("net-end", "The host's end of a link of bench net");
  end->group("");  // started by bench net, not by people
  auto arguments = std::make_shared<EndArguments>();
  end->add_option("--control-fd", arguments->control)->required();
  end->add_option("--mtu", arguments->mtu);
  end->add_option("--iperf", arguments->iperf);
  end->callback([arguments, &exit_status] {
    const auto served = bench::serve_net_end(arguments->control, arguments->mtu, arguments->iperf);
    exit_status = served ? kDone : report(served.error(), kFailed);
  });
}

}  // namespace bellhop

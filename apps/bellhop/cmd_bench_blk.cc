#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_session.h"
#include "apps/bellhop/blk_job.h"
#include "apps/bellhop/blk_options.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/scalar_option.h"
#include "base/units.h"
#include "bellhop_version.h"
#include "bench/blk/blk_runner.h"
#include "bench/blk/blk_sweep.h"
#include "bench/blk/inprocess_runner.h"
#include "bench/harness/bench_image.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop bench blk --quick                      a first look: one repeat of one second a cell
  bellhop bench blk --medium /dev/shm --json results.json --html report.html
  bellhop bench blk --workload randread --threads 16 --placement same-core,other-core,free
  bellhop bench blk --peer qemu --repeat 5..15 --seconds 5 --json results.json
  bellhop bench blk --peer qemu --repeat 5..15 --seconds 5 --resume results.json   after Ctrl-C
  bellhop bench blk --peer qemu,qemu=/opt/qemu-10/bin/qemu-system-x86_64

Each cell is a machine of its own (bellhop run, or QEMU) with the bench guest in it, which checks
every byte that it reads; a wrong one and the cell gives no result. Compared cells take turns,
each round in another order, and each figure is the median of its repeats.
MB are 10^6 bytes; host CPU seconds are all that the VMM's process spent, guest included.
Files: the images have no names and vanish with the command, however it ends.)";

struct BlkArguments : BlkOptions {
  MachineArguments machines;
  std::string host = "kvm";
  TimeArguments times;
  BlkSizes sizes;
  std::string optimize = "throughput";
  std::string guest;
  std::string guest_words;
  BenchOutput output;
};

/// A start, the guest's boot, and the end of a machine.
constexpr double kAroundARepeat_s = 0.3;

Status read_sweep(const BlkArguments& arguments, bench::BlkSweep& sweep,
                  bench::Programs& programs) {
  OptionLists lists;
  read_blk_cells(lists, arguments, sweep);
  read_machines(lists, arguments.machines, sweep.placements, sweep.vmms, programs);
  return lists.status();
}

Status read_setting(const BlkArguments& arguments, BlkJob& job) {
  OptionLists lists;
  read_blk_back_end(lists, arguments, job.setting);
  lists.choice<Optimize>("--optimize", arguments.optimize, job.setting.optimize, kObjectiveWords);
  Times times;
  read_times(lists, arguments.times, times);
  take_times(times, job);
  return read_blk_sizes(lists, arguments.sizes, job.setting, job.images);
}

/// What decides what is measured, for --resume.
nlohmann::ordered_json describe_options(const BlkJob& job, bool inprocess) {
  const bench::BlkSweep& sweep = job.sweep;
  const bench::BlkSetting& setting = job.setting;
  nlohmann::ordered_json options{
      {"workload", names_of(sweep.workloads)},
      {"threads", sweep.threads},
      {"vcpus", sweep.vcpus},
      {"placement", names_of(sweep.placements)},
      {"notify", names_of(sweep.notify)},
      {"ring", names_of(sweep.rings)},
      {"host", inprocess ? "inprocess" : "kvm"},
      {"optimize", to_string(setting.optimize)},
      {"block-size", setting.block_bytes},
      {"image-size", job.images.image_bytes},
      {"aio", to_string(setting.aio)},
      {"cache", bench::to_string(setting.cache)},
      {"transport", to_string(setting.transport)},
      {"medium", setting.medium},
  };
  add_machines(options, sweep.vmms, setting.programs);
  add_times(options, setting.rounds, setting.seconds, job.launch);
  return options;
}

Result<BlkJob> make_job(const BlkArguments& arguments) {
  BlkJob job;
  if (auto read = read_sweep(arguments, job.sweep, job.setting.programs); !read) {
    return forward(read);
  }
  if (auto read = read_setting(arguments, job); !read) return forward(read);
  if (auto found = find_blk_medium(arguments.medium, !arguments.sizes.create.empty(), job.setting,
                                   job.images);
      !found) {
    return forward(found);
  }
  OptionLists lists;
  bool inprocess = false;
  lists.choice<bool>("--host", arguments.host, inprocess, {{"kvm", false}, {"inprocess", true}});
  if (auto status = lists.status(); !status) return forward(status);
  job.setting.programs.bellhop_version = BELLHOP_VERSION;
  job.around_s = kAroundARepeat_s;
  if (inprocess) {
    if (!arguments.machines.peers.empty() || !arguments.machines.vmms.empty()) {
      return fail("--host inprocess has no VM to compare: leave out --peer and --vmm");
    }
    job.sweep.vmms = {bench::Vmm::kInprocess};
    job.options = describe_options(job, inprocess);
    return job;
  }
  auto guest = find_bench_guest(arguments.guest);
  if (!guest) return forward(guest);
  job.launch.guest = *guest;
  job.launch.extra_cmdline = arguments.guest_words;
  job.options = describe_options(job, inprocess);
  return job;
}

int run_blk(const BlkArguments& arguments) {
  const auto job = make_job(arguments);
  if (!job) return report(job.error());
  const bool inprocess = job->sweep.vmms == std::vector{bench::Vmm::kInprocess};
  if (!inprocess && ::access("/dev/kvm", R_OK | W_OK) != 0) {
    return report({fmt::format("/dev/kvm cannot be used ({}); --host inprocess measures the engine "
                               "without a VM",
                               std::generic_category().message(errno)),
                   errno},
                  kFailed);
  }
  return run_blk_job(*job, arguments.times.resume, arguments.output,
                     [&](const EventFd& interrupt) -> bench::Measure {
                       if (inprocess) {
                         const bench::InprocessRunner engine(job->setting, job->launch.warmup_s,
                                                             interrupt);
                         return [engine](const auto& cell, const auto& plan, int image) {
                           return engine.run(cell, plan, image);
                         };
                       }
                       const bench::BlkRunner machines(job->setting, job->launch, interrupt);
                       return [machines](const auto& cell, const auto& plan, int image) {
                         return machines.run(cell, plan, image);
                       };
                     });
}

}  // namespace

void add_bench_blk_command(CLI::App& bench, int& exit_status) {
  CLI::App* blk = bench.add_subcommand(
      "blk",
      "The 2010 patch's virtio-blk table, sync against ioeventfd, with MB per host CPU second");
  auto arguments = std::make_shared<BlkArguments>();
  const auto text = [blk](const char* name, std::string& value, const char* help,
                          const char* type) { add_scalar(*blk, name, value, help, type); };
  text("--workload", arguments->workloads, "create,seqread,randread,randwrite (all)", "LIST");
  text("--threads", arguments->threads, "Requests outstanding (1,8,16)", "LIST");
  text("--notify", arguments->notify, "sync,ioeventfd,poll,adaptive (the first two)", "LIST");
  text("--ring", arguments->rings, "split,packed: the guest's rings (split)", "LIST");
  text("--optimize", arguments->optimize,
       "What adaptive looks at: throughput (default), efficiency or latency", "WHAT");
  add_machine_options(*blk, arguments->machines);
  text("--vcpus", arguments->vcpus, "vCPUs, each with a queue (1)", "LIST");
  text("--host", arguments->host,
       "kvm (default), or inprocess: the engine without a VM, labelled so", "KIND");
  add_time_options(*blk, arguments->times);
  text("--medium", arguments->medium, "Where the images lie (.)", "DIR");
  add_blk_sizes(*blk, arguments->sizes);
  add_blk_back_end(*blk, *arguments);
  text("--guest", arguments->guest, "The bench guest (found beside this program)", "FILE");
  text("--guest-words", arguments->guest_words, "Further words of the guest's command line",
       "TEXT");
  add_output_options(*blk, arguments->output);
  blk->footer(kExamples);
  blk->callback([arguments, &exit_status] { exit_status = run_blk(*arguments); });
}

}  // namespace bellhop

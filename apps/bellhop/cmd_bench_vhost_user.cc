#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_session.h"
#include "apps/bellhop/blk_job.h"
#include "apps/bellhop/blk_options.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/scalar_option.h"
#include "base/units.h"
#include "bellhop_version.h"
#include "bench/blk/served_runner.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop bench vhost-user --quick               a first look at bellhop serve
  bellhop bench vhost-user --peer qemu-storage-daemon --medium /dev/shm --repeat 5..15
  bellhop bench vhost-user --peer qemu-storage-daemon --medium null --depth 1,32
  bellhop bench vhost-user --ring split,packed --medium null
  bellhop bench vhost-user --socket /run/vm/disk.sock --overwrite 1G

The driver is in this program, in a guest's place: it hands over memory, rings and eventfds as a VMM
does, keeps as many requests outstanding as --depth says, and sleeps while it has nothing to do. It
checks every byte that it reads, unless the medium keeps nothing. CPU time is that of the back end's
process alone. Compared cells take turns, each round in another order.
Files: the images have no names and vanish with the command, however it ends.)";

/// What the back ends that we start are told: one that listens already is as it is.
constexpr const char* kOfOurBackEnds[] = {"--peer",       "--notify", "--medium",
                                          "--image-size", "--aio",    "--cache"};

struct ServedArguments : BlkOptions {
  std::string placements;
  std::vector<std::string> peers;
  std::string socket;
  std::string overwrite;
  TimeArguments times;
  BlkSizes sizes;
  BenchOutput output;
  std::string out_of_place;  ///< the first option that is in the way of --socket
};

/// The start and the end of a back end.
constexpr double kAroundARepeat_s = 0.2;
constexpr const char* kNull = "null";
constexpr std::string_view kDaemon = "qemu-storage-daemon";

Status read_peers(const std::vector<std::string>& peers, BlkJob& job) {
  for (const std::string& peer : peers) {
    const auto equals = peer.find('=');
    if (peer.substr(0, equals) != kDaemon) {
      return fail(
          fmt::format("--peer: '{}' is unknown; known are {} and {}=PATH", peer, kDaemon, kDaemon));
    }
    const bool named = equals != std::string::npos;
    auto found = bench::find_storage_daemon(named ? peer.substr(equals + 1) : std::string(kDaemon));
    if (!found && (named || found.error().code != ENOENT)) {
      return fail("--peer: " + found.error().message);
    }
    bench::Qemu qemu = found ? std::move(*found) : bench::Qemu{};
    qemu.daemon = true;
    const auto number = static_cast<unsigned>(job.setting.programs.qemus.size());
    job.setting.programs.qemus.push_back(std::move(qemu));
    job.sweep.vmms.push_back({bench::Vmm::Kind::kQemu, number});
  }
  return {};
}

/// --medium, or the disk at --socket.
Status read_medium(const ServedArguments& arguments, BlkJob& job) {
  bench::BlkSetting& setting = job.setting;
  if (arguments.socket.empty()) {
    if (!arguments.overwrite.empty()) return fail("--overwrite is of the disk at a --socket");
    if (arguments.medium != kNull) {
      return find_blk_medium(arguments.medium, !arguments.sizes.create.empty(), setting,
                             job.images);
    }
    setting.null = bench::NullMedium{};
    setting.medium = kNull;
    return {};
  }
  if (!arguments.out_of_place.empty()) {
    return fail(fmt::format("{} is of back ends that are started here: leave it out with --socket",
                            arguments.out_of_place));
  }
  OptionLists lists;
  lists.size("--overwrite", arguments.overwrite, setting.socket_bytes, 1 << 20,
             std::uint64_t{1} << 40);
  if (auto read = lists.status(); !read) return read;
  if (setting.socket_bytes == 0) {
    return fail(
        "--socket: the disk there is written to; say how much of it, from its start on, may "
        "be lost: --overwrite 1G");
  }
  setting.socket = arguments.socket;
  setting.medium = arguments.socket;
  job.sweep.vmms = {bench::Vmm::kSocket};
  job.images.image_bytes = 0;
  return {};
}

/// What decides what is measured, for --resume.
nlohmann::ordered_json describe_options(const BlkJob& job) {
  const bench::BlkSweep& sweep = job.sweep;
  const bench::BlkSetting& setting = job.setting;
  nlohmann::ordered_json options{{"workload", names_of(sweep.workloads)},
                                 {"depth", sweep.threads},
                                 {"placement", names_of(sweep.placements)},
                                 {"notify", names_of(sweep.notify)},
                                 {"ring", names_of(sweep.rings)},
                                 {"block-size", setting.block_bytes},
                                 {"image-size", job.images.image_bytes},
                                 {"aio", to_string(setting.aio)},
                                 {"cache", bench::to_string(setting.cache)},
                                 {"medium", setting.medium},
                                 {"overwrite", setting.socket_bytes}};
  add_machines(options, sweep.vmms, setting.programs);
  add_times(options, setting.rounds, setting.seconds, job.launch);
  return options;
}

Result<BlkJob> make_job(const ServedArguments& arguments) {
  BlkJob job;
  job.setting.served = true;
  job.setting.programs.bellhop_version = BELLHOP_VERSION;
  job.sweep.workloads = {bench::Workload::kSeqRead, bench::Workload::kRandRead,
                         bench::Workload::kRandWrite};
  job.sweep.threads = {1, 32};
  job.sweep.vcpus = {0};
  job.sweep.notify = {NotifyMode::kIoEventFd};
  OptionLists lists;
  lists.choices<bench::Workload>("--workload", arguments.workloads, job.sweep.workloads,
                                 {{"seqread", bench::Workload::kSeqRead},
                                  {"randread", bench::Workload::kRandRead},
                                  {"randwrite", bench::Workload::kRandWrite}});
  lists.choices<NotifyMode>("--notify", arguments.notify, job.sweep.notify,
                            {{"ioeventfd", NotifyMode::kIoEventFd}, {"poll", NotifyMode::kPoll}});
  lists.choices<bench::RingLayout>("--ring", arguments.rings, job.sweep.rings,
                                   {{"split", bench::RingLayout::kSplit},
                                    {"packed", bench::RingLayout::kPacked},
                                    {"split-in-order", bench::RingLayout::kSplitInOrder},
                                    {"packed-in-order", bench::RingLayout::kPackedInOrder}});
  lists.numbers("--depth", arguments.threads, job.sweep.threads, 1, 128);
  read_placements(lists, arguments.placements, job.sweep.placements);
  if (std::ranges::find(job.sweep.placements, bench::Placement::kOvercommit) !=
      job.sweep.placements.end()) {
    lists.fault("--placement: overcommit is of vCPUs, and there is no VM here");
  }
  read_blk_back_end(lists, arguments, job.setting);
  Times times;
  read_times(lists, arguments.times, times);
  take_times(times, job);
  if (auto read = read_blk_sizes(lists, arguments.sizes, job.setting, job.images); !read) {
    return forward(read);
  }
  if (auto read = read_peers(arguments.peers, job); !read) return forward(read);
  if (auto read = read_medium(arguments, job); !read) return forward(read);
  job.around_s = kAroundARepeat_s;
  job.options = describe_options(job);
  return job;
}

int run_served(const ServedArguments& arguments) {
  const auto job = make_job(arguments);
  if (!job) return report(job.error());
  return run_blk_job(*job, arguments.times.resume, arguments.output,
                     [&](const EventFd& interrupt) -> bench::Measure {
                       const auto runner = std::make_shared<bench::ServedRunner>(
                           job->setting, job->launch, interrupt);
                       return [runner](const auto& cell, const auto& plan, int image) {
                         return runner->run(cell, plan, image);
                       };
                     });
}

}  // namespace

void add_bench_vhost_user_command(CLI::App& bench, int& exit_status) {
  CLI::App* served = bench.add_subcommand(
      "vhost-user",
      "Disks of vhost-user back ends: requests a second, and the back end's CPU time for each");
  auto arguments = std::make_shared<ServedArguments>();
  const auto text = [served](const char* name, std::string& value, const char* help,
                             const char* type) { add_scalar(*served, name, value, help, type); };
  text("--workload", arguments->workloads, "seqread,randread,randwrite (all)", "LIST");
  text("--depth", arguments->threads, "Requests outstanding (1,32)", "LIST");
  text("--notify", arguments->notify, "ioeventfd,poll: of bellhop serve (ioeventfd)", "LIST");
  text("--ring", arguments->rings, "split,packed,split-in-order,packed-in-order (split)", "LIST");
  served
      ->add_option("--peer", arguments->peers,
                   "Beside it: qemu-storage-daemon, or qemu-storage-daemon=PATH")
      ->type_name("PEER");
  text("--placement", arguments->placements,
       "same-core,other-core,free,busy: of the driver and the back end (other-core)", "LIST");
  text("--socket", arguments->socket, "In their place: a back end that listens there already",
       "PATH");
  text("--overwrite", arguments->overwrite,
       "With --socket: how much of its disk, from the start on, is overwritten and used", "SIZE");
  add_time_options(*served, arguments->times);
  text("--medium", arguments->medium,
       "Where the images lie (.), or null: a medium that keeps nothing", "DIR");
  text("--image-size", arguments->sizes.image, "Size of the image (256M)", "SIZE");
  text("--block-size", arguments->sizes.block, "Bytes of a request (4K)", "SIZE");
  text("--aio", arguments->aio, "Back end: native (default), io_uring, threads", "KIND");
  text("--cache", arguments->cache, "none (default) or writeback", "MODE");
  add_output_options(*served, arguments->output);
  served->footer(kExamples);
  served->callback([served, arguments, &exit_status] {
    for (const char* const name : kOfOurBackEnds) {
      if (served->count(name) > 0) arguments->out_of_place = name;
    }
    exit_status = run_served(*arguments);
  });
}

}  // namespace bellhop

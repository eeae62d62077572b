#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_output.h"
#include "apps/bellhop/bench_progress.h"
#include "apps/bellhop/blk_options.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/result_file.h"
#include "apps/bellhop/scalar_option.h"
#include "apps/bellhop/signal_waiter.h"
#include "base/input_file.h"
#include "bellhop_version.h"
#include "bench/blk/blk_sweep.h"
#include "bench/explain/explain_runner.h"
#include "bench/explain/waterfall.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop explain blk --medium /dev/shm                   one and 16 requests, each way to notify
  bellhop explain blk --threads 16 --notify ioeventfd --timeline requests.json
  bellhop run --explain way.json --kernel vmlinuz --disk disk.img ...
  bellhop explain file way.json

The points of a request's way: offered (the driver has put it into the ring), served (the thread
that serves the queue has come), taken, submitted (to the back end), answered, shown (in the used
ring), signalled (the interrupt is asked for), seen (by the driver). The first and the
last are known for the bench guest, which writes them down; for others the way begins at "served".)";

/// What an explanation file may hold: more would be another's.
constexpr std::uint64_t kMaxFile = std::uint64_t{64} << 20;

struct ExplainArguments : BlkOptions {
  std::string placement;
  std::string seconds;
  std::string warmup;
  std::string guest;
  std::string file;
  std::string timeline;
  std::string json;
};

/// What an option asks to be written to a file.
class Output {
 public:
  explicit Output(const char* option) : option_(option) {}
  Status open(const std::string& path) {
    if (path.empty()) return {};
    auto file = open_result(option_, path, STDOUT_FILENO);
    if (!file) return forward(file);
    path_ = path;
    file_ = std::move(*file);
    return {};
  }
  template <class MakeText>
  [[nodiscard]] Status write(MakeText&& make_text) const {
    if (!file_.valid()) return {};
    return write_result(option_, path_, file_, make_text());
  }

 private:
  const char* option_;
  std::string path_;
  UniqueFd file_;
};

/// --timeline, the last requests, for a viewer; and --json.
class Outputs {
 public:
  Status open(const ExplainArguments& arguments) {
    if (arguments.timeline == "-" && arguments.json == "-") {
      return fail("--json -: standard output is --timeline's already");
    }
    if (auto opened = timeline_.open(arguments.timeline); !opened) return opened;
    return json_.open(arguments.json);
  }
  [[nodiscard]] Status write(const std::vector<bench::QueueExplanation>& queues) const {
    if (auto written = timeline_.write([&] { return bench::timeline(queues); }); !written) {
      return written;
    }
    return json_.write([&] { return bench::to_json(queues); });
  }

 private:
  Output timeline_{"--timeline"};
  Output json_{"--json"};
};

/// Where the tables go: to standard error if something else goes to standard output.
std::FILE* tables_to(const ExplainArguments& arguments) {
  return arguments.timeline == "-" || arguments.json == "-" ? stderr : stdout;
}

int explain_file(const ExplainArguments& arguments) {
  Outputs outputs;
  const auto text = read_input_file("FILE", arguments.file, kMaxFile);
  if (!text) return report(text.error());
  const auto queues = bench::read_explanations(*text);
  if (!queues) return report({fmt::format("{}: {}", arguments.file, queues.error().message)});
  if (auto opened = outputs.open(arguments); !opened) return report(opened.error());
  if (queues->empty()) print(tables_to(arguments), "No request came to its end.\n");
  for (std::size_t i = 0; i < queues->size(); ++i) {
    print(tables_to(arguments), (i == 0 ? "" : "\n") + bench::waterfall((*queues)[i]));
  }
  if (auto written = outputs.write(*queues); !written) return report(written.error(), kFailed);
  return kDone;
}

/// What `explain blk` is to run.
struct Job {
  bench::BlkSweep sweep;
  bench::BlkSetting setting;
  bench::Launch launch;
  bench::BlkImages images;
};

Result<Job> make_job(const ExplainArguments& arguments) {
  using bench::Placement;
  Job job;
  job.sweep.placements = {allowed_cpus().size() > 1 ? Placement::kOtherCore : Placement::kSameCore};
  job.setting.rounds = {.least = 1, .most = 1};
  job.setting.seconds = 1;
  job.sweep.workloads = {bench::Workload::kRandRead};
  job.sweep.threads = {1, 16};
  job.sweep.notify = {NotifyMode::kSync, NotifyMode::kIoEventFd, NotifyMode::kPoll};
  OptionLists lists;
  read_blk_cells(lists, arguments, job.sweep);
  read_blk_back_end(lists, arguments, job.setting);
  lists.choices<Placement>("--placement", arguments.placement, job.sweep.placements,
                           {{"same-core", Placement::kSameCore},
                            {"other-core", Placement::kOtherCore},
                            {"free", Placement::kFree}});
  lists.seconds("--seconds", arguments.seconds, job.setting.seconds, 0.05, 3600);
  lists.seconds("--warmup", arguments.warmup, job.launch.warmup_s, 0, 3600);
  if (auto status = lists.status(); !status) return forward(status);
  if (std::ranges::count(job.sweep.notify, NotifyMode::kAdaptive) != 0) {
    return fail("--notify: adaptive changes from one way to another; name the ways themselves");
  }
  if (auto found = find_blk_medium(arguments.medium, false, job.setting, job.images); !found) {
    return forward(found);
  }
  auto guest = find_bench_guest(arguments.guest);
  if (!guest) return forward(guest);
  job.launch.guest = *guest;
  job.setting.programs.bellhop_version = BELLHOP_VERSION;
  return job;
}

/// Returns what the files get.
std::vector<bench::QueueExplanation> print_runs(
    std::FILE* tables, const std::map<bench::BlkCell, bench::ExplainedRun>& runs,
    const std::string& medium) {
  std::vector<bench::QueueExplanation> explained;
  for (const auto& [cell, run] : runs) {
    print(tables, fmt::format("{}: {:.1f} MB/s on {}\n", describe(cell), run.measurement.mb_per_s(),
                              medium));
    for (const bench::QueueExplanation& queue : run.queues) {
      print(tables, bench::waterfall(queue) + "\n");
      explained.push_back(queue);
      explained.back().device = fmt::format("{}, {}", describe(cell), queue.device);
    }
  }
  return explained;
}

int explain_blk(const ExplainArguments& arguments) {
  const auto job = make_job(arguments);
  if (!job) return report(job.error());
  if (::access("/dev/kvm", R_OK | W_OK) != 0) {
    return report(fail_errno("/dev/kvm cannot be used").value(), kFailed);
  }
  Outputs outputs;
  if (auto opened = outputs.open(arguments); !opened) return report(opened.error());
  auto interrupt = EventFd::create();
  if (!interrupt) return report(interrupt.error(), kFailed);
  SignalWaiter::block_signals();
  auto signals = SignalWaiter::start({.stop = [&] { interrupt->signal(); }});
  if (!signals) return report(signals.error(), kFailed);

  ProgressLine progress;
  const bench::ExplainRunner runner(job->setting, job->launch, *interrupt);
  std::map<bench::BlkCell, bench::ExplainedRun> runs;  // a disturbed one is run anew
  bench::BlkReport result;
  result.setting = job->setting;
  const auto swept = bench::run_blk_sweep(
      job->sweep, job->images,
      [&](const bench::BlkCell& cell, const bench::CpuPlan& plan,
          int image) -> Result<bench::Measurement> {
        auto run = runner.run(cell, plan, image);
        if (!run) return forward(run);
        return (runs[cell] = std::move(*run)).measurement;
      },
      {},
      {.begin =
           [&](const bench::SweepSize& size) {
             constexpr double kAround_s = 0.5;  // a machine's start and end
             progress.begin(size, job->setting.seconds + job->launch.warmup_s + kAround_s);
           },
       .progress = [&](std::size_t number, std::size_t total,
                       const std::string& what) { progress.show(number, total, what); }},
      result);
  progress.clear();
  const int signal = (*signals)->finish();
  if (!swept) report(swept.error(), kFailed);  // what was done before that is shown all the same
  const auto explained = print_runs(tables_to(arguments), runs, job->setting.medium);
  if (auto written = outputs.write(explained); !written) return report(written.error(), kFailed);
  if (signal != 0) return kSignalBase + signal;
  for (const std::string& note : bench::notes_about(result)) print(tables_to(arguments), note);
  print(tables_to(arguments), bench::not_run_text(result));
  if (!swept) return kFailed;
  return result.has_failures() || runs.empty() ? report(what_failed(result), kFailed) : kDone;
}

}  // namespace

void add_explain_command(CLI::App& app, int& exit_status) {
  CLI::App* explain = app.add_subcommand(
      "explain", "Where the time of a request goes, from the driver's offer to its answer");
  explain->require_subcommand(1);
  explain->footer(kExamples);
  auto arguments = std::make_shared<ExplainArguments>();

  CLI::App* file = explain->add_subcommand("file", "What `bellhop run --explain FILE` has written");
  file->add_option("FILE", arguments->file, "The file")->required()->type_name("");
  add_scalar(*file, "--timeline", arguments->timeline,
             "Write the last requests for Perfetto (Trace Event Format; -: standard output)",
             "FILE");
  file->callback([arguments, &exit_status] { exit_status = explain_file(*arguments); });

  CLI::App* blk = explain->add_subcommand("blk", "Cells of `bellhop bench blk`");
  const auto text = [blk](const char* name, std::string& value, const char* help,
                          const char* type) { add_scalar(*blk, name, value, help, type); };
  text("--workload", arguments->workloads, "create,seqread,randread,randwrite (randread)", "LIST");
  text("--threads", arguments->threads, "Requests outstanding (1,16)", "LIST");
  text("--notify", arguments->notify, "sync,ioeventfd,poll (all)", "LIST");
  text("--placement", arguments->placement,
       "same-core,other-core,free (other-core, where there are two CPUs)", "LIST");
  text("--ring", arguments->rings, "split,packed: the guest's rings (split)", "LIST");
  text("--vcpus", arguments->vcpus, "vCPUs, each with a queue (1)", "LIST");
  text("--seconds", arguments->seconds, "Measured seconds of each cell (1)", "S");
  text("--warmup", arguments->warmup, "Seconds before them (0.5)", "S");
  text("--medium", arguments->medium, "Where the images lie (.)", "DIR");
  add_blk_back_end(*blk, *arguments);
  text("--guest", arguments->guest, "The bench guest (found beside this program)", "FILE");
  text("--timeline", arguments->timeline,
       "Write the last requests for Perfetto (Trace Event Format; -: standard output)", "FILE");
  text("--json", arguments->json,
       "Write the tables as `bellhop run --explain` does (-: standard output)", "FILE");
  blk->callback([arguments, &exit_status] { exit_status = explain_blk(*arguments); });
}

}  // namespace bellhop

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_session.h"
#include "apps/bellhop/blk_options.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/scalar_option.h"
#include "base/units.h"
#include "bellhop_version.h"
#include "bench/blk/blk_runner.h"
#include "bench/study/study_page.h"
#include "bench/study/study_sweep.h"

namespace bellhop {

namespace {

using namespace std::chrono_literals;

constexpr const char* kStudyExamples = R"(Examples:
  bellhop bench study --quick                    a small grid, in a few minutes
  bellhop bench study --medium null,/dev/shm --json study.json --html study.html
  bellhop bench study --medium null,/dev/shm --resume study.json --html study.html  after Ctrl-C
  bellhop bench study --medium null --latency 50us --placement other-core,busy --vcpus 1

Each cell is a machine of its own with the bench guest in it; the ways to notify of one cell take
turns, each round in another order. Adaptive is measured once for each --optimize, and held against
the fixed way that turns out to be the best. A null medium keeps nothing and answers after
--latency; what is read from an image is checked by the guest. `busy` is beside two processes that
compute all the while.)";

/// What is measured unless the user says otherwise.
Times usual_times() {
  Times times;
  times.seconds = 1;
  times.warmup_s = 1;  // adaptive's first trial takes up to half a second
  return times;
}
/// ... and with --quick.
Times quick_times() {
  Times times;
  times.seconds = 0.5;
  times.warmup_s = 0.5;
  return times;
}

struct StudyArguments : BlkOptions {
  std::string placements;
  std::string optimize;
  std::string media;
  std::string latencies;
  TimeArguments times;
  BlkSizes sizes;
  std::string guest;
  std::string guest_words;
  BenchOutput output;
};

/// All that a run needs, from the arguments.
struct StudyJob {
  bench::StudySweep sweep;
  bench::StudySetting setting;
  bench::Launch launch;
  bench::BlkImages images;
  bench::Comparing comparing;
};

/// What is not said otherwise.
struct StudyDefaults {
  std::string media = ".,null";
  std::vector<std::chrono::nanoseconds> latencies = {0us, 10us, 50us, 200us, 1ms};
};

StudyDefaults make_quick(bench::StudySweep& sweep) {
  using bench::Placement;
  sweep.threads = {1, 16};
  sweep.vcpus = {1};
  sweep.placements = {Placement::kSameCore, Placement::kOtherCore, Placement::kBusy};
  return {"null", {0us, 50us}};
}

void read_cells(OptionLists& lists, const StudyArguments& arguments, bench::StudySweep& sweep) {
  using bench::Placement;
  bench::BlkSweep blk;
  blk.workloads = sweep.workloads;
  blk.threads = sweep.threads;
  blk.vcpus = sweep.vcpus;
  blk.notify = sweep.notify;
  read_blk_cells(lists, arguments, blk);
  sweep.workloads = blk.workloads;
  sweep.threads = blk.threads;
  sweep.vcpus = blk.vcpus;
  sweep.notify = blk.notify;
  lists.choices<Placement>("--placement", arguments.placements, sweep.placements,
                           {{"same-core", Placement::kSameCore},
                            {"other-core", Placement::kOtherCore},
                            {"free", Placement::kFree},
                            {"busy", Placement::kBusy}});
  lists.choices<Optimize>("--optimize", arguments.optimize, sweep.optimize, kObjectiveWords);
}

/// --latency. Each time once.
void read_latencies(OptionLists& lists, const std::string& text,
                    std::vector<std::chrono::nanoseconds>& latencies) {
  if (text.empty()) return;
  constexpr auto kLongest = 1s;
  latencies.clear();
  for (const std::string& word : OptionLists::split(text)) {
    const auto latency = parse_duration(word);
    if (!latency || *latency > kLongest) {
      return lists.fault(fmt::format(
          "--latency: '{}' is wrong; it must be a time up to 1s, such as 50us or 0", word));
    }
    if (std::ranges::find(latencies, *latency) == latencies.end()) latencies.push_back(*latency);
  }
}

/// --medium: folders by the names of their file systems, which tell them apart if they can.
Status read_media(const StudyArguments& arguments, const StudyDefaults& defaults, StudyJob& job) {
  constexpr const char* kNull = "null";
  auto latencies = defaults.latencies;
  OptionLists lists;
  read_latencies(lists, arguments.latencies, latencies);
  if (auto status = lists.status(); !status) return status;
  bool has_null = false;
  const std::string& media = arguments.media.empty() ? defaults.media : arguments.media;
  for (const std::string& word : OptionLists::split(media)) {
    if (word == kNull) {
      if (std::exchange(has_null, true)) continue;
      for (const auto latency : latencies) {
        job.sweep.media.push_back({fmt::format("null {}", bench::describe_latency(latency)), "",
                                   bench::NullMedium{.latency = latency}});
      }
      continue;
    }
    if (auto found =
            find_blk_medium(word, !arguments.sizes.create.empty(), job.setting, job.images);
        !found) {
      return found;
    }
    std::string name = job.setting.medium;
    const auto taken = [&job](const std::string& other) {
      return std::ranges::find(job.sweep.media, other, &bench::StudyMedium::name) !=
             job.sweep.media.end();
    };
    if (taken(name)) name += " at " + word;
    if (taken(name)) continue;
    job.sweep.media.push_back({std::move(name), word, std::nullopt});
  }
  if (!arguments.latencies.empty() && !has_null) {
    return fail("--latency: is that of a null medium: --medium null, or further ones");
  }
  job.setting.media = job.sweep.media;
  return {};
}

Result<StudyJob> make_study(const StudyArguments& arguments) {
  StudyJob job;
  StudyDefaults defaults;
  if (arguments.times.quick) defaults = make_quick(job.sweep);
  OptionLists lists;
  read_cells(lists, arguments, job.sweep);
  read_blk_back_end(lists, arguments, job.setting);
  Times times = usual_times();
  read_times(lists, arguments.times, times, quick_times());
  take_times(times, job);
  if (auto read = read_blk_sizes(lists, arguments.sizes, job.setting, job.images); !read) {
    return forward(read);
  }
  if (auto read = read_media(arguments, defaults, job); !read) return forward(read);
  auto guest = find_bench_guest(arguments.guest);
  if (!guest) return forward(guest);
  job.launch.guest = *guest;
  job.launch.extra_cmdline = arguments.guest_words;
  job.setting.programs.bellhop_version = BELLHOP_VERSION;
  return job;
}

/// What decides what is measured, for --resume.
nlohmann::ordered_json describe_study(const StudyJob& job) {
  const bench::StudySweep& sweep = job.sweep;
  const bench::StudySetting& setting = job.setting;
  nlohmann::ordered_json options{
      {"workload", names_of(sweep.workloads)},
      {"threads", sweep.threads},
      {"vcpus", sweep.vcpus},
      {"placement", names_of(sweep.placements)},
      {"notify", names_of(sweep.notify)},
      {"optimize", names_of(sweep.optimize)},
      {"medium", nlohmann::ordered_json::array()},
      {"block-size", setting.block_bytes},
      {"image-size", job.images.image_bytes},
      {"aio", to_string(setting.aio)},
      {"cache", bench::to_string(setting.cache)},
      {"transport", to_string(setting.transport)},
  };
  for (const bench::StudyMedium& medium : sweep.media) options["medium"].push_back(medium.name);
  add_times(options, setting.rounds, setting.seconds, job.launch);
  return options;
}

/// A start, the guest's boot, and the end of a machine.
constexpr double kAroundAStudyRepeat_s = 0.3;

int run_study(const StudyArguments& arguments) {
  const auto job = make_study(arguments);
  if (!job) return report(job.error());
  if (::access("/dev/kvm", R_OK | W_OK) != 0) {
    return report(fail_errno("/dev/kvm cannot be used").value(), kFailed);
  }
  bench::StudyReport result;
  result.setting = job->setting;
  result.comparing = job->comparing;
  result.options = describe_study(*job);
  const std::string& resume = arguments.times.resume;
  const auto earlier = read_earlier<bench::Measurement>(resume, result, job->setting.rounds.most);
  if (!earlier) return report(earlier.error());
  auto session = BenchSession::start(output_for(arguments.output, resume), {job->launch.guest});
  if (!session) return report(session.error());
  const auto measure = [&](const bench::StudyCell& cell, const bench::CpuPlan& plan, int image) {
    const bench::BlkRunner runner(bench::blk_setting(job->setting, cell), job->launch,
                                  (*session)->interrupt());
    return runner.run(bench::blk_cell(cell), plan, image);
  };
  const double repeat_s = job->setting.seconds + job->launch.warmup_s + kAroundAStudyRepeat_s;
  const auto swept = bench::run_study(job->sweep, job->images, measure, *earlier,
                                      (*session)->hooks(repeat_s), result);
  return (*session)->write(swept, result);
}

}  // namespace

void add_bench_study_command(CLI::App& bench, int& exit_status) {
  CLI::App* study = bench.add_subcommand(
      "study", "Which way to notify is best, and where: a grid of cells, and how adaptive does");
  auto arguments = std::make_shared<StudyArguments>();
  const auto text = [study](const char* name, std::string& value, const char* help,
                            const char* type) { add_scalar(*study, name, value, help, type); };
  text("--workload", arguments->workloads, "create,seqread,randread,randwrite (randread)", "LIST");
  text("--threads", arguments->threads, "Requests outstanding (1,8,16)", "LIST");
  text("--vcpus", arguments->vcpus, "vCPUs, each with a queue (1,2,4)", "LIST");
  text("--placement", arguments->placements, "same-core,other-core,free,busy (all)", "LIST");
  text("--notify", arguments->notify, "sync,ioeventfd,poll,adaptive (all)", "LIST");
  text("--optimize", arguments->optimize,
       "What adaptive looks at, each by itself: throughput,efficiency,latency (the first two)",
       "LIST");
  text("--medium", arguments->media, "null, and folders in which images lie (.,null)", "LIST");
  text("--latency", arguments->latencies,
       "After which a null medium answers (0,10us,50us,200us,1ms)", "LIST");
  add_time_options(*study, arguments->times, usual_times(),
                   "A small grid with three repeats of half a second, for a first look");
  add_blk_sizes(*study, arguments->sizes);
  add_blk_back_end(*study, *arguments);
  text("--guest", arguments->guest, "The bench guest (found beside this program)", "FILE");
  text("--guest-words", arguments->guest_words, "Further words of the guest's command line",
       "TEXT");
  add_output_options(*study, arguments->output);
  study->footer(kStudyExamples);
  study->callback([arguments, &exit_status] { exit_status = run_study(*arguments); });
}

}  // namespace bellhop

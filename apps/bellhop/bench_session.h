#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_output.h"
#include "apps/bellhop/bench_progress.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/signal_waiter.h"
#include "base/result.h"
#include "bench/harness/host_load.h"
#include "bench/harness/machine_command.h"
#include "bench/harness/programs.h"
#include "bench/harness/resume.h"

namespace bellhop {

/// What every subcommand of bench does around its sweep: the outputs are opened, the signals are
/// waited for, the host's load is watched, the time left is told, and the report is written,
/// whether the sweep ended or was interrupted.
class BenchSession {
 public:
  /// Errors: as those of open_output(), or the host refuses what this takes.
  static Result<std::unique_ptr<BenchSession>> start(const BenchOutput& output,
                                                     std::initializer_list<std::string> guest);

  [[nodiscard]] const EventFd& interrupt() const noexcept { return interrupt_; }
  /// `repeat_s` is what one repeat takes, with its start and end.
  bench::SweepHooks hooks(double repeat_s);
  /// Fills in what a report has besides its runs.
  Status conclude(bench::ReportBase& report);
  /// The exit status, from that of the report.
  int finish(int status);

  /// Writes the report, or tells why there is none.
  template <class Report>
  int write(const Status& swept, Report& report) {
    progress_.clear();
    if (!swept) bellhop::report(swept.error(), kFailed);
    // What was done before that is written all the same.
    if (!swept && (!report.interrupted || is_empty(report))) return finish(kFailed);
    if (auto concluded = conclude(report); !concluded) {
      return finish(bellhop::report(concluded.error(), kFailed));
    }
    const int written = write_report(
        report,
        {make_page(report), to_json(report).dump(2) + "\n", to_csv(report), is_empty(report)},
        output_);
    return finish(swept ? written : kFailed);
  }

 private:
  BenchSession() = default;
  template <class Report>
  static bool is_empty(const Report& report) {
    if constexpr (requires { report.runs; }) {
      return report.runs.empty();
    } else {
      return report.is_empty();
    }
  }

  OpenOutput output_;
  EventFd interrupt_;
  std::unique_ptr<SignalWaiter> signals_;
  std::optional<bench::LoadWatch> load_;
  ProgressLine progress_;
  std::string date_;
};

// ---- what was asked for, by the names of the options

template <class T>
std::vector<std::string> names_of(const std::vector<T>& values) {
  std::vector<std::string> names;
  names.reserve(values.size());
  for (const T& value : values) names.emplace_back(to_string(value));
  return names;
}
/// --vmm and --peer as one.
void add_machines(nlohmann::ordered_json& options, const std::vector<bench::Vmm>& vmms,
                  const bench::Programs& programs);
void add_times(nlohmann::ordered_json& options, const bench::Rounds& rounds, double seconds,
               const bench::Launch& launch);
/// With --resume and without --json the results go where the earlier ones came from.
BenchOutput output_for(BenchOutput output, const std::string& resume);

/// --resume: what is in the file, for what is asked for now. `options` has the values of options by
/// their names. Errors: name the option, the file, and what is different.
Result<nlohmann::ordered_json> read_resume(const std::string& path,
                                           const nlohmann::ordered_json& options);

/// Takes the seed and what was measured from --resume; nothing where it was not given.
template <class M>
Result<bench::Earlier<M>> read_earlier(const std::string& path, bench::ReportBase& report,
                                       std::size_t most) {
  if (path.empty()) return bench::Earlier<M>{};
  const auto file = read_resume(path, report.options);
  if (!file) return forward(file);
  const auto seed = bench::seed_in(*file);
  auto earlier = bench::earlier_in<M>(*file, most);
  if (!seed || !earlier) {
    return fail(
        fmt::format("--resume: {}: {}", path, (seed ? earlier.error() : seed.error()).message));
  }
  report.comparing.seed = *seed;
  return earlier;
}

}  // namespace bellhop

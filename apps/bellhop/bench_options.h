#pragma once

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bench/harness/programs.h"
#include "bench/harness/report_base.h"

namespace bellhop {

/// Reads the values of a sweep's options and keeps the first thing that is wrong with them. Texts
/// that are empty leave the variable as it is.
class OptionLists {
 public:
  /// "a,b": each one of `choices`, none twice.
  template <class T>
  void choices(std::string_view option, const std::string& text, std::vector<T>& out,
               std::initializer_list<std::pair<std::string_view, T>> choices) {
    if (text.empty()) return;
    std::vector<T> values;
    for (const std::string& word : split(text)) {
      const auto found = std::ranges::find(choices, std::string_view(word),
                                           [](const auto& choice) { return choice.first; });
      if (found == choices.end()) {
        std::string names;
        for (const auto& choice : choices) {
          names += (names.empty() ? "" : ", ") + std::string(choice.first);
        }
        return fault(fmt::format("{}: '{}' is unknown; known are {}", option, word, names));
      }
      if (std::ranges::find(values, found->second) == values.end()) {
        values.push_back(found->second);
      }
    }
    out = std::move(values);
  }
  template <class T>
  void choice(std::string_view option, const std::string& text, T& out,
              std::initializer_list<std::pair<std::string_view, T>> names) {
    std::vector<T> values;
    choices<T>(option, text, values, names);
    if (values.size() == 1) {
      out = values.front();
    } else if (!values.empty()) {
      fault(fmt::format("{}: only one value can be given, not '{}'", option, text));
    }
  }
  void numbers(std::string_view option, const std::string& text, std::vector<unsigned>& out,
               unsigned least, unsigned most);
  void number(std::string_view option, const std::string& text, unsigned& out, unsigned least,
              unsigned most);
  void seconds(std::string_view option, const std::string& text, double& out, double least,
               double most);
  /// "5%" or "5" as 0.05.
  void percent(std::string_view option, std::string text, double& out, double least, double most);
  void size(std::string_view option, const std::string& text, std::uint64_t& out,
            std::uint64_t least, std::uint64_t most);

  [[nodiscard]] Status status() const;

  void fault(std::string message);
  static std::vector<std::string> split(const std::string& text);

 private:
  void decimal(std::string_view option, const std::string& text, double& out, double least,
               double most, const char* what);

  std::optional<Error> error_;
};

struct MachineArguments {
  std::string placements;
  std::string vmms;
  std::vector<std::string> peers;
};
void add_machine_options(CLI::App& command, MachineArguments& arguments);
/// --placement, --vmm and --peer, which are the same for every sweep. `programs` gets the QEMUs
/// that they name, which are asked for their versions.
void read_machines(OptionLists& lists, const MachineArguments& arguments,
                   std::vector<bench::Placement>& placements, std::vector<bench::Vmm>& vmms,
                   bench::Programs& programs);
/// --placement alone.
void read_placements(OptionLists& lists, const std::string& text,
                     std::vector<bench::Placement>& placements);
/// How often and how long each cell is measured, and what becomes of disturbed repeats.
struct TimeArguments {
  std::string seconds;
  std::string warmup;
  std::string repeat;
  std::string until;
  std::string seed;
  std::string resume;
  bool quick = false;
  bool accept_disturbed = false;
};
struct Times {
  bench::Rounds rounds;
  double seconds = 3;
  double warmup_s = 0.5;
  bench::Comparing comparing;
};
/// Tells a job of its times.
template <class Job>
void take_times(const Times& times, Job& job) {
  job.setting.rounds = times.rounds;
  job.setting.seconds = times.seconds;
  job.launch.warmup_s = times.warmup_s;
  job.comparing = times.comparing;
}
inline constexpr const char* kQuickHelp = "One repeat of one second, for a first look";
/// What it means everywhere but where a command has a --quick of its own.
Times quick_look();
/// `usual` is what holds without options, `quick` the help of --quick.
void add_time_options(CLI::App& command, TimeArguments& arguments, const Times& usual = {},
                      const char* quick = kQuickHelp);
/// `times` begins as what holds without options; `quick` is what --quick makes of it. Without
/// --seed another seed each time.
void read_times(OptionLists& lists, const TimeArguments& arguments, Times& times,
                const Times& quick = quick_look());

/// The file named, or the one that was built with this program: beside it, or in the build tree's
/// guest folder. Errors: none of them is there.
Result<std::string> find_bench_guest(const std::string& named);

}  // namespace bellhop

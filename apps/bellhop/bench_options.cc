#include "apps/bellhop/bench_options.h"

#include <charconv>
#include <filesystem>
#include <limits>
#include <random>

#include "apps/bellhop/scalar_option.h"
#include "base/cpu_list.h"
#include "base/property_list.h"
#include "base/units.h"

namespace bellhop {

namespace {

constexpr const char* kGuestName = "bench-guest.elf";

/// Reads lists of VMMs.
class VmmList {
 public:
  VmmList(OptionLists& lists, std::vector<bench::Vmm>& vmms, bench::Programs& programs)
      : lists_(lists), vmms_(vmms), programs_(programs) {}

  void add(const char* option, const std::string& text) {
    const bool own_too = std::string_view(option) == "--vmm";
    for (const std::string& word : OptionLists::split(text)) {
      const auto is = word.find('=');
      const std::string kind = word.substr(0, is);
      if (kind == "qemu" || kind == "qemu-best") {
        // What is named must be there; else its cells say that it is not installed.
        auto qemu = bench::find_qemu(is == std::string::npos ? kQemuProgram : word.substr(is + 1));
        if (!qemu && is != std::string::npos) {
          return lists_.fault(fmt::format("{}: {}", option, qemu.error().message));
        }
        if (!qemu) qemu = bench::Qemu{kQemuProgram, ""};
        qemu->best = kind == "qemu-best";
        add_qemu(std::move(*qemu));
      } else if (own_too && word == "bellhop") {
        add_vmm(bench::Vmm::kBellhop);
      } else {
        return lists_.fault(fmt::format(
            "{}: '{}' is unknown; known are {}qemu, qemu=PROGRAM, qemu-best, qemu-best=PROGRAM",
            option, word, own_too ? "bellhop, " : ""));
      }
    }
  }

 private:
  static constexpr const char* kQemuProgram = "qemu-system-x86_64";

  void add_qemu(bench::Qemu qemu) {
    const auto found = std::ranges::find_if(programs_.qemus, [&qemu](const bench::Qemu& other) {
      return other.path == qemu.path && other.best == qemu.best;
    });
    const auto number = static_cast<unsigned>(found - programs_.qemus.begin());
    if (found == programs_.qemus.end()) programs_.qemus.push_back(std::move(qemu));
    add_vmm({bench::Vmm::Kind::kQemu, number});
  }
  void add_vmm(bench::Vmm vmm) {
    if (std::ranges::find(vmms_, vmm) == vmms_.end()) vmms_.push_back(vmm);
  }

  OptionLists& lists_;
  std::vector<bench::Vmm>& vmms_;
  bench::Programs& programs_;
};

}  // namespace

std::vector<std::string> OptionLists::split(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ',') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

void OptionLists::fault(std::string message) {
  if (!error_) error_ = Error{std::move(message), 0};
}

Status OptionLists::status() const {
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

void OptionLists::numbers(std::string_view option, const std::string& text,
                          std::vector<unsigned>& out, unsigned least, unsigned most) {
  if (text.empty()) return;
  std::vector<unsigned> values;
  for (const std::string& word : split(text)) {
    const auto value = parse_count(option, word, least, most);
    if (!value) return fault(value.error().message);
    if (std::ranges::find(values, *value) == values.end()) values.push_back(*value);
  }
  out = std::move(values);
}

void OptionLists::number(std::string_view option, const std::string& text, unsigned& out,
                         unsigned least, unsigned most) {
  if (text.empty()) return;
  const auto value = parse_count(option, text, least, most);
  if (!value) return fault(value.error().message);
  out = *value;
}

void OptionLists::seconds(std::string_view option, const std::string& text, double& out,
                          double least, double most) {
  if (!text.empty()) decimal(option, text, out, least, most, "seconds");
}

void OptionLists::percent(std::string_view option, std::string text, double& out, double least,
                          double most) {
  if (text.empty()) return;
  if (text.ends_with('%')) text.pop_back();
  double value = out * 100;
  decimal(option, text, value, least, most, "percent");
  out = value / 100;
}

void OptionLists::decimal(std::string_view option, const std::string& text, double& out,
                          double least, double most, const char* what) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (problem != std::errc{} || stop != end || !(value >= least && value <= most)) {
    return fault(fmt::format("{}: '{}' is wrong; it must be {} from {:g} to {:g}", option, text,
                             what, least, most));
  }
  out = value;
}

void OptionLists::size(std::string_view option, const std::string& text, std::uint64_t& out,
                       std::uint64_t least, std::uint64_t most) {
  if (text.empty()) return;
  const auto value = parse_size(text);
  if (!value || *value < least || *value > most) {
    return fault(fmt::format("{}: '{}' is wrong; it must be a size from {} to {}", option, text,
                             format_size(least), format_size(most)));
  }
  out = *value;
}

void add_machine_options(CLI::App& command, MachineArguments& arguments) {
  const auto text = [&command](const char* name, std::string& value, const char* help) {
    command.add_option(name, value, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->type_name("LIST");
  };
  text("--placement", arguments.placements,
       "same-core,other-core,free,overcommit,busy (other-core, where there are two CPUs)");
  command
      .add_option(
          "--peer", arguments.peers,
          "qemu, qemu-best (its best options), each also =PROGRAM: measure these too, in turn")
      ->allow_extra_args(false)
      ->type_name("LIST");
  text("--vmm", arguments.vmms, "bellhop,qemu,qemu-best,... (bellhop): which to measure");
}

void read_placements(OptionLists& lists, const std::string& text,
                     std::vector<bench::Placement>& placements) {
  using bench::Placement;
  placements = {allowed_cpus().size() > 1 ? Placement::kOtherCore : Placement::kSameCore};
  lists.choices<Placement>("--placement", text, placements,
                           {{"same-core", Placement::kSameCore},
                            {"other-core", Placement::kOtherCore},
                            {"free", Placement::kFree},
                            {"overcommit", Placement::kOvercommit},
                            {"busy", Placement::kBusy}});
}

void read_machines(OptionLists& lists, const MachineArguments& arguments,
                   std::vector<bench::Placement>& placements, std::vector<bench::Vmm>& vmms,
                   bench::Programs& programs) {
  read_placements(lists, arguments.placements, placements);
  VmmList list(lists, vmms, programs);
  if (!arguments.vmms.empty()) {
    vmms.clear();
    list.add("--vmm", arguments.vmms);
  }
  for (const std::string& peers : arguments.peers) list.add("--peer", peers);
}

Times quick_look() {
  Times times;
  times.rounds = {1, 1};
  times.seconds = 1;
  times.warmup_s = 0.2;
  return times;
}

void add_time_options(CLI::App& command, TimeArguments& arguments, const Times& usual,
                      const char* quick) {
  const auto text = [&command](const char* name, std::string& value, const std::string& help,
                               const char* type) {
    add_scalar(command, name, value, help.c_str(), type);
  };
  text("--seconds", arguments.seconds,
       fmt::format("Measured seconds of each repeat ({:g})", usual.seconds), "S");
  text("--warmup", arguments.warmup, fmt::format("Seconds before them ({:g})", usual.warmup_s),
       "S");
  text("--repeat", arguments.repeat,
       "Repeats of each cell (3); LEAST..MOST goes on until each ratio is known (see --until)",
       "N|LEAST..MOST");
  text("--until", arguments.until,
       "How well: its 95 % interval lies within this part of it (5%; with it --repeat is 5..15)",
       "PERCENT");
  command.add_flag("--quick", arguments.quick, quick);
  text("--seed", arguments.seed, "Of the order and the intervals (another one each time)", "N");
  command.add_flag("--accept-disturbed", arguments.accept_disturbed,
                   "Give ratios of repeats, too, of which other programs took more than 2 %");
  text("--resume", arguments.resume,
       "The JSON of an interrupted run with the same options: go on (and write it, without --json)",
       "FILE");
}

void read_times(OptionLists& lists, const TimeArguments& arguments, Times& times,
                const Times& quick) {
  constexpr unsigned kMostRepeats = 1000;
  bench::Rounds& rounds = times.rounds;
  if (arguments.quick) times = quick;
  lists.seconds("--seconds", arguments.seconds, times.seconds, 0.05, 3600);
  lists.seconds("--warmup", arguments.warmup, times.warmup_s, 0, 3600);
  std::string repeat = arguments.repeat;
  if (repeat.empty() && !arguments.until.empty()) repeat = "5..15";
  if (const auto dots = repeat.find(".."); dots != std::string::npos) {
    // With fewer than three an interval is narrow by chance.
    lists.number("--repeat", repeat.substr(0, dots), rounds.least, 3, kMostRepeats);
    lists.number("--repeat", repeat.substr(dots + 2), rounds.most, rounds.least, kMostRepeats);
    if (dots == 0 || dots + 2 == repeat.size()) {
      lists.fault(fmt::format("--repeat: '{}' is wrong; it must be N or LEAST..MOST", repeat));
    }
  } else {
    lists.number("--repeat", repeat, rounds.least, 1, kMostRepeats);
    rounds.most = rounds.least;
    if (!arguments.until.empty()) {
      lists.fault("--until: needs --repeat LEAST..MOST, such as 5..15");
    }
  }
  lists.percent("--until", arguments.until, rounds.within, 0.1, 100);
  unsigned seed = std::random_device{}();
  lists.number("--seed", arguments.seed, seed, 0, std::numeric_limits<unsigned>::max());
  times.comparing = {seed, arguments.accept_disturbed};
}

Result<std::string> find_bench_guest(const std::string& named) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!named.empty()) {
    if (fs::is_regular_file(named, error)) return named;
    return fail(fmt::format("--guest: there is no file {}", named), ENOENT);
  }
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& place :
       {folder / kGuestName, folder / ".." / "guest" / kGuestName, folder / "guest" / kGuestName,
        folder / ".." / "lib" / "bellhop" / kGuestName}) {
    if (fs::is_regular_file(place, error)) return place.lexically_normal().string();
  }
  return fail(
      fmt::format("--guest: {} is not beside this program; name it by --guest FILE", kGuestName),
      ENOENT);
}

}  // namespace bellhop

#include "apps/bellhop/bench_options.h"

#include <charconv>
#include <filesystem>

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
      if (word == "qemu") {
        add_qemu(bench::find_qemu(kQemuProgram).value_or(bench::Qemu{kQemuProgram, ""}));
      } else if (word.starts_with(kQemuIs)) {
        auto qemu = bench::find_qemu(word.substr(kQemuIs.size()));
        if (!qemu) return lists_.fault(fmt::format("{}: {}", option, qemu.error().message));
        add_qemu(std::move(*qemu));
      } else if (own_too && word == "bellhop") {
        add_vmm(bench::Vmm::kBellhop);
      } else {
        return lists_.fault(fmt::format("{}: '{}' is unknown; known are {}qemu, qemu=PROGRAM",
                                        option, word, own_too ? "bellhop, " : ""));
      }
    }
  }

 private:
  static constexpr const char* kQemuProgram = "qemu-system-x86_64";
  static constexpr std::string_view kQemuIs = "qemu=";

  void add_qemu(bench::Qemu qemu) {
    const auto found = std::ranges::find(programs_.qemus, qemu.path, &bench::Qemu::path);
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
  if (text.empty()) return;
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (problem != std::errc{} || stop != end || !(value >= least && value <= most)) {
    return fault(fmt::format("{}: '{}' is wrong; it must be seconds from {:g} to {:g}", option,
                             text, least, most));
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
       "same-core,other-core,free,overcommit (other-core, where there are two CPUs)");
  command
      .add_option("--peer", arguments.peers,
                  "qemu, qemu=PROGRAM: measure these too, in the same interleaving")
      ->allow_extra_args(false)
      ->type_name("LIST");
  text("--vmm", arguments.vmms, "bellhop,qemu,qemu=PROGRAM (bellhop): which to measure");
}

void read_machines(OptionLists& lists, const MachineArguments& arguments,
                   std::vector<bench::Placement>& placements, std::vector<bench::Vmm>& vmms,
                   bench::Programs& programs) {
  using bench::Placement;
  placements = {allowed_cpus().size() > 1 ? Placement::kOtherCore : Placement::kSameCore};
  lists.choices<Placement>("--placement", arguments.placements, placements,
                           {{"same-core", Placement::kSameCore},
                            {"other-core", Placement::kOtherCore},
                            {"free", Placement::kFree},
                            {"overcommit", Placement::kOvercommit}});
  VmmList list(lists, vmms, programs);
  if (!arguments.vmms.empty()) {
    vmms.clear();
    list.add("--vmm", arguments.vmms);
  }
  for (const std::string& peers : arguments.peers) list.add("--peer", peers);
}

void read_times(OptionLists& lists, bool quick, const std::string& repeat,
                const std::string& second, const std::string& warmup, unsigned& repeats,
                double& seconds, double& warmup_s) {
  if (quick) {
    repeats = 1;
    seconds = 1;
    warmup_s = 0.2;
  }
  lists.number("--repeat", repeat, repeats, 1, 1000);
  lists.seconds("--seconds", second, seconds, 0.05, 3600);
  lists.seconds("--warmup", warmup, warmup_s, 0, 3600);
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

#include "apps/bellhop/bench_options.h"

#include <charconv>
#include <filesystem>

#include "base/cpu_list.h"
#include "base/property_list.h"
#include "base/units.h"

namespace bellhop {

namespace {

constexpr const char* kGuestName = "bench-guest.elf";

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

void read_machines(OptionLists& lists, const std::string& placement, const std::string& vmm,
                   const std::string& peer, std::vector<bench::Placement>& placements,
                   std::vector<bench::Vmm>& vmms) {
  using bench::Placement;
  using bench::Vmm;
  placements = {allowed_cpus().size() > 1 ? Placement::kOtherCore : Placement::kSameCore};
  lists.choices<Placement>("--placement", placement, placements,
                           {{"same-core", Placement::kSameCore},
                            {"other-core", Placement::kOtherCore},
                            {"free", Placement::kFree},
                            {"overcommit", Placement::kOvercommit}});
  lists.choices<Vmm>("--vmm", vmm, vmms, {{"bellhop", Vmm::kBellhop}, {"qemu", Vmm::kQemu}});
  std::vector<Vmm> peers;
  lists.choices<Vmm>("--peer", peer, peers, {{"qemu", Vmm::kQemu}});
  for (const Vmm one : peers) {
    if (std::ranges::find(vmms, one) == vmms.end()) vmms.push_back(one);
  }
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

#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace bellhop {

namespace {

struct Suffixed {
  std::uint64_t number;
  std::string_view suffix;
};

bool split_number(std::string_view text, Suffixed& out) {
  const auto* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, out.number);
  if (problem != std::errc{} || text.empty()) return false;
  out.suffix = std::string_view(stop, static_cast<std::size_t>(end - stop));
  return true;
}

constexpr std::string_view kSizeUnits = "KMGT";

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&] {
    return fail(fmt::format("'{}' is not a size such as 4K, 512M or 2G", text));
  };
  Suffixed parts{};
  if (!split_number(text, parts)) return wrong();
  unsigned shift = 0;
  std::string_view suffix = parts.suffix;
  if (!suffix.empty()) {
    const char unit = static_cast<char>(suffix[0] & ~0x20);
    const auto position = kSizeUnits.find(unit);
    if (position != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(position) + 1);
      suffix.remove_prefix(1);
    }
    if (!suffix.empty() && suffix != "B" && suffix != "b" && suffix != "iB") return wrong();
  }
  if (parts.number > (std::uint64_t{1} << 63) >> shift) return wrong();
  return parts.number << shift;
}

std::string format_size(std::uint64_t bytes) {
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit < kSizeUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, kSizeUnits[unit - 1]);
}

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t nanoseconds;
  };
  static constexpr std::array kUnits{Unit{"", 1'000}, Unit{"ns", 1}, Unit{"us", 1'000},
                                     Unit{"ms", 1'000'000}, Unit{"s", 1'000'000'000}};
  Suffixed parts{};
  if (split_number(text, parts)) {
    for (const Unit& unit : kUnits) {
      if (parts.suffix == unit.name &&
          parts.number <= std::uint64_t{INT64_MAX} / unit.nanoseconds) {
        return std::chrono::nanoseconds(parts.number * unit.nanoseconds);
      }
    }
  }
  return fail(fmt::format("'{}' is not a time such as 50us, 3ms or 2s", text));
}

}  // namespace bellhop

#include "base/cpu_list.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>

namespace bellhop {

namespace {

bool parse_number(std::string_view text, unsigned& value) {
  const auto* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  return problem == std::errc{} && stop == end;
}

}  // namespace

Result<CpuList> parse_cpu_list(std::string_view text) {
  const CpuList allowed = allowed_cpus();
  CpuList cpus;
  std::string_view rest = text;
  while (true) {
    const auto comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const auto dash = item.find('-');
    unsigned first = 0;
    unsigned last = 0;
    const bool good = dash == std::string_view::npos
                          ? parse_number(item, first) && parse_number(item, last)
                          : parse_number(item.substr(0, dash), first) &&
                                parse_number(item.substr(dash + 1), last);
    if (!good || last < first || last >= CPU_SETSIZE) {
      return fail(fmt::format("'{}' is not a list of CPUs such as 0,2-3", text));
    }
    for (unsigned cpu = first; cpu <= last; ++cpu) {
      if (!std::ranges::binary_search(allowed, cpu)) {
        return fail(fmt::format("CPU {} is not available here (available: {})", cpu,
                                format_cpu_list(allowed)));
      }
      cpus.push_back(cpu);
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::ranges::sort(cpus);
  cpus.erase(std::ranges::unique(cpus).begin(), cpus.end());
  return cpus;
}

std::string format_cpu_list(const CpuList& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return text;
}

CpuList allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CpuList cpus;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Status pin_thread(int tid, const CpuList& cpus) {
  if (cpus.empty()) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned cpu : cpus) CPU_SET(cpu, &set);
  if (::sched_setaffinity(tid, sizeof set, &set) != 0) {
    return fail_errno(fmt::format("cannot run on CPUs {}", format_cpu_list(cpus)));
  }
  return {};
}

}  // namespace bellhop

#include "vmm/bench/blk_plots.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <set>
#include <tuple>

#include "vmm/bench/child.h"

namespace bellhop::bench {

namespace {

constexpr int kScriptFd = 103;
constexpr std::chrono::seconds kPatience{20};

using Series = std::tuple<unsigned, Placement, Vmm, NotifyMode>;
using Row = std::pair<Workload, unsigned>;

Series series_of(const BlkCell& cell) {
  return {cell.vcpus, cell.placement, cell.vmm, cell.notify};
}

BlkCell cell_of(const Series& series, const Row& row) {
  const auto& [vcpus, placement, vmm, notify] = series;
  return {row.first, row.second, vcpus, placement, vmm, notify};
}

std::string name_of(const Series& series) {
  const auto& [vcpus, placement, vmm, notify] = series;
  return fmt::format("{} {}, {}, {} vCPU", to_string(vmm), bellhop::to_string(notify),
                     to_string(placement), vcpus);
}

Result<std::string> run_gnuplot(const std::string& script) {
  const UniqueFd file(::memfd_create("plot", MFD_CLOEXEC));
  if (!file.valid() ||
      ::write(file.get(), script.data(), script.size()) != static_cast<ssize_t>(script.size())) {
    return fail_errno("cannot make a memory file");
  }
  auto child = Child::spawn({"gnuplot", fmt::format("/proc/self/fd/{}", kScriptFd)},
                            {{file.get(), kScriptFd}});
  if (!child) return forward(child);
  std::string svg;
  const auto deadline = Child::Clock::now() + kPatience;
  while (true) {
    auto line = child->read_line(deadline, EventFd{});
    if (!line) return forward(line);
    if (!*line) break;
    // The XML declaration has no place inside of a page.
    if (svg.empty() && line->value().find("<svg") == std::string::npos) continue;
    svg += **line + "\n";
  }
  child->wait(deadline);
  if (svg.find("</svg>") == std::string::npos) {
    return fail("gnuplot " + child->last_complaint());
  }
  return svg;
}

}  // namespace

std::string plot_script(const BlkReport& report, PlotOf what) {
  std::set<Series> series;
  std::set<Row> rows;
  for (const Run& run : report.runs) {
    series.insert(series_of(run.cell));
    rows.insert({run.cell.workload, run.cell.threads});
  }
  const bool efficiency = what == PlotOf::kEfficiency;
  std::string script = fmt::format(
      "set terminal svg size 1100,420 dynamic font 'sans-serif,12'\n"
      "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8\n"
      "set xtics rotate by -30 nomirror\nset ytics nomirror\nset grid ytics\nset yrange [0:*]\n"
      "set key outside top center horizontal\nset ylabel '{}'\n$data << END\n",
      efficiency ? "MB per host CPU second" : "MB/s");
  for (const Row& row : rows) {
    script += fmt::format("\"{} x{}\"", to_string(row.first), row.second);
    for (const Series& one : series) {
      const Run* run = report.find(cell_of(one, row));
      if (run == nullptr) {
        script += " NaN";
      } else if (efficiency) {
        script += fmt::format(" {:.3f}", run->median.bytes_per_host_cpu_s() * 1e-6);
      } else {
        script += fmt::format(" {:.3f}", run->median.mb_per_s());
      }
    }
    script += "\n";
  }
  script += "END\nplot ";
  std::size_t column = 2;
  for (const Series& one : series) {
    script += fmt::format("{}$data using {}:xtic(1) title '{}'", column == 2 ? "" : ", ", column,
                          name_of(one));
    ++column;
  }
  return script + "\n";
}

Result<std::vector<std::string>> draw_plots(const BlkReport& report) {
  std::vector<std::string> plots;
  if (report.runs.empty()) return fail("nothing was measured");
  for (const PlotOf what : {PlotOf::kThroughput, PlotOf::kEfficiency}) {
    auto svg = run_gnuplot(plot_script(report, what));
    if (!svg) return forward(svg);
    plots.push_back(std::move(*svg));
  }
  return plots;
}

}  // namespace bellhop::bench

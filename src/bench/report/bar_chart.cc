#include "bench/report/bar_chart.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "bench/harness/child.h"

namespace bellhop::bench {

namespace {

constexpr int kScriptFd = 103;
constexpr std::chrono::seconds kPatience{20};

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

std::string plot_script(const BarChart& chart) {
  std::string script = fmt::format(
      "set terminal svg size 1100,420 dynamic font 'sans-serif,12'\n"
      "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8\n"
      "set xtics rotate by -30 nomirror\nset ytics nomirror\nset grid ytics\nset yrange [0:*]\n"
      "set key outside top center horizontal\nset ylabel '{}'\n$data << END\n",
      chart.unit);
  for (const BarChart::Row& row : chart.rows) {
    script += fmt::format("\"{}\"", row.name);
    for (const auto& value : row.values) script += value ? fmt::format(" {:.3f}", *value) : " NaN";
    script += "\n";
  }
  script += "END\nplot ";
  std::size_t column = 2;
  for (const std::string& name : chart.series) {
    script +=
        fmt::format("{}$data using {}:xtic(1) title '{}'", column == 2 ? "" : ", ", column, name);
    ++column;
  }
  return script + "\n";
}

Result<std::vector<std::string>> draw_charts(const std::vector<BarChart>& charts) {
  std::vector<std::string> plots;
  for (const BarChart& chart : charts) {
    if (chart.rows.empty()) continue;
    auto svg = run_gnuplot(plot_script(chart));
    if (!svg) return forward(svg);
    plots.push_back(std::move(*svg));
  }
  if (plots.empty()) return fail("nothing was measured");
  return plots;
}

}  // namespace bellhop::bench

#include "bench/blk/blk_page.h"

#include <fmt/format.h>

#include <set>
#include <tuple>

#include "bench/blk/blk_tables.h"
#include "bench/report/findings.h"

namespace bellhop::bench {

namespace {

constexpr const char* kIntroduction =
    R"(<p>Each figure is the median of interleaved repeats; every block that was read was checked by the
guest. MB are 10<sup>6</sup> bytes. Host CPU seconds are all CPU time of the VMM's process during
the measured seconds, guest included. &ldquo;The 2010 patch&rdquo;: the FFSB figures in the 2010 patch
that proposed ioeventfd for virtqueue notification, on other hardware: compare the gains, not the
throughput.</p>
)";

using Series = std::tuple<unsigned, Placement, Vmm, NotifyMode, RingLayout>;
using Row = std::pair<Workload, unsigned>;

Series series_of(const BlkCell& cell) {
  return {cell.vcpus, cell.placement, cell.vmm, cell.notify, cell.ring};
}

BlkCell cell_of(const Series& series, const Row& row) {
  const auto& [vcpus, placement, vmm, notify, ring] = series;
  return {row.first, row.second, vcpus, placement, vmm, notify, ring};
}

std::string name_of(const Series& series, const Programs& programs) {
  const auto& [vcpus, placement, vmm, notify, ring] = series;
  return fmt::format("{} {}, {}, {} vCPU{}", programs.label(vmm), bellhop::to_string(notify),
                     to_string(placement), vcpus, ring == RingLayout::kPacked ? ", packed" : "");
}

std::vector<BarChart> make_charts(const BlkReport& report) {
  std::set<Series> series;
  std::set<Row> rows;
  for (const Run& run : report.runs) {
    series.insert(series_of(run.cell));
    rows.insert({run.cell.workload, run.cell.threads});
  }
  BarChart throughput{"MB/s", {}, {}};
  BarChart efficiency{"MB per host CPU second", {}, {}};
  for (const Series& one : series) {
    throughput.series.push_back(name_of(one, report.setting.programs));
    efficiency.series.push_back(name_of(one, report.setting.programs));
  }
  for (const Row& row : rows) {
    const std::string name = fmt::format("{} x{}", to_string(row.first), row.second);
    throughput.rows.push_back({name, {}});
    efficiency.rows.push_back({name, {}});
    for (const Series& one : series) {
      const Run* run = report.find(cell_of(one, row));
      std::optional<double> speed;
      std::optional<double> cost;
      if (run != nullptr) {
        speed = run->median.mb_per_s();
        cost = run->bytes_per_host_cpu_s * 1e-6;
      }
      throughput.rows.back().values.push_back(speed);
      efficiency.rows.back().values.push_back(cost);
    }
  }
  return {throughput, efficiency};
}

/// Names of cells, without what all of them share.
class Names {
 public:
  explicit Names(const BlkReport& report) {
    for (const Run& run : report.runs) {
      placements_.insert(run.cell.placement);
      vcpus_.insert(run.cell.vcpus);
    }
  }
  CellName operator()(const BlkCell& cell) const {
    std::string kind = title(cell.workload);
    if (placements_.size() > 1) kind += fmt::format(" {}", to_string(cell.placement));
    if (vcpus_.size() > 1) kind += fmt::format(" {} vCPUs", cell.vcpus);
    return {std::move(kind), fmt::format("x{}", cell.threads), bellhop::to_string(cell.notify)};
  }

 private:
  std::set<Placement> placements_;
  std::set<unsigned> vcpus_;
};

}  // namespace

Page make_page(const BlkReport& report) {
  const Names names(report);
  return {"Bellhop: virtio-blk, sync against ioeventfd",
          "Virtqueue notification: synchronous against ioeventfd",
          find_in(report, names),
          kIntroduction,
          make_tables(report),
          make_charts(report)};
}

}  // namespace bellhop::bench

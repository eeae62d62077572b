#include "bench/blk/blk_page.h"

#include <fmt/format.h>

#include <set>

#include "bench/blk/blk_tables.h"
#include "bench/report/findings.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {

namespace {

constexpr const char* kIntroduction =
    R"(<p>Each figure is the median of repeats that took turns; in brackets is where it lies with 95 %,
by a bootstrap over the rounds. Every block that was read was checked by the guest. MB are
10<sup>6</sup> bytes. Host CPU seconds are all CPU time of the VMM's process during the measured
seconds, guest included. &ldquo;The 2010 patch&rdquo;: the FFSB figures in the 2010 patch that
proposed ioeventfd for virtqueue notification, on other hardware: compare the gains, not the
throughput.</p>
)";

constexpr const char* kServedIntroduction =
    R"(<p>Each figure is the median of repeats that took turns; in brackets is where it lies with 95 %,
by a bootstrap over the rounds. The driver is in the program that measures and sleeps while it has
nothing to do; every block that was read was checked, unless the medium keeps nothing. CPU time is all
that the back end's process spent during the measured seconds.</p>
)";

/// Of the first group that has both ways: the charts of all would not fit on a page.
GainChart make_chart(const BlkReport& report) {
  GainChart chart;
  const Run* first = nullptr;
  for (const Run& run : report.runs) {
    const BlkCell& cell = run.cell;
    if (cell.vmm.is_qemu() || cell.notify != NotifyMode::kIoEventFd) continue;
    BlkCell base = cell;
    base.notify = NotifyMode::kSync;
    const Run* sync = report.find(base);
    if (sync == nullptr) continue;
    if (first == nullptr) first = &run;
    BlkCell like_first = first->cell;
    like_first.workload = cell.workload;
    like_first.threads = cell.threads;
    if (like_first != cell) continue;
    const Patch2010Blk* patch = find_patch_2010(cell.workload, cell.threads);
    chart.rows.push_back(
        {fmt::format("{}, {} thread{}", title(cell.workload), cell.threads,
                     cell.threads == 1 ? "" : "s"),
         report.comparing.throughput(&run, sync),
         patch == nullptr ? std::nullopt : std::optional(patch->patched / patch->unmodified)});
  }
  if (first == nullptr) return chart;
  chart.caption =
      fmt::format("Throughput of ioeventfd, for each of sync's: {}, {}, {} vCPU{}",
                  report.setting.programs.label(first->cell.vmm), to_string(first->cell.placement),
                  first->cell.vcpus, first->cell.vcpus == 1 ? "" : "s");
  return chart;
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
  Page page;
  page.title = report.setting.served ? "Bellhop: disks by vhost-user"
                                     : "Bellhop: virtio-blk, sync against ioeventfd";
  page.heading = report.setting.served
                     ? "Disks by vhost-user: requests, and CPU time of the back end"
                     : "Virtqueue notification: synchronous against ioeventfd";
  for (const Vmm vmm : {Vmm::kBellhop, Vmm::kInprocess}) {
    if (!page.headline.empty()) break;
    page.headline = find_headline(ways_in(report, vmm, names), report.comparing);
  }
  page.findings = find_in(report, names);
  page.introduction = report.setting.served ? kServedIntroduction : kIntroduction;
  page.tables = make_tables(report);
  page.chart = make_chart(report);
  page.notes = notes_about(report);
  return page;
}

}  // namespace bellhop::bench

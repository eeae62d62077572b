#include "bench/blk/blk_tables.h"
#include "bench/harness/machine_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bench/harness/cell_text.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {

namespace {

struct Row {
  Workload workload;
  unsigned threads;
  friend auto operator<=>(const Row&, const Row&) = default;
};

struct Group {
  unsigned vcpus;
  Placement placement;
  RingLayout ring;
  friend auto operator<=>(const Group&, const Group&) = default;
};

/// The runs of one group, by row and column.
class View {
 public:
  View(const BlkReport& report, Group group) : report_(report), group_(group) {
    for (const Run& run : report.runs) {
      if (!in_group(run)) continue;
      rows_.insert({run.cell.workload, run.cell.threads});
      vmms_.insert(run.cell.vmm);
    }
  }

  [[nodiscard]] const std::set<Row>& rows() const { return rows_; }
  [[nodiscard]] const std::set<Vmm>& vmms() const { return vmms_; }
  [[nodiscard]] bool has(Vmm vmm) const { return vmms_.contains(vmm); }
  [[nodiscard]] bool has(Vmm vmm, NotifyMode notify) const {
    return std::ranges::any_of(rows_, [&](Row row) { return find(row, vmm, notify) != nullptr; });
  }
  [[nodiscard]] const Run* find(Row row, Vmm vmm, NotifyMode notify) const {
    return report_.find(
        {row.workload, row.threads, group_.vcpus, group_.placement, vmm, notify, group_.ring});
  }
  [[nodiscard]] const char* transport() const {
    if (has(Vmm::kInprocess)) return "eventfds";
    return to_string(report_.setting.transport);
  }
  [[nodiscard]] std::string way(NotifyMode mode) const {
    if (mode != NotifyMode::kAdaptive) return to_string(mode);
    return fmt::format("adaptive ({})", bellhop::to_string(report_.setting.optimize));
  }
  [[nodiscard]] std::string caption(Vmm vmm) const {
    const BlkSetting& setting = report_.setting;
    const char* without_vm =
        "Bellhop's engine IN PROCESS, without a VM (a driver in this process, plain eventfds)";
    return fmt::format(
        "{}: virtio-blk over {}{}, {} vCPU{}, placement {}, cache={}, aio={}, blocks of {}, medium "
        "{}; median of {} x {:g} s",
        vmm == Vmm::kInprocess ? without_vm : setting.programs.name(vmm), transport(),
        group_.ring == RingLayout::kPacked ? ", packed rings" : "", group_.vcpus,
        group_.vcpus == 1 ? "" : "s", to_string(group_.placement), to_string(setting.cache),
        to_string(setting.aio), setting.block_bytes, setting.medium, setting.repeats,
        setting.seconds);
  }

 private:
  [[nodiscard]] bool in_group(const Run& run) const {
    return run.cell.vcpus == group_.vcpus && run.cell.placement == group_.placement &&
           run.cell.ring == group_.ring;
  }

  const BlkReport& report_;
  Group group_;
  std::set<Row> rows_;
  std::set<Vmm> vmms_;
};

std::vector<Table::Column> own_columns(const std::string& throughput_title) {
  return {{"", "Test", true},
          {"", "Threads"},
          {throughput_title, "sync"},
          {throughput_title, "ioeventfd"},
          {throughput_title, "gain"},
          {throughput_title, "spread"},
          {"MB per host CPU second", "sync"},
          {"MB per host CPU second", "ioeventfd"},
          {"MB per host CPU second", "ratio"}};
}

std::vector<std::string> own_row(const View& view, Row row, Vmm vmm) {
  const Run* sync = view.find(row, vmm, NotifyMode::kSync);
  const Run* event = view.find(row, vmm, NotifyMode::kIoEventFd);
  return {title(row.workload),
          fmt::format("{}", row.threads),
          throughput(sync),
          throughput(event),
          gain(sync, event),
          spread(sync) + " / " + spread(event),
          efficiency(sync),
          efficiency(event),
          efficiency_ratio(event, sync)};
}

/// Bellhop's own table, with a VM or in process.
Table bellhop_table(const View& view, Vmm vmm) {
  Table table;
  table.caption = view.caption(vmm);
  table.columns = own_columns("today, MB/s");
  std::vector<NotifyMode> more;
  for (const NotifyMode mode : {NotifyMode::kPoll, NotifyMode::kAdaptive}) {
    if (view.has(vmm, mode)) more.push_back(mode);
  }
  for (const NotifyMode mode : more) {
    for (const char* name : {"MB/s", "gain", "spread", "MB per CPU s", "ratio"}) {
      table.columns.push_back({view.way(mode) + ", beside sync", name});
    }
  }
  for (const char* name : {"unmodified", "patched", "gain"}) {
    table.columns.push_back({"the 2010 patch, MB/s", name});
  }
  for (const Row row : view.rows()) {
    auto cells = own_row(view, row, vmm);
    for (const NotifyMode mode : more) {
      const Run* sync = view.find(row, vmm, NotifyMode::kSync);
      const Run* run = view.find(row, vmm, mode);
      cells.insert(cells.end(), {throughput(run), gain(sync, run), spread(run), efficiency(run),
                                 efficiency_ratio(run, sync)});
    }
    const Patch2010Blk* patch = find_patch_2010(row.workload, row.threads);
    cells.push_back(patch != nullptr ? fmt::format("{:.1f}", patch->unmodified) : kNone);
    cells.push_back(patch != nullptr ? fmt::format("{:.1f}", patch->patched) : kNone);
    cells.push_back(patch != nullptr ? gain(patch->unmodified, patch->patched) : kNone);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table qemu_table(const View& view, Vmm qemu) {
  const bool with_ratios = view.has(Vmm::kBellhop);
  Table table;
  table.caption = view.caption(qemu);
  table.columns = own_columns("MB/s");
  if (with_ratios) {
    table.columns.push_back({"bellhop / qemu: MB/s", "sync"});
    table.columns.push_back({"bellhop / qemu: MB/s", "ioeventfd"});
    table.columns.push_back({"bellhop / qemu: MB per CPU s", "sync"});
    table.columns.push_back({"bellhop / qemu: MB per CPU s", "ioeventfd"});
  }
  for (const Row row : view.rows()) {
    auto cells = own_row(view, row, qemu);
    if (with_ratios) {
      const Run* runs[2][2];
      for (const NotifyMode notify : {NotifyMode::kSync, NotifyMode::kIoEventFd}) {
        const bool event = notify == NotifyMode::kIoEventFd;
        runs[event][0] = view.find(row, Vmm::kBellhop, notify);
        runs[event][1] = view.find(row, qemu, notify);
      }
      for (const auto& pair : runs) cells.push_back(throughput_ratio(pair[0], pair[1]));
      for (const auto& pair : runs) cells.push_back(efficiency_ratio(pair[0], pair[1]));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace

std::vector<Table> make_tables(const BlkReport& report) {
  std::set<Group> groups;
  for (const Run& run : report.runs) {
    groups.insert({run.cell.vcpus, run.cell.placement, run.cell.ring});
  }
  std::vector<Table> tables;
  for (const Group group : groups) {
    const View view(report, group);
    for (const Vmm vmm : view.vmms()) {
      tables.push_back(vmm.is_qemu() ? qemu_table(view, vmm) : bellhop_table(view, vmm));
    }
  }
  return tables;
}

}  // namespace bellhop::bench

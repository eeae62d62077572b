#include "bench/blk/blk_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bench/blk/served_tables.h"
#include "bench/harness/machine_command.h"
#include "bench/report/cell_text.h"
#include "bench/report/losses_table.h"
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
  [[nodiscard]] BlkCell cell(Row row, Vmm vmm, NotifyMode notify) const {
    return {row.workload, row.threads, group_.vcpus, group_.placement, vmm, notify, group_.ring};
  }
  [[nodiscard]] const Run* find(Row row, Vmm vmm, NotifyMode notify) const {
    return report_.find(cell(row, vmm, notify));
  }
  [[nodiscard]] const Comparing& comparing() const { return report_.comparing; }
  /// MB/s.
  [[nodiscard]] Table::Cell throughput(Row row, Vmm vmm, NotifyMode notify) const {
    const Run* run = find(row, vmm, notify);
    if (run == nullptr) return missing(report_.has_failed(describe(cell(row, vmm, notify))));
    return fmt::format("{:.1f}", run->throughput().median());
  }
  /// MB per host CPU second.
  [[nodiscard]] Table::Cell efficiency(Row row, Vmm vmm, NotifyMode notify) const {
    const Run* run = find(row, vmm, notify);
    if (run == nullptr) return missing(report_.has_failed(describe(cell(row, vmm, notify))));
    return fmt::format("{:.0f}", run->efficiency().median() * 1e-6);
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
        "{}; {}{}",
        vmm == Vmm::kInprocess ? without_vm : setting.programs.name(vmm), transport(),
        group_.ring == RingLayout::kPacked ? ", packed rings" : "", group_.vcpus,
        group_.vcpus == 1 ? "" : "s", to_string(group_.placement), to_string(setting.cache),
        to_string(setting.aio), setting.block_bytes, setting.medium,
        describe(setting.rounds, setting.seconds), native_in_memory(vmm));
  }

 private:
  [[nodiscard]] bool in_group(const Run& run) const {
    return run.cell.vcpus == group_.vcpus && run.cell.placement == group_.placement &&
           run.cell.ring == group_.ring;
  }

  /// Where native does not mean the same for two VMMs.
  [[nodiscard]] const char* native_in_memory(Vmm vmm) const {
    if (report_.setting.aio != Aio::kNative || report_.setting.medium != "tmpfs") return "";
    return vmm.is_qemu() ? ". aio=native is io_submit in QEMU, on tmpfs too"
                         : ". aio=native on tmpfs: reads and writes of memory are done in place "
                           "(preadv, pwritev), not by io_submit";
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
          {throughput_title, "gain (95 %)"},
          {throughput_title, "spread", false, true},
          {"MB per host CPU second", "sync"},
          {"MB per host CPU second", "ioeventfd"},
          {"MB per host CPU second", "ratio (95 %)"}};
}

std::vector<Table::Cell> own_row(const View& view, Row row, Vmm vmm) {
  const Run* sync = view.find(row, vmm, NotifyMode::kSync);
  const Run* event = view.find(row, vmm, NotifyMode::kIoEventFd);
  return {title(row.workload),
          fmt::format("{}", row.threads),
          view.throughput(row, vmm, NotifyMode::kSync),
          view.throughput(row, vmm, NotifyMode::kIoEventFd),
          gain_cell(view.comparing().throughput(event, sync)),
          spread(sync) + " / " + spread(event),
          view.efficiency(row, vmm, NotifyMode::kSync),
          view.efficiency(row, vmm, NotifyMode::kIoEventFd),
          ratio_cell(view.comparing().efficiency(event, sync))};
}

/// Bellhop's own table, with a VM or in process.
Table bellhop_table(const View& view, Vmm vmm) {
  Table table;
  table.caption = view.caption(vmm);
  table.columns = own_columns("today, MB/s");
  table.keys = 2;
  std::vector<NotifyMode> more;
  for (const NotifyMode mode : {NotifyMode::kPoll, NotifyMode::kAdaptive}) {
    if (view.has(vmm, mode)) more.push_back(mode);
  }
  for (const NotifyMode mode : more) {
    const std::string group = view.way(mode) + ", beside sync";
    table.columns.insert(table.columns.end(), {{group, "MB/s"},
                                               {group, "gain (95 %)"},
                                               {group, "spread", false, true},
                                               {group, "MB/CPU s"},
                                               {group, "ratio (95 %)"}});
  }
  for (const char* name : {"unmodified", "patched", "gain"}) {
    table.columns.push_back({"the 2010 patch, MB/s", name, false, true});
  }
  for (const Row row : view.rows()) {
    auto cells = own_row(view, row, vmm);
    for (const NotifyMode mode : more) {
      const Run* sync = view.find(row, vmm, NotifyMode::kSync);
      const Run* run = view.find(row, vmm, mode);
      cells.insert(cells.end(), {view.throughput(row, vmm, mode),
                                 gain_cell(view.comparing().throughput(run, sync)), spread(run),
                                 view.efficiency(row, vmm, mode),
                                 ratio_cell(view.comparing().efficiency(run, sync))});
    }
    const Patch2010Blk* patch = find_patch_2010(row.workload, row.threads);
    cells.emplace_back(patch != nullptr ? fmt::format("{:.1f}", patch->unmodified) : kNone);
    cells.emplace_back(patch != nullptr ? fmt::format("{:.1f}", patch->patched) : kNone);
    cells.emplace_back(patch != nullptr ? plain_gain(patch->unmodified, patch->patched) : kNone);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table qemu_table(const View& view, Vmm qemu) {
  const bool with_ratios = view.has(Vmm::kBellhop);
  constexpr NotifyMode kBoth[] = {NotifyMode::kSync, NotifyMode::kIoEventFd};
  Table table;
  table.caption = view.caption(qemu);
  table.columns = own_columns("MB/s");
  table.keys = 2;
  if (with_ratios) {
    for (const char* group :
         {"bellhop / qemu: MB/s (95 %)", "bellhop / qemu: MB per CPU s (95 %)"}) {
      for (const NotifyMode notify : kBoth) {
        table.columns.push_back({group, bellhop::to_string(notify)});
      }
    }
  }
  for (const Row row : view.rows()) {
    auto cells = own_row(view, row, qemu);
    if (with_ratios) {
      for (const NotifyMode notify : kBoth) {
        cells.push_back(ratio_cell(view.comparing().throughput(
            view.find(row, Vmm::kBellhop, notify), view.find(row, qemu, notify))));
      }
      for (const NotifyMode notify : kBoth) {
        cells.push_back(ratio_cell(view.comparing().efficiency(
            view.find(row, Vmm::kBellhop, notify), view.find(row, qemu, notify))));
      }
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace

std::vector<Table> make_tables(const BlkReport& report) {
  if (report.setting.served) return make_served_tables(report);
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
  tables.push_back(losses_table(report));
  return tables;
}

}  // namespace bellhop::bench

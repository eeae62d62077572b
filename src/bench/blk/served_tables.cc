#include "bench/blk/served_tables.h"

#include <fmt/format.h>

#include <set>
#include <string>

#include "bench/report/cell_text.h"
#include "bench/report/losses_table.h"

namespace bellhop::bench {

namespace {

/// A back end, how it is notified, and its rings: a group of columns.
struct ServedWay {
  Vmm vmm;
  NotifyMode notify;
  RingLayout ring;
  friend auto operator<=>(const ServedWay&, const ServedWay&) = default;
};

struct ServedRow {
  Workload workload;
  unsigned depth;
  friend auto operator<=>(const ServedRow&, const ServedRow&) = default;
};

class ServedView {
 public:
  ServedView(const BlkReport& report, Placement placement)
      : report_(report), placement_(placement) {
    for (const Run& run : report.runs) {
      if (run.cell.placement != placement) continue;
      rows_.insert({run.cell.workload, run.cell.threads});
      ways_.insert({run.cell.vmm, run.cell.notify, run.cell.ring});
    }
  }

  [[nodiscard]] Table table() const {
    Table table;
    table.caption = caption();
    table.columns = {{"", "Test", true}, {"", "Depth"}};
    table.keys = 2;
    for (const ServedWay& way : ways_) {
      const std::string group = name(way);
      table.columns.insert(table.columns.end(), {{group, "1000/s"},
                                                 {group, "spread", false, true},
                                                 {group, "CPU us each"},
                                                 {group, "p50 us", false, true}});
    }
    for (const ServedWay& way : ways_) {
      if (!has_peer(way)) continue;
      const std::string group = "Bellhop / " + report_.setting.programs.label(way.vmm);
      add_ratio(table, group);
    }
    for (const ServedWay& way : ways_) {
      if (has_split(way)) add_ratio(table, name(way) + " / split");
    }
    for (const ServedRow& row : rows_) table.rows.push_back(cells(row));
    return table;
  }

 private:
  static void add_ratio(Table& table, const std::string& group) {
    table.columns.insert(table.columns.end(),
                         {{group, "requests (95 %)"}, {group, "for each CPU s (95 %)"}});
  }
  [[nodiscard]] std::string name(const ServedWay& way) const {
    std::string name = report_.setting.programs.label(way.vmm);
    const bool one_way = way.vmm.is_qemu() || way.vmm == Vmm::kSocket;
    if (!one_way) name.append(", ").append(bellhop::to_string(way.notify));
    if (way.ring != RingLayout::kSplit) name.append(", ").append(to_string(way.ring));
    return name;
  }
  [[nodiscard]] BlkCell cell(const ServedRow& row, const ServedWay& way) const {
    return {row.workload, row.depth, 0, placement_, way.vmm, way.notify, way.ring};
  }
  [[nodiscard]] const Run* find(const ServedRow& row, const ServedWay& way) const {
    return report_.find(cell(row, way));
  }
  /// Whether there are ratios to it.
  [[nodiscard]] bool has_peer(const ServedWay& way) const {
    return way.vmm.is_qemu() && ways_.contains({Vmm::kBellhop, way.notify, way.ring});
  }
  /// Whether there are ratios of it to split rings.
  [[nodiscard]] bool has_split(const ServedWay& way) const {
    return way.ring != RingLayout::kSplit &&
           ways_.contains({way.vmm, way.notify, RingLayout::kSplit});
  }
  void add_ratios(std::vector<Table::Cell>& cells, const Run* one, const Run* other) const {
    cells.push_back(ratio_cell(report_.comparing.throughput(one, other)));
    cells.push_back(ratio_cell(report_.comparing.efficiency(one, other)));
  }

  [[nodiscard]] std::vector<Table::Cell> cells(const ServedRow& row) const {
    std::vector<Table::Cell> cells = {title(row.workload), fmt::format("{}", row.depth)};
    for (const ServedWay& way : ways_) {
      const Run* run = find(row, way);
      if (run == nullptr) {
        const Table::Cell none = missing(report_.has_failed(describe(cell(row, way))));
        cells.insert(cells.end(), {none, none, none, none});
        continue;
      }
      const double bytes = report_.setting.block_bytes;
      cells.insert(cells.end(),
                   {fmt::format("{:.1f}", run->throughput().median() * 1e6 / bytes / 1000),
                    spread(run), fmt::format("{:.2f}", bytes / run->efficiency().median() * 1e6),
                    fmt::format("{:.1f}", run->median.latency.p50)});
    }
    for (const ServedWay& way : ways_) {
      if (!has_peer(way)) continue;
      add_ratios(cells, find(row, {Vmm::kBellhop, way.notify, way.ring}), find(row, way));
    }
    for (const ServedWay& way : ways_) {
      if (!has_split(way)) continue;
      add_ratios(cells, find(row, way), find(row, {way.vmm, way.notify, RingLayout::kSplit}));
    }
    return cells;
  }

  [[nodiscard]] std::string caption() const {
    const BlkSetting& setting = report_.setting;
    const std::string medium =
        setting.socket.empty()
            ? fmt::format("cache={}, aio={}, medium {}", to_string(setting.cache),
                          to_string(setting.aio), setting.medium)
            : "the disk at " + setting.socket;
    return fmt::format(
        "vhost-user-blk, one queue, a driver that sleeps, placement {}, blocks of {}, "
        "{}; {}. CPU time is the back end's",
        to_string(placement_), setting.block_bytes, medium,
        describe(setting.rounds, setting.seconds));
  }

  const BlkReport& report_;
  Placement placement_;
  std::set<ServedRow> rows_;
  std::set<ServedWay> ways_;
};

}  // namespace

std::vector<Table> make_served_tables(const BlkReport& report) {
  std::set<Placement> placements;
  for (const Run& run : report.runs) placements.insert(run.cell.placement);
  std::vector<Table> tables;
  tables.reserve(placements.size() + 1);
  for (const Placement placement : placements) {
    tables.push_back(ServedView(report, placement).table());
  }
  if (report.setting.socket.empty()) tables.push_back(losses_table(report));
  return tables;
}

}  // namespace bellhop::bench

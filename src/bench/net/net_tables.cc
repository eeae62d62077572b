#include "bench/net/net_tables.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "bench/harness/machine_command.h"
#include "bench/report/cell_text.h"
#include "bench/report/losses_table.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {

namespace {

constexpr NetNotify kUserNotify[] = {NetNotify::kSync, NetNotify::kIoEventFd};

/// What stands together in one table.
struct Group {
  NetWorkload workload;
  Placement placement;
  Framing framing;
  Trains trains;  ///< without: where they make a difference
  friend auto operator<=>(const Group&, const Group&) = default;
};

struct Row {
  Direction direction;
  unsigned message_bytes;
  /// As in the 2010 patch: large messages first.
  friend bool operator<(const Row& a, const Row& b) {
    if (a.direction != b.direction) return a.direction < b.direction;
    return a.message_bytes > b.message_bytes;
  }
};

/// The runs of one group.
class View {
 public:
  View(const NetReport& report, Group group) : report_(report), group_(group) {
    for (const NetRun& run : report.runs) {
      const NetCell& cell = run.cell;
      if (Group{cell.workload, cell.placement, cell.framing, group.trains} != group) continue;
      // What knows no --gro stands beside both where it is to be compared.
      if (cell.trains != group.trains && !(cell.vmm.is_qemu() && has_both(cell))) continue;
      rows_.insert({cell.direction, cell.message_bytes});
      vmms_.insert(cell.vmm);
      if (cell.notify == NetNotify::kPoll || cell.notify == NetNotify::kAdaptive) {
        more_.insert(cell.notify);
      }
    }
  }

  [[nodiscard]] const std::set<Row>& rows() const { return rows_; }
  [[nodiscard]] const std::set<Vmm>& vmms() const { return vmms_; }
  /// Which have a place in the tables: those of the 2010 patch, and what else was measured.
  [[nodiscard]] std::vector<NetNotify> notifies() const {
    std::vector<NetNotify> all = {NetNotify::kSync, NetNotify::kIoEventFd, NetNotify::kVhost};
    all.insert(all.end(), more_.begin(), more_.end());
    return all;
  }
  [[nodiscard]] bool has(Vmm vmm) const { return vmms_.contains(vmm); }
  [[nodiscard]] NetCell cell(Row row, Vmm vmm, NetNotify notify) const {
    NetCell cell{group_.workload, row.direction,    row.message_bytes,
                 group_.framing,  group_.placement, vmm,
                 notify};
    if (has_trains(cell)) cell.trains = group_.trains;
    return cell;
  }
  [[nodiscard]] const NetRun* find(Row row, Vmm vmm, NetNotify notify) const {
    return report_.find(cell(row, vmm, notify));
  }
  [[nodiscard]] const Comparing& comparing() const { return report_.comparing; }
  [[nodiscard]] Table::Cell megabits(Row row, Vmm vmm, NetNotify notify) const {
    const NetRun* run = find(row, vmm, notify);
    if (run == nullptr) return missing(report_.has_failed(describe(cell(row, vmm, notify))));
    return fmt::format("{:.0f}", run->throughput().median() * 8);
  }
  /// MB per host CPU second.
  [[nodiscard]] Table::Cell efficiency(Row row, Vmm vmm, NetNotify notify) const {
    const NetRun* run = find(row, vmm, notify);
    if (run == nullptr) return missing(report_.has_failed(describe(cell(row, vmm, notify))));
    return fmt::format("{:.0f}", run->efficiency().median() * 1e-6);
  }
  [[nodiscard]] std::string name(Vmm vmm) const { return report_.setting.programs.name(vmm); }
  [[nodiscard]] std::string label(Vmm vmm) const { return report_.setting.programs.label(vmm); }
  /// For the tables that have all VMMs.
  [[nodiscard]] std::string peers() const {
    std::string text;
    for (const Vmm vmm : vmms_) {
      if (vmm.is_qemu()) text += "; " + name(vmm);
    }
    return text;
  }
  [[nodiscard]] std::string circumstances() const {
    const NetSetting& setting = report_.setting;
    return fmt::format(
        "virtio-net over {}, tap, 1 vCPU, 1 pair of queues{}, placement {}{}; {}",
        to_string(setting.transport), group_.trains == Trains::kOn ? "" : ", gro=off",
        to_string(group_.placement),
        setting.end_cpus.empty() ? "" : ", other end on CPU " + format_cpu_list(setting.end_cpus),
        describe(setting.rounds, setting.seconds));
  }
  [[nodiscard]] bool tcp() const { return group_.framing == Framing::kTcp; }
  [[nodiscard]] const char* framing() const {
    switch (group_.framing) {
      case Framing::kGso:
        return "frames of up to 64 KiB, cut into datagrams of 1472 bytes by offload where it is "
               "negotiated";
      case Framing::kMtu:
        return "a frame for each datagram of 1472 bytes, no segmentation offload";
      case Framing::kJumbo:
        return "a frame for each datagram of up to 64 KiB, on a link of that MTU";
      case Framing::kTcp:
        return "the frames of a Linux guest's TCP";
    }
    return "";
  }

 private:
  /// Whether Bellhop's cell like this one was measured without trains.
  [[nodiscard]] bool has_both(NetCell cell) const {
    cell.vmm = Vmm::kBellhop;
    cell.trains = Trains::kOff;
    return report_.find(cell) != nullptr;
  }

  const NetReport& report_;
  Group group_;
  std::set<Row> rows_;
  std::set<Vmm> vmms_;
  std::set<NetNotify> more_;
};

const char* title(Direction direction) {
  return direction == Direction::kGuestToHost ? "guest to host" : "host to guest";
}

std::string loss(const NetRun* run) {
  return run == nullptr ? kNone : fmt::format("{:.2g} %", run->median.lost_share() * 100);
}

std::string sent_again(const NetRun* run) {
  return run == nullptr ? kNone : fmt::format("{}", run->median.retransmits);
}

void add_ratio_columns(Table& table, const char* what) {
  for (const char* efficient : {"", " per CPU s"}) {
    for (const NetNotify notify : kUserNotify) {
      table.columns.push_back(
          {fmt::format("bellhop / qemu: {}{} (95 %)", what, efficient), to_string(notify)});
    }
  }
}

void add_ratios(std::vector<Table::Cell>& cells, const View& view, Row row, Vmm peer) {
  for (const NetNotify notify : kUserNotify) {
    cells.push_back(ratio_cell(view.comparing().throughput(view.find(row, Vmm::kBellhop, notify),
                                                           view.find(row, peer, notify))));
  }
  for (const NetNotify notify : kUserNotify) {
    cells.push_back(ratio_cell(view.comparing().efficiency(view.find(row, Vmm::kBellhop, notify),
                                                           view.find(row, peer, notify))));
  }
}

Table stream_table(const View& view, Vmm vmm) {
  const bool own = vmm == Vmm::kBellhop;
  const bool ratios = !own && view.has(Vmm::kBellhop);
  Table table;
  table.caption =
      view.tcp() ? fmt::format("{}: TCP_STREAM between iperf3 in a Linux guest and on the host; {}",
                               view.name(vmm), view.circumstances())
                 : fmt::format("{}: UDP stream, {}; {}", view.name(vmm), view.framing(),
                               view.circumstances());
  table.columns = {{"", "Direction", true}, {"", "Message"}};
  table.keys = 2;
  for (const NetNotify notify : view.notifies()) {
    table.columns.push_back({"today, Mb/s", to_string(notify)});
  }
  table.columns.push_back({"today, Mb/s", "gain (95 %)"});
  table.columns.push_back({"today, Mb/s", "spread", false, true});
  table.columns.push_back({"today, Mb/s", view.tcp() ? "sent again" : "lost"});
  for (const NetNotify notify : view.notifies()) {
    table.columns.push_back({"MB per host CPU second", to_string(notify)});
  }
  table.columns.push_back({"MB per host CPU second", "ratio (95 %)"});
  if (own) {
    for (const char* name : {"unmodified", "patched", "vhost", "gain"}) {
      table.columns.push_back({"the 2010 patch (TCP), Mb/s", name, false, true});
    }
  }
  if (ratios) add_ratio_columns(table, "Mb/s");
  for (const Row row : view.rows()) {
    const NetRun* sync = view.find(row, vmm, NetNotify::kSync);
    const NetRun* event = view.find(row, vmm, NetNotify::kIoEventFd);
    std::vector<Table::Cell> cells = {title(row.direction), fmt::format("{}", row.message_bytes)};
    for (const NetNotify notify : view.notifies()) cells.push_back(view.megabits(row, vmm, notify));
    cells.push_back(gain_cell(view.comparing().throughput(event, sync)));
    cells.emplace_back(spread(sync) + " / " + spread(event));
    cells.emplace_back(view.tcp() ? sent_again(sync) + " / " + sent_again(event)
                                  : loss(sync) + " / " + loss(event));
    for (const NetNotify notify : view.notifies()) {
      cells.push_back(view.efficiency(row, vmm, notify));
    }
    cells.push_back(ratio_cell(view.comparing().efficiency(event, sync)));
    if (own) {
      const Patch2010Net* patch = find_patch_2010(row.direction, row.message_bytes);
      const auto figure = [patch](double Patch2010Net::*member) {
        return patch != nullptr ? fmt::format("{:.0f}", patch->*member) : kNone;
      };
      cells.emplace_back(figure(&Patch2010Net::unmodified));
      cells.emplace_back(figure(&Patch2010Net::patched));
      cells.emplace_back(figure(&Patch2010Net::vhost));
      cells.emplace_back(patch != nullptr ? plain_gain(patch->unmodified, patch->patched) : kNone);
    }
    if (ratios) add_ratios(cells, view, row, vmm);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// One line for each VMM and mode: what one operation takes.
Table ping_table(const View& view) {
  Table table;
  table.caption =
      "Ping-pong of one byte, one at a time, from the guest to the host's socket and back: " +
      view.circumstances() + view.peers();
  table.columns = {{"", "VMM", true},
                   {"", "Notification", true},
                   {"", "per second"},
                   {"us there and back", "p50"},
                   {"us there and back", "p99"},
                   {"us there and back", "max"},
                   {"host CPU us for each", "VMM"},
                   {"host CPU us for each", "socket's end"}};
  table.keys = 2;
  for (const Row row : view.rows()) {
    for (const Vmm vmm : view.vmms()) {
      for (const NetNotify notify : view.notifies()) {
        const NetRun* run = view.find(row, vmm, notify);
        if (run == nullptr) continue;
        const NetMeasurement& m = run->median;
        const auto each = [&m](double seconds) {
          return fmt::format("{:.1f}", seconds * 1e6 / static_cast<double>(m.operations));
        };
        table.rows.push_back(
            {view.label(vmm), to_string(notify), fmt::format("{:.0f}", m.iops()),
             fmt::format("{:.1f}", m.latency.p50), fmt::format("{:.1f}", m.latency.p99),
             fmt::format("{:.0f}", m.latency.max), each(m.host_cpu_s), each(m.end_cpu_s)});
      }
    }
  }
  return table;
}

/// How much of what the I/O threads spend is the kernel's; not said of threads that hardly ran.
std::string kernel_share(const NetMeasurement& m) {
  constexpr double kTooLittle = 0.1;  // seconds: ticks are hundredths
  if (!m.io_system_s || m.io_cpu_s < kTooLittle) return kNone;
  return fmt::format("{:.0f} %", *m.io_system_s / m.io_cpu_s * 100);
}

Table packet_table(const View& view) {
  const bool ratios = view.has(Vmm::kBellhop) && view.vmms().size() > 1;
  Table table;
  table.caption = "Frames of 64 bytes, one datagram each: " + view.circumstances() + view.peers();
  table.columns = {{"", "Direction", true},         {"", "VMM", true},
                   {"", "Notification", true},      {"thousand a second", "received"},
                   {"thousand a second", "spread"}, {"thousand a second", "lost"},
                   {"host CPU", "us each"},         {"host CPU", "thousand a CPU s"},
                   {"", "system calls each"},       {"I/O threads", "in the kernel"}};
  table.keys = 3;
  if (ratios) {
    table.columns.push_back({"bellhop / this one (95 %)", "rate"});
    table.columns.push_back({"bellhop / this one (95 %)", "per CPU s"});
  }
  for (const Row row : view.rows()) {
    for (const Vmm vmm : view.vmms()) {
      for (const NetNotify notify : view.notifies()) {
        const NetRun* run = view.find(row, vmm, notify);
        if (run == nullptr) continue;
        const NetMeasurement& m = run->median;
        const auto count = static_cast<double>(m.datagrams);
        std::vector<Table::Cell> cells = {
            title(row.direction),
            view.label(vmm),
            to_string(notify),
            fmt::format("{:.1f}", m.datagrams_per_s() * 1e-3),
            spread(run),
            loss(run),
            quotient(m.host_cpu_s * 1e6, count),
            quotient(count * 1e-3, m.host_cpu_s),
            m.counters.system_calls ? quotient(static_cast<double>(*m.counters.system_calls), count)
                                    : kNone,
            kernel_share(m)};
        if (ratios) {
          const NetRun* own = vmm.is_qemu() ? view.find(row, Vmm::kBellhop, notify) : nullptr;
          cells.push_back(ratio_cell(view.comparing().throughput(own, run)));
          cells.push_back(ratio_cell(view.comparing().efficiency(own, run)));
        }
        table.rows.push_back(std::move(cells));
      }
    }
  }
  return table;
}

}  // namespace

std::vector<Table> make_tables(const NetReport& report) {
  std::set<Group> groups;
  for (const NetRun& run : report.runs) {
    groups.insert({run.cell.workload, run.cell.placement, run.cell.framing, run.cell.trains});
  }
  std::vector<Table> tables;
  for (const Group group : groups) {
    const View view(report, group);
    switch (group.workload) {
      case NetWorkload::kStream:
        for (const Vmm vmm : view.vmms()) tables.push_back(stream_table(view, vmm));
        break;
      case NetWorkload::kPing:
        tables.push_back(ping_table(view));
        break;
      case NetWorkload::kPackets:
        tables.push_back(packet_table(view));
        break;
    }
  }
  tables.push_back(losses_table(report));
  return tables;
}

}  // namespace bellhop::bench

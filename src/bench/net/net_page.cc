#include "bench/net/net_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "bench/net/net_tables.h"
#include "bench/report/findings.h"

namespace bellhop::bench {

namespace {

constexpr const char* kIntroduction =
    R"(<p>Each figure is the median of interleaved repeats. The stream is no TCP: it is UDP datagrams
between the bench guest and a real socket in a network namespace of its own, through a tap device,
with a window of datagrams that may be on their way and no retransmission; what is lost is counted.
Every byte is checked where it arrives. Mb/s are 10<sup>6</sup> bits of UDP payload, counted at the
receiver. Host CPU seconds are all CPU time of the VMM's process during the measured seconds, guest
included, and not that of the process that has the socket. &ldquo;The 2010 patch&rdquo;: the
TCP_STREAM figures of the patch that proposed ioeventfd for virtqueue notification, with TCP, on
other hardware: compare the gains, not the throughput.</p>
)";

constexpr const char* kTcpIntroduction =
    R"(<p>Each figure is the median of interleaved repeats. The stream is TCP, by iperf3, between a
Linux guest and the host, through a tap device in a network namespace of its own. Mb/s are
10<sup>6</sup> bits of what the receiving iperf3 counted. Host CPU seconds are all CPU time of the
VMM's process between the guest's markers, guest included, and not that of the host's iperf3.
&ldquo;The 2010 patch&rdquo;: the TCP_STREAM figures of the patch that proposed ioeventfd for
virtqueue notification, on other hardware: compare the gains.</p>
)";

using Series = std::tuple<Framing, Placement, Vmm, NetNotify>;
using Row = std::tuple<Direction, unsigned>;

std::string name_of(const Series& series, const Programs& programs) {
  const auto& [framing, placement, vmm, notify] = series;
  return fmt::format("{} {}, {}, {}", programs.label(vmm), to_string(notify), to_string(framing),
                     to_string(placement));
}

std::vector<BarChart> make_charts(const NetReport& report) {
  std::set<Series> series;
  std::set<Row> rows;
  for (const NetRun& run : report.runs) {
    const NetCell& cell = run.cell;
    if (cell.workload != NetWorkload::kStream) continue;
    series.insert({cell.framing, cell.placement, cell.vmm, cell.notify});
    rows.insert({cell.direction, cell.message_bytes});
  }
  BarChart throughput{"Mb/s", {}, {}};
  BarChart efficiency{"MB per host CPU second", {}, {}};
  for (const Series& one : series) {
    throughput.series.push_back(name_of(one, report.setting.programs));
    efficiency.series.push_back(name_of(one, report.setting.programs));
  }
  for (const Row& row : rows) {
    const auto& [direction, bytes] = row;
    const std::string name = fmt::format("{} {}", to_string(direction), bytes);
    throughput.rows.push_back({name, {}});
    efficiency.rows.push_back({name, {}});
    for (const auto& [framing, placement, vmm, notify] : series) {
      const NetRun* run =
          report.find({NetWorkload::kStream, direction, bytes, framing, placement, vmm, notify});
      std::optional<double> speed;
      std::optional<double> cost;
      if (run != nullptr) {
        speed = run->median.megabits_per_s();
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
  explicit Names(const NetReport& report) {
    for (const NetRun& run : report.runs) placements_.insert(run.cell.placement);
  }
  CellName operator()(const NetCell& cell) const {
    const bool of_one_size = cell.workload != NetWorkload::kStream;
    CellName name{kind(cell), of_one_size ? "" : fmt::format("{}", cell.message_bytes),
                  to_string(cell.notify)};
    if (placements_.size() > 1) name.kind += fmt::format(" {}", to_string(cell.placement));
    return name;
  }

 private:
  static std::string kind(const NetCell& cell) {
    switch (cell.workload) {
      case NetWorkload::kStream:
        return fmt::format("Stream {} {}", to_string(cell.direction), to_string(cell.framing));
      case NetWorkload::kPing:
        return "Ping-pong";
      case NetWorkload::kPackets:
        return fmt::format("Small frames {}", to_string(cell.direction));
    }
    return "";
  }

  std::set<Placement> placements_;
};

}  // namespace

Page make_page(const NetReport& report) {
  const Names names(report);
  const bool is_tcp = std::ranges::any_of(
      report.runs, [](const NetRun& run) { return run.cell.framing == Framing::kTcp; });
  return {"Bellhop: virtio-net, sync against ioeventfd",
          "Virtqueue notification: synchronous against ioeventfd",
          find_in(report, names),
          is_tcp ? kTcpIntroduction : kIntroduction,
          make_tables(report),
          make_charts(report)};
}

}  // namespace bellhop::bench

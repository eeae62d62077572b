#include "bench/net/net_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bench/net/net_tables.h"
#include "bench/report/findings.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {

namespace {

constexpr const char* kIntroduction =
    R"(<p>Each figure is the median of repeats that took turns; in
brackets is where it lies with 95 %, by a bootstrap over the rounds. The stream is no TCP: it is UDP datagrams
between the bench guest and a real socket in a network namespace of its own, through a tap device,
with a window of datagrams that may be on their way and no retransmission; what is lost is counted.
Every byte is checked where it arrives. Mb/s are 10<sup>6</sup> bits of UDP payload, counted at the
receiver. Host CPU seconds are all CPU time of the VMM's process during the measured seconds, guest
included, and not that of the process that has the socket. &ldquo;The 2010 patch&rdquo;: the
TCP_STREAM figures of the patch that proposed ioeventfd for virtqueue notification, with TCP, on
other hardware: compare the gains, not the throughput.</p>
)";

constexpr const char* kTcpIntroduction =
    R"(<p>Each figure is the median of repeats that took turns; in
brackets is where it lies with 95 %, by a bootstrap over the rounds. The stream is TCP, by iperf3, between a
Linux guest and the host, through a tap device in a network namespace of its own. Mb/s are
10<sup>6</sup> bits of what the receiving iperf3 counted. Host CPU seconds are all CPU time of the
VMM's process between the guest's markers, guest included, and not that of the host's iperf3.
&ldquo;The 2010 patch&rdquo;: the TCP_STREAM figures of the patch that proposed ioeventfd for
virtqueue notification, on other hardware: compare the gains.</p>
)";

/// Of the first framing and placement that have both ways.
GainChart make_chart(const NetReport& report) {
  GainChart chart;
  const NetRun* first = nullptr;
  for (const NetRun& run : report.runs) {
    const NetCell& cell = run.cell;
    if (cell.workload != NetWorkload::kStream || cell.vmm.is_qemu()) continue;
    if (cell.notify != NetNotify::kIoEventFd) continue;
    NetCell base = cell;
    base.notify = NetNotify::kSync;
    const NetRun* sync = report.find(base);
    if (sync == nullptr) continue;
    if (first == nullptr) first = &run;
    NetCell like_first = first->cell;
    like_first.direction = cell.direction;
    like_first.message_bytes = cell.message_bytes;
    if (like_first != cell) continue;
    const Patch2010Net* patch = find_patch_2010(cell.direction, cell.message_bytes);
    chart.rows.push_back(
        {fmt::format("{}, messages of {}", to_string(cell.direction), cell.message_bytes),
         report.comparing.throughput(&run, sync),
         patch == nullptr ? std::nullopt : std::optional(patch->patched / patch->unmodified)});
  }
  if (first == nullptr) return chart;
  chart.caption = fmt::format("Throughput of ioeventfd, for each of sync's: {}, {}, {}",
                              report.setting.programs.label(first->cell.vmm),
                              to_string(first->cell.framing), to_string(first->cell.placement));
  return chart;
}

/// Names of cells, without what all of them share.
class Names {
 public:
  explicit Names(const NetReport& report) {
    for (const NetRun& run : report.runs) {
      placements_.insert(run.cell.placement);
      without_trains_ |= run.cell.trains == Trains::kOff;
    }
  }
  CellName operator()(const NetCell& cell) const {
    const bool of_one_size = cell.workload != NetWorkload::kStream;
    CellName name{kind(cell), of_one_size ? "" : fmt::format("{}", cell.message_bytes),
                  to_string(cell.notify)};
    if (placements_.size() > 1) name.kind += fmt::format(" {}", to_string(cell.placement));
    if (without_trains_ && has_trains(cell)) {
      name.with =
          cell.trains == Trains::kOn ? "with trains of datagrams" : "without trains (gro=off)";
    } else if (without_trains_) {
      name.with = "where there are no trains to make";
    }
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
  bool without_trains_ = false;
};

}  // namespace

Page make_page(const NetReport& report) {
  const Names names(report);
  const bool is_tcp = std::ranges::any_of(
      report.runs, [](const NetRun& run) { return run.cell.framing == Framing::kTcp; });
  Page page;
  page.title = "Bellhop: virtio-net, sync against ioeventfd";
  page.heading = "Virtqueue notification: synchronous against ioeventfd";
  page.headline = find_headline(ways_in(report, Vmm::kBellhop, names), report.comparing);
  page.findings = find_in(report, names);
  page.introduction = is_tcp ? kTcpIntroduction : kIntroduction;
  page.tables = make_tables(report);
  page.chart = make_chart(report);
  page.notes = notes_about(report);
  return page;
}

}  // namespace bellhop::bench

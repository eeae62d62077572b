#include "bench/notify/notify_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bench/harness/cell_text.h"

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kIntroduction =
    R"(<p>The queue is empty: what is timed, by the guest's TSC, is one store that rings, from inside
the guest. Each repeat is a median over its kicks; the kinds take turns, and the table has the median
of the repeats and their spread. The floors are a VM with one vCPU and no device, of the same
run.</p>
)";

/// A figure, its name in the JSON, and the floor that it is held against.
struct Row {
  const char* key;
  const NotifyResult& figure;
  const NotifyResult* floor;
};

std::array<Row, 5> rows_of(const NotifyReport& report) {
  return {{{"bare_exit", report.bare_exit, nullptr},
           {"bellhop_sync", report.sync, &report.bare_exit},
           {"bare_ioeventfd", report.bare_event, nullptr},
           {"bare_ioeventfd_waited_for", report.bare_waited, &report.bare_event},
           {"bellhop_ioeventfd", report.ioeventfd, &report.bare_event}}};
}

std::string microseconds(double value) { return fmt::format("{:.2f}", value); }

double least(const NotifyResult& figure) { return *std::ranges::min_element(figure.repeats_us); }
double most(const NotifyResult& figure) { return *std::ranges::max_element(figure.repeats_us); }

double ratio(const NotifyResult& figure, const NotifyResult& floor) {
  return floor.median_us() > 0 ? figure.median_us() / floor.median_us() : 0;
}

/// Of a single repeat nothing is known.
Json spread_of(const NotifyResult& figure) {
  if (figure.repeats_us.size() < 2) return {nullptr, nullptr};
  return {least(figure), most(figure)};
}

bool has_spread(const NotifyReport& report) { return report.bare_exit.repeats_us.size() > 1; }

/// "a kick by an exit takes 28.00 us, 1.12 times the bare exit".
std::string cost(const char* kick, const NotifyResult& figure, const char* what,
                 const NotifyResult& floor) {
  const bool apart = least(figure) > most(floor) || least(floor) > most(figure);
  return fmt::format("{} takes the guest {} us, {:.2f} times {}{}", kick,
                     microseconds(figure.median_us()), ratio(figure, floor), what,
                     apart ? "" : " (within the spread)");
}

std::vector<std::string> find_in(const NotifyReport& report) {
  std::vector<std::string> findings;
  if (!has_spread(report)) {
    findings.emplace_back(
        "Each kind was measured once: there is no spread, and small differences "
        "mean nothing.");
  }
  findings.push_back(cost("A kick that exits", report.sync, "a bare exit", report.bare_exit) + ".");
  findings.push_back(
      cost("A kick by ioeventfd", report.ioeventfd, "a bare one", report.bare_event) + ", and " +
      fmt::format("{:.2f} of a kick that exits.", ratio(report.ioeventfd, report.sync)));
  return findings;
}

Table make_table(const NotifyReport& report) {
  Table table;
  table.caption = fmt::format(
      "One notification of an empty queue, as the guest sees it: median of {} repeat{}, each a "
      "median over its {} kicks",
      report.bare_exit.repeats_us.size(), report.bare_exit.repeats_us.size() == 1 ? "" : "s",
      report.kicks);
  table.columns = {{"", "notification", true},   {"microseconds", "median"},
                   {"microseconds", "least"},    {"microseconds", "most"},
                   {"times the floor", "ratio"}, {"", "what it is", true}};
  for (const Row& row : rows_of(report)) {
    table.rows.push_back(
        {row.figure.name, microseconds(row.figure.median_us()),
         has_spread(report) ? microseconds(least(row.figure)) : kNone,
         has_spread(report) ? microseconds(most(row.figure)) : kNone,
         row.floor == nullptr ? "" : fmt::format("{:.2f}", ratio(row.figure, *row.floor)),
         row.figure.meaning});
  }
  return table;
}

}  // namespace

Page make_page(const NotifyReport& report) {
  BarChart chart{"microseconds", {"median of the repeats"}, {}};
  for (const Row& row : rows_of(report)) {
    chart.rows.push_back({row.figure.name, {row.figure.median_us()}});
  }
  return {"Bellhop: what a notification costs the guest",
          "One notification of an empty queue",
          find_in(report),
          kIntroduction,
          {make_table(report)},
          {std::move(chart)}};
}

Json to_json(const NotifyReport& report) {
  Json notify{{"repeat", report.bare_exit.repeats_us.size()}, {"kicks", report.kicks}};
  for (const Row& row : rows_of(report)) {
    Json& figure = notify[row.key];
    figure = {{"median_us", row.figure.median_us()}, {"spread_us", spread_of(row.figure)}};
    if (row.floor != nullptr) figure["times_floor"] = ratio(row.figure, *row.floor);
  }
  notify["bellhop_ioeventfd"]["times_waited_floor"] = ratio(report.ioeventfd, report.bare_waited);
  return {{"schema", 1}, {"host", report.host}, {"notify", std::move(notify)}};
}

std::string to_csv(const NotifyReport& report) {
  std::vector<Json> lines;
  for (const Row& row : rows_of(report)) {
    lines.push_back({{"notification", row.key},
                     {"repeat", row.figure.repeats_us.size()},
                     {"kicks", report.kicks},
                     {"median_us", row.figure.median_us()},
                     {"spread_us", spread_of(row.figure)},
                     {"times_floor",
                      row.floor == nullptr ? Json(nullptr) : Json(ratio(row.figure, *row.floor))}});
  }
  return runs_to_csv(lines);
}

}  // namespace bellhop::bench

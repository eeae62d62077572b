#include "bench/notify/notify_page.h"

#include <fmt/format.h>

#include <array>

#include "bench/harness/measurement_json.h"
#include "bench/report/cell_text.h"

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

Sample sample_of(const NotifyResult& figure) { return {figure.repeats_us, false}; }

/// Of a single repeat nothing is known.
Json spread_of(const NotifyResult& figure) {
  if (figure.repeats_us.size() < 2) return {nullptr, nullptr};
  return {sample_of(figure).least(), sample_of(figure).most()};
}

bool has_spread(const NotifyReport& report) { return report.bare_exit.repeats_us.size() > 1; }

/// "a kick by an exit takes 28.00 us, 1.12 (1.05-1.20) times the bare exit".
std::string cost(const char* kick, const NotifyResult& figure, const char* what,
                 const Ratio& to_floor) {
  return fmt::format("{} takes the guest {} us, {} times {}", kick,
                     microseconds(figure.median_us()), ratio_cell(to_floor).text, what);
}

std::vector<std::string> find_in(const NotifyReport& report) {
  const auto ratio = [&report](const NotifyResult& figure, const NotifyResult& floor) {
    return report.comparing.ratio(sample_of(figure), sample_of(floor));
  };
  std::vector<std::string> findings;
  if (!has_spread(report)) {
    findings.emplace_back(
        "Each kind was measured once: there is no spread, and small differences "
        "mean nothing.");
  }
  findings.push_back(
      cost("A kick that exits", report.sync, "a bare exit", ratio(report.sync, report.bare_exit)) +
      ".");
  findings.push_back(cost("A kick by ioeventfd", report.ioeventfd, "a bare one",
                          ratio(report.ioeventfd, report.bare_event)) +
                     ", and " +
                     fmt::format("{} of a kick that exits.",
                                 ratio_cell(ratio(report.ioeventfd, report.sync)).text));
  return findings;
}

std::string make_headline(const NotifyReport& report) {
  const auto in_words = [](const NotifyResult& figure) { return microseconds(figure.median_us()); };
  return fmt::format(
      "On this host a kick by ioeventfd takes the guest {} us, and one that exits {}.",
      in_words(report.ioeventfd), in_words(report.sync));
}

Table make_table(const NotifyReport& report) {
  const std::size_t repeats = report.bare_exit.repeats_us.size();
  Table table;
  table.caption = fmt::format(
      "One notification of an empty queue, as the guest sees it: {}, each the median of its {} "
      "kicks",
      repeats == 1 ? "one repeat" : fmt::format("median of {} repeats", repeats), report.kicks);
  table.columns = {
      {"", "notification", true},          {"microseconds", repeats == 1 ? "measured" : "median"},
      {"microseconds", "least"},           {"microseconds", "most"},
      {"times the floor", "ratio (95 %)"}, {"", "what it is", true, true}};
  for (const Row& row : rows_of(report)) {
    const Sample sample = sample_of(row.figure);
    table.rows.push_back(
        {row.figure.name, microseconds(sample.median()),
         has_spread(report) ? microseconds(sample.least()) : kNone,
         has_spread(report) ? microseconds(sample.most()) : kNone,
         row.floor == nullptr
             ? Table::Cell("")
             : Table::Cell(ratio_cell(report.comparing.ratio(sample, sample_of(*row.floor))).text),
         row.figure.meaning});
  }
  return table;
}

/// Of Bellhop's own kicks: what takes longer than its floor.
Table make_losses(const NotifyReport& report) {
  Table table;
  table.caption = "Where Bellhop loses: kicks that take longer than their floor";
  table.columns = {{"", "notification", true}, {"", "times the floor (95 %)"}};
  for (const Row& row : rows_of(report)) {
    if (row.floor == nullptr || (row.figure.name.find("bellhop") == std::string::npos)) continue;
    const Ratio ratio = report.comparing.ratio(sample_of(row.figure), sample_of(*row.floor));
    if (ratio.verdict != Ratio::Verdict::kAbove) continue;
    table.rows.push_back({row.figure.name, Table::Cell(ratio_cell(ratio).text)});
  }
  table.empty = has_spread(report) ? "None." : "Each kind was measured once: nothing can be said.";
  return table;
}

}  // namespace

Page make_page(const NotifyReport& report) {
  Page page;
  page.title = "Bellhop: what a notification costs the guest";
  page.heading = "One notification of an empty queue";
  page.introduction = kIntroduction;
  if (report.bare_exit.repeats_us.empty()) return page;  // interrupted
  page.headline = make_headline(report);
  page.findings = find_in(report);
  page.tables = {make_table(report), make_losses(report)};
  return page;
}

Json to_json(const NotifyReport& report) {
  const auto times = [&report](const NotifyResult& figure, const NotifyResult& floor) {
    return report.comparing.ratio(sample_of(figure), sample_of(floor));
  };
  Json notify{{"repeat", report.bare_exit.repeats_us.size()}, {"kicks", report.kicks}};
  for (const Row& row : rows_of(report)) {
    Json& figure = notify[row.key];
    figure = {{"median_us", row.figure.median_us()},
              {"spread_us", spread_of(row.figure)},
              {"all_repeats_us", row.figure.repeats_us}};
    if (row.floor == nullptr) continue;
    const Ratio ratio = times(row.figure, *row.floor);
    figure["times_floor"] = ratio.value;
    figure["times_floor_interval"] =
        ratio.interval ? Json{ratio.interval->low, ratio.interval->high} : Json(nullptr);
  }
  notify["bellhop_ioeventfd"]["times_waited_floor"] =
      times(report.ioeventfd, report.bare_waited).value;
  Json json = report_to_json(report, {}, {});
  json["notify"] = std::move(notify);
  return json;
}

std::string to_csv(const NotifyReport& report) {
  std::vector<Json> lines;
  for (const Row& row : rows_of(report)) {
    lines.push_back(
        {{"notification", row.key},
         {"repeat", row.figure.repeats_us.size()},
         {"kicks", report.kicks},
         {"median_us", row.figure.median_us()},
         {"spread_us", spread_of(row.figure)},
         {"times_floor",
          row.floor == nullptr
              ? Json(nullptr)
              : Json(report.comparing.ratio(sample_of(row.figure), sample_of(*row.floor)).value)}});
  }
  return runs_to_csv(lines);
}

}  // namespace bellhop::bench

#include "bench/report/html_report.h"

#include <fmt/format.h>

namespace bellhop::bench {

namespace {

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<style>
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1.5em 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding-bottom: .4em; }
th, td { padding: .15em .7em; text-align: right; border-bottom: 1px solid #ddd; }
th.group { text-align: center; border-left: 1px solid #ddd; }
td.left { text-align: left; }
svg { max-width: 100%; height: auto; }
</style>
)";

std::string facts(const char* heading, const nlohmann::ordered_json& json) {
  if (!json.is_object() || json.empty()) return "";
  std::string html = fmt::format("<h2>{}</h2>\n<table>\n", heading);
  for (const auto& [key, value] : json.items()) {
    html += fmt::format("<tr><td class=\"left\">{}</td><td class=\"left\">{}</td></tr>\n",
                        escape_html(key),
                        escape_html(value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return html + "</table>\n";
}

}  // namespace

std::string to_html(const Page& page, const ReportBase& report) {
  std::string html = kHead;
  html += "<title>" + escape_html(page.title) + "</title>\n</head>\n<body>\n";
  html += "<h1>" + escape_html(page.heading) + "</h1>\n";
  for (const std::string& finding : page.findings) html += "<p>" + escape_html(finding) + "</p>\n";
  html += page.introduction;
  for (const Table& table : page.tables) html += to_html(table);
  if (const auto plots = draw_charts(page.charts)) {
    for (const std::string& svg : *plots) html += svg;
  } else {
    html += "<p>No plots: " + escape_html(plots.error().message) + ".</p>\n";
  }
  if (!report.not_run.empty()) {
    html += "<h2>Not run</h2>\n<ul>\n";
    for (const NotRun& cell : report.not_run) {
      html += "<li>" + escape_html(cell.cell + ": " + cell.reason) + "</li>\n";
    }
    html += "</ul>\n";
  }
  if (!report.disturbed.empty()) html += "<pre>" + escape_html(report.disturbed) + "</pre>\n";
  html += facts("Host", report.host) + facts("Floors, microseconds", report.floors);
  return html + "</body>\n</html>\n";
}

}  // namespace bellhop::bench

#include "bench/report/html_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/report/html_style.h"
#include "bench/report/kick_drawing.h"

namespace bellhop::bench {

namespace {

struct Word {
  const char* name;
  const char* meaning;
};

/// What readers may not know of the words in tables.
constexpr Word kWords[] = {
    {"sync", "the vCPU's kick exits to the VMM, which serves the queue in the vCPU's own thread"},
    {"ioeventfd", "KVM turns the kick into an event, and a thread of the VMM serves the queue"},
    {"poll", "that thread looks for requests without being kicked, as long as there are any"},
    {"adaptive", "each queue is served in the way that measures best, and changes while it runs"},
    {"vhost-net", "the kernel's own thread serves the queue"},
    {"other-core", "each vCPU has a CPU of its own, and the I/O thread a further one"},
    {"same-core", "the vCPUs and the I/O thread share one CPU"},
    {"placement free", "the scheduler chooses the CPUs"},
    {"busy", "the scheduler chooses, and two other processes compute all the while"},
    {"overcommit", "there are more vCPUs than CPUs"},
    {"medium", "the file system that the disk's image lies on; tmpfs is memory"},
    {"cache=none", "the host's page cache takes no part (O_DIRECT)"},
    {"aio=", "how the VMM asks the host's kernel for I/O"},
    {"CPU second",
     "of the VMM's process on all CPUs, guest included: what was moved for each is "
     "the efficiency"},
    {"gain (95 %)", "in brackets is where it lies with 95 %; within noise: 0 is in there, too"},
    {"ratio (95 %)", "in brackets is where it lies with 95 %; within noise: 1 is in there, too"},
    {"spread", "from the least to the most of the repeats, of the median"},
    {"disturbed",
     "other programs took more than 2 % of a repeat's time, and so at each of three "
     "tries: there is no ratio"},
    {"gro=off", "the guest's datagrams go through the tap device one by one, not as trains"},
};

std::string paragraph(const char* kind, const std::string& text) {
  return fmt::format("<p class=\"{}\">{}</p>\n", kind, escape_html(text));
}

/// Explains each word below the first table that has it.
class Words {
 public:
  std::string below(const Table& table) {
    std::string text = table.caption;
    for (const auto& column : table.columns) text += " " + column.group + " " + column.name;
    for (const auto& row : table.rows) {
      for (const auto& cell : row) text += " " + cell.text;
    }
    std::string html;
    for (const Word& word : kWords) {
      if (text.find(word.name) == std::string::npos) continue;
      if (std::ranges::find(told_, word.name) != told_.end()) continue;
      told_.emplace_back(word.name);
      html += fmt::format("{}<b>{}</b>: {}", html.empty() ? "" : ". ", escape_html(word.name),
                          escape_html(word.meaning));
    }
    return html.empty() ? "" : "<p class=\"words\">" + html + ".</p>\n";
  }

 private:
  std::vector<std::string> told_;
};

std::string facts(const char* heading, const nlohmann::ordered_json& json) {
  if (!json.is_object() || json.empty()) return "";
  std::string html =
      fmt::format("<h2>{}</h2>\n<div class=\"scroll\"><table class=\"facts\"><tbody>\n", heading);
  for (const auto& [key, value] : json.items()) {
    const std::string text = value.is_string()         ? value.get<std::string>()
                             : value.is_number_float() ? fmt::format("{:.2f}", value.get<double>())
                             : value.is_null()         ? "not known"
                                                       : value.dump();
    html += fmt::format("<tr><td class=\"left\">{}</td><td class=\"left\">{}</td></tr>\n",
                        escape_html(key), escape_html(text));
  }
  return html + "</tbody></table></div>\n";
}

std::string describe_load(const LoadReport& load) {
  return fmt::format(
      "Other programs used {:.2f} CPUs while it ran, and {:.2f} before it began; this host's own "
      "host kept {:.2f} CPUs from it. Load averages at the end: {:.2f}, {:.2f}, {:.2f}.",
      load.during.other_cpus, load.before.other_cpus, load.during.steal_cpus,
      load.during.averages[0], load.during.averages[1], load.during.averages[2]);
}

std::string pictures(const Page& page, const ReportBase& report) {
  std::string html;
  if (const std::string chart = to_svg(page.chart); !chart.empty()) {
    html += "<figure><figcaption>" + escape_html(page.chart.caption) +
            "</figcaption>\n<p class=\"words\">1 is no change; thin lines are where today's ratio "
            "lies with 95 %. The 2010 patch's figures are of other hardware.</p>\n" +
            chart + "</figure>\n";
  }
  if (const std::string kicks = draw_kicks(report.floors); !kicks.empty()) {
    html +=
        "<figure><figcaption>The two ways of a kick, and what they take on this host"
        "</figcaption>\n" +
        kicks + "</figure>\n";
  }
  return html.empty() ? "" : "<div class=\"pictures\">\n" + html + "</div>\n";
}

std::string scatters(const Page& page) {
  std::string html;
  for (const Scatter& scatter : page.scatters) {
    const std::string picture = to_svg(scatter);
    if (picture.empty()) continue;
    html += "<figure><figcaption>" + escape_html(scatter.caption) + "</figcaption>\n" + picture +
            "</figure>\n";
  }
  if (html.empty()) return "";
  return "<h2>Throughput against efficiency</h2>\n<p class=\"words\">Farther right is more "
         "throughput, farther up more for each CPU second; both scales are logarithmic. Beside a "
         "mark stands how many threads there were.</p>\n<div class=\"pictures\">\n" +
         html + "</div>\n";
}

std::string not_run(const ReportBase& report) {
  std::string html;
  for (const NotRunGroup& group : group_not_run(report.not_run)) {
    html += fmt::format("<h3>{}: {}</h3>\n<ul>\n", group.failed ? "Failed" : "Not run",
                        escape_html(group.reason));
    for (const std::string& cell : group.cells) html += "<li>" + escape_html(cell) + "</li>\n";
    html += "</ul>\n";
  }
  return html.empty() ? "" : "<h2>Cells without figures</h2>\n" + html;
}

}  // namespace

std::string to_html(const Page& page, const ReportBase& report) {
  std::string html = kHtmlHead;
  html += "<title>" + escape_html(page.title) + "</title>\n</head>\n<body>\n";
  html += "<h1>" + escape_html(page.heading) + "</h1>\n";
  if (!page.headline.empty()) html += paragraph("headline", page.headline);
  if (report.interrupted) {
    html += paragraph("warning", "It was interrupted: cells or repeats are missing.");
  }
  const auto cpus = report.host.is_object() ? report.host.value("cpus", 0U) : 0U;
  if (const std::string busy = warn_of(report.load.before, cpus); !busy.empty()) {
    html += paragraph("warning", "Before it began: " + busy + ".");
  }
  for (const std::string& finding : page.findings) html += "<p>" + escape_html(finding) + "</p>\n";
  html += pictures(page, report);
  html += page.introduction;
  Words words;
  for (const Table& table : page.tables) html += to_html(table) + words.below(table);
  html += scatters(page);
  for (const std::string& note : page.notes) html += "<pre>" + escape_html(note) + "</pre>\n";
  html += not_run(report);
  html += "<h2>How it was measured</h2>\n";
  html += paragraph("when", report.date + ". " + describe_load(report.load));
  if (!report.command.empty()) html += "<pre>" + escape_html(report.command) + "</pre>\n";
  html += facts("Host", report.host) + facts("Floors, microseconds", report.floors);
  return html + "</body>\n</html>\n";
}

}  // namespace bellhop::bench

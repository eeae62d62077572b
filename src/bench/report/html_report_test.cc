#include "bench/report/html_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "bench/blk/blk_page.h"
#include "bench/harness/child.h"
#include "bench/harness/programs.h"
#include "bench/net/net_page.h"
#include "bench/study/study_fixture.h"
#include "bench/study/study_page.h"

namespace bellhop::bench {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void fill_base(ReportBase& report) {
  report.host = {{"cpus", 2}, {"cpu_model", "A <fast> one"}, {"kvm", "VMX with EPT"}};
  report.floors = {{"userspace_exit_us", 26.1},
                   {"ioeventfd_kick_us", 2.7},
                   {"wake_other_core_us", 36.0},
                   {"irqfd_to_handler_us", nullptr}};
  report.date = "2026-11-28 20:15 UTC";
  report.command = "bellhop bench blk --peer qemu --guest-words 'a b'";
  report.load = {{0.7, 0.1, {3.5, 2, 1}}, {0.5, 0, {3, 2, 1}}};
}

/// All cells of a sweep with a peer, and words as long as they come.
BlkReport whole_report() {
  BlkReport report;
  fill_base(report);
  report.setting.medium = "tmpfs";
  report.setting.rounds = {5, 15, 0.05};
  report.setting.programs = {
      "0.2.0",
      {{"/usr/bin/qemu-system-x86_64", "7.2.22"}, {"/usr/bin/qemu-system-x86_64", "7.2.22", true}}};
  BlkSweep sweep;
  sweep.placements = {Placement::kOtherCore, Placement::kSameCore};
  sweep.vmms = {Vmm::kBellhop, Vmm::kQemu, {Vmm::Kind::kQemu, 1}};
  sweep.notify.push_back(NotifyMode::kPoll);
  Random random(1);
  for (const auto& set : compared_sets(sweep)) {
    for (const BlkCell& cell : set) {
      if (cell.vmm.is_qemu() && cell.notify == NotifyMode::kPoll) {
        report.not_run.push_back({describe(cell), "QEMU has no such mode: its I/O thread looks"});
        continue;
      }
      const double speed = cell.notify == NotifyMode::kSync ? 100 : 60 + 240 * random.fraction();
      std::vector<Measurement> repeats(7);
      for (Measurement& m : repeats) {
        m.seconds = 3;
        m.bytes = static_cast<std::uint64_t>(3e6 * speed * (0.9 + 0.2 * random.fraction()));
        m.operations = m.bytes / 4096;
        m.host_cpu_s = 3;
      }
      report.runs.push_back(summarise(cell, std::move(repeats)));
    }
  }
  report.runs[3].all[1].disturbed = true;
  report.not_run.push_back(
      {"bellhop seqread x128 poll same-core, 1 vCPU", "no answer from the guest in time", true});
  return report;
}

NetReport whole_net_report() {
  NetReport report;
  fill_base(report);
  report.setting.programs.qemus = {{"/usr/bin/qemu-system-x86_64", "10.0.2"}};
  NetSweep sweep;
  sweep.placements = {Placement::kOtherCore};
  sweep.vmms = {Vmm::kBellhop, Vmm::kQemu};
  sweep.framings = {Framing::kGso, Framing::kMtu};
  sweep.trains = {Trains::kOn, Trains::kOff};
  Random random(2);
  for (const auto& set : compared_sets(sweep)) {
    for (const NetCell& cell : set) {
      const double speed = cell.notify == NetNotify::kSync ? 30 : 30 + 3000 * random.fraction();
      std::vector<NetMeasurement> repeats(5);
      for (NetMeasurement& m : repeats) {
        m.seconds = 3;
        m.bytes = static_cast<std::uint64_t>(3e6 * speed * (0.9 + 0.2 * random.fraction()));
        m.operations = m.bytes / 1024;
        m.datagrams = m.operations;
        m.host_cpu_s = 3;
      }
      report.runs.push_back(summarise(cell, std::move(repeats)));
    }
  }
  return report;
}

/// What is wrong with the tags of a page; empty if nothing is.
std::string find_fault(const std::string& html) {
  std::vector<std::string> open;
  for (auto at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const auto end = html.find('>', at);
    if (end == std::string::npos) return "a tag does not end";
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos) return "a tag in a tag: " + tag;
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    const std::string name = tag.substr(0, tag.find(' '));
    if (name == "meta") continue;
    if (!name.starts_with('/')) {
      open.push_back(name);
      if (name != "style") continue;
      at = html.find("</style>", end);
      if (at == std::string::npos) return "a style does not end";
      open.pop_back();
      continue;
    }
    if (open.empty() || "/" + open.back() != name) return "a wrong " + tag;
    open.pop_back();
  }
  return open.empty() ? "" : open.back() + " does not end";
}

TEST(HtmlReport, IsWellFormedAndCompleteInItself) {
  for (const std::string& html : {to_html(make_page(whole_report()), whole_report()),
                                  to_html(make_page(whole_net_report()), whole_net_report())}) {
    EXPECT_EQ(find_fault(html), "");
    for (const char* outside : {"src=", "href=", "http", "@import", "<script", "url(\""}) {
      EXPECT_THAT(html, Not(HasSubstr(outside)));
    }
    EXPECT_THAT(html, AllOf(HasSubstr("name=\"viewport\""), HasSubstr("prefers-color-scheme: dark"),
                            HasSubstr("@media print"), HasSubstr("<svg class=\"chart\"")));
    EXPECT_THAT(html, Not(HasSubstr("nan")));
    EXPECT_THAT(html, Not(HasSubstr("inf\"")));
  }
  EXPECT_EQ(find_fault("<p><b>x</p></b>"), "a wrong /p");
  EXPECT_EQ(find_fault("<p>"), "p does not end");
}

TEST(HtmlReport, HasAllThatAReaderMustKnow) {
  const BlkReport report = whole_report();
  const std::string html = to_html(make_page(report), report);
  EXPECT_THAT(html, AllOf(HasSubstr("class=\"headline\">On this host ioeventfd gives"),
                          HasSubstr("2026-11-28 20:15 UTC"),
                          HasSubstr("bellhop bench blk --peer qemu --guest-words 'a b'"),
                          HasSubstr("Other programs used 0.50 CPUs while it ran"),
                          HasSubstr("Before it began: this host is busy"), HasSubstr("26.1 µs"),
                          HasSubstr("2.7 µs"), HasSubstr("36.0 µs"), HasSubstr("VMX with EPT"),
                          HasSubstr("A &lt;fast&gt; one")));
  EXPECT_THAT(html, AllOf(HasSubstr("Failed: no answer from the guest in time"),
                          HasSubstr("Where Bellhop loses"), HasSubstr(">disturbed<"),
                          HasSubstr("Disturbed repeats"), HasSubstr("QEMU 7.2.22 at its best")));
  // A reason and a word once.
  const auto count = [&html](const std::string& text) {
    std::size_t found = 0;
    for (auto at = html.find(text); at != std::string::npos; at = html.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("QEMU has no such mode"), 1U);
  constexpr const char* kCaption = "class=\"caption\"";
  for (const char* word : {"other-core", "same-core", "sync", "medium", "poll"}) {
    EXPECT_EQ(count(std::string("<b>") + word + "</b>"), 1U) << word;
  }
  EXPECT_LT(html.find("<b>same-core</b>"), html.find(kCaption, html.find(kCaption) + 1));
}

TEST(HtmlReport, SaysThatItWasInterrupted) {
  BlkReport report = whole_report();
  EXPECT_THAT(to_html(make_page(report), report), Not(HasSubstr("It was interrupted")));
  report.interrupted = true;
  EXPECT_THAT(to_html(make_page(report), report), HasSubstr("It was interrupted"));
}

TEST(GainChart, HasABarWithItsErrorForEachRow) {
  GainChart chart;
  EXPECT_EQ(to_svg(chart), "");
  chart.caption = "a <b>";
  chart.rows = {{"up", {1.5, Interval{1.4, 1.6}, Ratio::Verdict::kAbove}, 1.32},
                {"noise", {1.01, Interval{0.9, 1.1}, Ratio::Verdict::kWithinNoise}, std::nullopt},
                {"far", {75, Interval{70, 80}, Ratio::Verdict::kAbove}, 0.4},
                {"single", {1.2, std::nullopt, Ratio::Verdict::kSingle}, 1.1},
                {"refused", {0, std::nullopt, Ratio::Verdict::kRefused}, 1.1},
                {"none", {}, std::nullopt}};
  const std::string svg = to_svg(chart);
  EXPECT_EQ(find_fault(svg), "");
  EXPECT_THAT(svg, AllOf(HasSubstr("a &lt;b&gt;"), HasSubstr("+50 %"), HasSubstr("+32 %"),
                         HasSubstr("within noise"), HasSubstr("+7400 %"), HasSubstr("-60 %"),
                         HasSubstr("disturbed"), HasSubstr("not measured")));
  const auto count = [&svg](const std::string& text) {
    std::size_t found = 0;
    for (auto at = svg.find(text); at != std::string::npos; at = svg.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("class=\"error\""), 3U * 3U);
  EXPECT_EQ(count("class=\"today\""), 1U + 4U) << "with that of the key";
  EXPECT_EQ(count("class=\"then\""), 1U + 4U);
}

// ---- in a browser

/// As an attribute's value.
std::string as_attribute(const std::string& html) { return escape_html(html); }

/// Shows the page in a frame of this width and writes down what is broader than it.
std::string measuring_page(const std::string& html, unsigned width) {
  return "<!DOCTYPE html><body><iframe id=f width=" + std::to_string(width) +
         " height=800 style='border:0' srcdoc=\"" + as_attribute(html) + R"("></iframe><script>
document.getElementById('f').onload = function () {
  const page = this.contentDocument, width = this.clientWidth, wrong = [];
  const broad = page.documentElement.scrollWidth;
  if (broad > width) wrong.push('page ' + broad);
  for (const one of page.body.querySelectorAll('*')) {
    if (one.closest('.scroll') && !one.matches('.scroll')) continue;
    if (one.getBoundingClientRect().right > width + 1) wrong.push(one.tagName + ' ' + one.className);
  }
  for (const text of page.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect(), view = text.ownerSVGElement.getBoundingClientRect();
    if (box.left < view.left - 1 || box.right > view.right + 1 || box.top < view.top - 1 ||
        box.bottom > view.bottom + 1) wrong.push('text ' + text.textContent);
  }
  document.title = 'tables ' + page.querySelectorAll('table').length + ' wrong ' + wrong.join(', ');
};
</script></body>)";
}

std::string look_at(const std::string& browser, const std::string& html, unsigned width) {
  const std::string folder =
      ::testing::TempDir() + "html_report_test." + std::to_string(::getpid());
  const std::string file = folder + ".html";
  std::ofstream(file) << measuring_page(html, width);
  auto child = Child::spawn(
      {browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + folder,
       "--virtual-time-budget=20000", "--dump-dom", "file://" + file},
      {});
  EXPECT_TRUE(child.has_value());
  std::string title;
  const auto deadline = Child::Clock::now() + seconds(120);
  while (true) {
    const auto line = child->read_line(deadline, EventFd{});
    if (!line || !*line) break;
    const auto at = (*line)->find("<title>");
    if (at == std::string::npos || !title.empty()) continue;
    title = (*line)->substr(at + 7, (*line)->find("</title>") - at - 7);
  }
  child->wait(deadline);
  std::filesystem::remove_all(folder);
  std::filesystem::remove(file);
  return title;
}

TEST(HtmlReport, OverflowsNoWindowInABrowser) {
  std::string browser;
  for (const char* name : {"chromium-headless-shell", "chromium"}) {
    if (browser.empty()) browser = find_program(name);
  }
  if (browser.empty()) {
    GTEST_SKIP() << "no chromium-headless-shell and no chromium is installed (both are Debian's)";
  }
  const BlkReport blk = whole_report();
  const NetReport net = whole_net_report();
  StudyRows rows;
  for (const unsigned threads : {1U, 16U}) {
    for (const Placement placement : {Placement::kOtherCore, Placement::kBusy}) {
      rows.add_all(spot_at(placement, threads), 100, 20 * threads, 80, 90);
    }
  }
  fill_base(rows.report());
  for (const std::string& html : {to_html(make_page(blk), blk), to_html(make_page(net), net),
                                  to_html(make_page(rows.report()), rows.report())}) {
    for (const unsigned width : {1300U, 390U}) {
      EXPECT_THAT(look_at(browser, html, width),
                  ::testing::MatchesRegex("tables [1-9][0-9]* wrong "))
          << width;
    }
  }
  // The look itself: a page that does overflow.
  EXPECT_THAT(look_at(browser, "<table></table><p style='width:2000px'>x</p>", 390),
              HasSubstr("wrong page 2"));
}

}  // namespace
}  // namespace bellhop::bench

#include "apps/bellhop/bench_output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/result_file.h"
#include "apps/bellhop/scalar_option.h"
#include "base/file_roles.h"
#include "bench/report/findings.h"

namespace bellhop {

void add_output_options(CLI::App& command, BenchOutput& output) {
  const auto file = [&command](const char* name, std::string& value, const char* help) {
    add_scalar(command, name, value, help, "FILE");
  };
  file("--json", output.json, "Write all results as JSON (-: standard output)");
  file("--csv", output.csv, "Write them as CSV, one line a run (-: standard output)");
  file("--html", output.html, "Write a page with findings, chart and tables, complete in itself");
  command.add_flag("--wide", output.wide, "Tables as broad as they are, not split to 80 columns");
}

Result<OpenOutput> open_output(const BenchOutput& output,
                               std::initializer_list<std::string> guest) {
  FileRoles roles;
  for (const std::string& path : guest) {
    if (path.empty()) continue;
    if (auto added = roles.add("--guest", path, FileUse::kRead); !added) return forward(added);
  }
  OpenOutput open{{"--json", output.json, {}},
                  {"--csv", output.csv, {}},
                  {"--html", output.html, {}},
                  output.wide};
  for (OpenOutput::File* file : {&open.json, &open.csv, &open.html}) {
    if (file->path.empty()) continue;
    if (file->path != "-") {
      auto added = roles.add(file->option, file->path, FileUse::kOutput);
      if (!added) return forward(added);
    }
    auto opened = open_result(file->option, file->path, STDOUT_FILENO);
    if (!opened) return forward(opened);
    file->fd = std::move(*opened);
  }
  return open;
}

Error what_failed(const bench::ReportBase& report_data) {
  const bool failed = report_data.has_failures();
  const bench::NotRun* first = nullptr;
  std::size_t count = 0;
  for (const bench::NotRun& cell : report_data.not_run) {
    if (failed && !cell.failed) continue;
    if (first == nullptr) first = &cell;
    ++count;
  }
  if (first == nullptr) return {"nothing was measured"};
  return {fmt::format("{} {} {}: {}: {}", count, count == 1 ? "cell" : "cells",
                      failed ? "failed" : "could not be run, and no other was", first->cell,
                      first->reason)};
}

bench::TextStyle style_for(int fd, bool wide) {
  constexpr std::size_t kUsual = 80;
  bench::TextStyle style{wide ? 0 : kUsual, false};
  if (::isatty(fd) != 1) return style;
  winsize size{};
  if (!wide && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.columns = size.ws_col;
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const kind = std::getenv("TERM");
  style.colour = (no_colour == nullptr || *no_colour == '\0') && kind != nullptr &&
                 std::string_view(kind) != "dumb";
  return style;
}

int write_report(const bench::ReportBase& report_data, const ReportForms& forms,
                 const OpenOutput& output) {
  // Results on standard output stand alone there: the tables make room.
  const bool machine_readable =
      output.json.path == "-" || output.csv.path == "-" || output.html.path == "-";
  std::FILE* people = machine_readable ? stderr : stdout;
  const bench::TextStyle style =
      style_for(machine_readable ? STDERR_FILENO : STDOUT_FILENO, output.wide);
  constexpr std::size_t kReadable = 100;
  const std::size_t columns = style.columns == 0 ? kReadable : std::min(style.columns, kReadable);
  std::vector<std::string> findings = forms.page.findings;
  if (!forms.page.headline.empty()) findings.insert(findings.begin(), forms.page.headline);
  if (!findings.empty()) {
    print(people, bench::to_text(findings, columns) + "\n");
  }
  for (const bench::Table& table : forms.page.tables) {
    if (forms.empty) break;
    print(people, bench::to_text(table, style) + "\n");
  }
  print(people, bench::not_run_text(report_data));
  for (const std::string& note : forms.page.notes) print(people, note);
  if (report_data.interrupted && forms.empty) return kFailed;
  int status = kDone;
  if (report_data.has_failures() || (forms.empty && !report_data.interrupted))
    status = report(what_failed(report_data), kFailed);
  const auto write = [&status](const OpenOutput::File& file, const std::string& text) {
    if (!file.fd.valid()) return;
    if (auto written = write_result(file.option, file.path, file.fd, text); !written) {
      status = report(written.error(), kFailed);
    }
  };
  write(output.json, forms.json);
  write(output.csv, forms.csv);
  if (output.html.fd.valid()) write(output.html, to_html(forms.page, report_data));
  return status;
}

}  // namespace bellhop

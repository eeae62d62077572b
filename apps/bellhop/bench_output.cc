#include "apps/bellhop/bench_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

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
  file("--html", output.html, "Write a page with tables and plots, complete in itself");
}

Result<OpenOutput> open_output(const BenchOutput& output,
                               std::initializer_list<std::string> guest) {
  FileRoles roles;
  for (const std::string& path : guest) {
    if (path.empty()) continue;
    if (auto added = roles.add("--guest", path, FileUse::kRead); !added) return forward(added);
  }
  OpenOutput open{
      {"--json", output.json, {}}, {"--csv", output.csv, {}}, {"--html", output.html, {}}};
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

namespace {

/// A line that cannot be written ends no sweep, so nothing is thrown: of standard output main
/// tells.
void print(std::FILE* file, const std::string& text) { (void)std::fputs(text.c_str(), file); }

/// In one line, for whoever does not read the report: the first cell that failed, or that this host
/// cannot run where it can run none.
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

}  // namespace

int write_report(const bench::ReportBase& report_data, const ReportForms& forms,
                 const OpenOutput& output) {
  // Results on standard output stand alone there: the tables make room.
  const bool machine_readable =
      output.json.path == "-" || output.csv.path == "-" || output.html.path == "-";
  std::FILE* people = machine_readable ? stderr : stdout;
  if (!forms.page.findings.empty()) {
    print(people, bench::to_text(forms.page.findings) + "\n");
  }
  for (const bench::Table& table : forms.page.tables) {
    print(people, bench::to_text(table) + "\n");
  }
  print(people, bench::not_run_text(report_data));
  print(people, report_data.disturbed);
  int status = kDone;
  if (forms.empty || report_data.has_failures()) status = report(what_failed(report_data), kFailed);
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

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(std::size_t number, std::size_t total, const std::string& what) {
  if (terminal_) {
    print(stderr, fmt::format("\r\x1b[K[{}/{}] {}", number, total, what));
    std::fflush(stderr);
  } else {
    print(stderr, fmt::format("[{}/{}] {}\n", number, total, what));
  }
}

void ProgressLine::clear() {
  if (terminal_) print(stderr, "\r\x1b[K");
}

}  // namespace bellhop

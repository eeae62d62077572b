#include "apps/bellhop/bench_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "apps/bellhop/commands.h"

namespace bellhop {

void add_output_options(CLI::App& command, BenchOutput& output) {
  const auto file = [&command](const char* name, std::string& value, const char* help) {
    command.add_option(name, value, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->type_name("FILE");
  };
  file("--json", output.json, "Write all figures as JSON (-: standard output)");
  file("--csv", output.csv, "Write them as CSV, one line a run (-: standard output)");
  file("--html", output.html, "Write a page with tables and plots, complete in itself");
}

Status write_file(const std::string& option, const std::string& path, const std::string& text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "we");
  if (file == nullptr) return fail_errno(fmt::format("{}: cannot write {}", option, path));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file == stdout ? std::fflush(file) == 0 : std::fclose(file) == 0;
  if (!written || !closed) return fail_errno(fmt::format("{}: cannot write {}", option, path));
  return {};
}

int write_report(const bench::ReportBase& report_data, const ReportForms& forms,
                 const BenchOutput& output) {
  // Figures on standard output stand alone there: the tables make room.
  const bool machine_readable = output.json == "-" || output.csv == "-" || output.html == "-";
  std::FILE* people = machine_readable ? stderr : stdout;
  for (const bench::Table& table : forms.page.tables) {
    fmt::print(people, "{}\n", bench::to_text(table));
  }
  fmt::print(people, "{}", bench::not_run_text(report_data));
  int status = forms.empty || report_data.has_failures() ? kFailed : kDone;
  const auto write = [&status](const char* option, const std::string& path,
                               const std::string& text) {
    if (path.empty()) return;
    if (auto written = write_file(option, path, text); !written) {
      status = report(written.error(), kFailed);
    }
  };
  write("--json", output.json, forms.json);
  write("--csv", output.csv, forms.csv);
  if (!output.html.empty()) write("--html", output.html, to_html(forms.page, report_data));
  return status;
}

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(std::size_t number, std::size_t total, const std::string& what) {
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K[{}/{}] {}", number, total, what);
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "[{}/{}] {}\n", number, total, what);
  }
}

void ProgressLine::clear() {
  if (terminal_) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace bellhop

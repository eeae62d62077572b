#pragma once

#include <CLI/App.hpp>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/measurement.h"
#include "bench/report/html_report.h"

namespace bellhop {

/// Where a report goes besides the tables on standard output.
struct BenchOutput {
  std::string json;
  std::string csv;
  std::string html;
};

/// The same, opened before anything is measured.
struct OpenOutput {
  struct File {
    std::string_view option;
    std::string path;
    UniqueFd fd;  ///< not valid: not asked for
  };
  File json;
  File csv;
  File html;
};
/// `guest` are files that the command reads. Errors: name the option and the file.
Result<OpenOutput> open_output(const BenchOutput& output, std::initializer_list<std::string> guest);

void add_output_options(CLI::App& command, BenchOutput& output);
/// Fills in the report's host and floors.
void describe_host(bench::ReportBase& report);

/// A report in all its forms.
struct ReportForms {
  bench::Page page;
  std::string json;
  std::string csv;
  bool empty = false;  ///< nothing was measured
};
int write_report(const bench::ReportBase& report, const ReportForms& forms,
                 const OpenOutput& output);
/// Prints the tables, writes the files; returns the exit status: 1 where a cell failed.
template <class Report>
int write_report(const Report& report, const OpenOutput& output) {
  return write_report(
      report,
      {make_page(report), to_json(report).dump(2) + "\n", to_csv(report), report.runs.empty()},
      output);
}

/// Which cell is being run, on standard error: one line that changes on a terminal, else a line for
/// each.
class ProgressLine {
 public:
  ProgressLine();
  void show(std::size_t number, std::size_t total, const std::string& what);
  void clear();

 private:
  bool terminal_;
};

}  // namespace bellhop

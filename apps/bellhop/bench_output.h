#pragma once

#include <CLI/App.hpp>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/report_base.h"
#include "bench/report/html_report.h"

namespace bellhop {

/// Where a report goes besides the tables on standard output, and what these look like.
struct BenchOutput {
  std::string json;
  std::string csv;
  std::string html;
  bool wide = false;
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
  bool wide = false;
};
/// `guest` are files that the command reads. Errors: name the option and the file.
Result<OpenOutput> open_output(const BenchOutput& output, std::initializer_list<std::string> guest);

void add_output_options(CLI::App& command, BenchOutput& output);
/// Fills in the report's host and floors.
void describe_host(bench::ReportBase& report);
/// The columns of the terminal at `fd`, or 80; colours for a terminal only, and not where NO_COLOR
/// is set.
bench::TextStyle style_for(int fd, bool wide);

/// In one line, for whoever does not read the report: the first cell that failed, or that this host
/// cannot run where it can run none.
Error what_failed(const bench::ReportBase& report_data);

/// A report in all its forms.
struct ReportForms {
  bench::Page page;
  std::string json;
  std::string csv;
  bool empty = false;  ///< nothing was measured
};
/// Prints the tables, writes the files; returns the exit status: 1 where a cell failed. What was
/// interrupted before anything was measured is not written.
int write_report(const bench::ReportBase& report, const ReportForms& forms,
                 const OpenOutput& output);

}  // namespace bellhop

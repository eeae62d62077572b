#pragma once

#include <CLI/App.hpp>
#include <string>

#include "base/result.h"
#include "vmm/bench/figures.h"

namespace bellhop {

/// Where a report goes besides the tables on standard output.
struct BenchOutput {
  std::string json;
  std::string csv;
  std::string html;
};

void add_output_options(CLI::App& command, BenchOutput& output);
/// "-" is standard output. Errors: name the option and the file.
Status write_file(const std::string& option, const std::string& path, const std::string& text);

/// Fills in the report's host and floors.
void describe_host(bench::BlkReport& report);
/// Prints the tables, writes the files; returns the exit status: 1 where a cell failed.
int write_report(const bench::BlkReport& report, const BenchOutput& output);

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

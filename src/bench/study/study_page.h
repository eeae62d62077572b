#pragma once

#include <vector>

#include "bench/report/html_report.h"
#include "bench/study/study_results.h"

namespace bellhop::bench {

/// Adaptive over the whole; where it misses 5 %; for each medium every cell with adaptive's ratio
/// to the best fixed way.
std::vector<Table> make_tables(const StudyReport& report);
/// The findings, these tables, a scatter for each group of cells, and the crossover lines.
Page make_page(const StudyReport& report);

}  // namespace bellhop::bench

#pragma once

#include <string>
#include <vector>

#include "bench/study/study_results.h"

namespace bellhop::bench {

/// Five sentences at most, from the rows alone: which fixed way is best where, by how much and in
/// how many cells beyond the noise; how adaptive does; what the placement does. Nothing of what was
/// not measured.
std::vector<std::string> find_in(const StudyReport& report);

/// The crossover lines, those that hold in the same places under one heading; empty if there are
/// none. Lines of at most `columns`.
std::string crossovers_text(const StudyReport& report, std::size_t columns);

}  // namespace bellhop::bench

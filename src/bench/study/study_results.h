#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/report/results.h"
#include "bench/study/study_cell.h"

namespace bellhop::bench {

using StudyRun = RunOf<StudyCell, Measurement>;

/// Of the base, `optimize`, `medium` and `null` are each cell's own: see blk_setting().
struct StudySetting : BlkSetting {
  std::vector<StudyMedium> media;
};

struct StudyReport : ReportBase {
  StudySetting setting;
  std::vector<StudyRun> runs;

  [[nodiscard]] const StudyRun* find(const Spot& spot, const Way& way) const;
  /// Each once, in the order of the runs.
  [[nodiscard]] std::vector<Spot> spots() const;
  /// Of a cell's medium; null where the report has none of that name.
  [[nodiscard]] const StudyMedium* medium(const Spot& spot) const;
};

/// A cell as one of `bench blk`, and what it is measured with.
BlkCell blk_cell(const StudyCell& cell);
BlkSetting blk_setting(const StudySetting& setting, const StudyCell& cell);

/// Schema 2 (see docs/measuring.md), with what the study has found.
nlohmann::ordered_json to_json(const StudyReport& report);
/// One line a run; nested names joined with dots.
std::string to_csv(const StudyReport& report);

}  // namespace bellhop::bench

#include "bench/study/study_sweep.h"

#include <map>

#include "base/cpu_list.h"

namespace bellhop::bench {

Status run_study(const StudySweep& sweep, const BlkImages& images, const MeasureStudy& measure,
                 const Earlier<Measurement>& earlier, const SweepHooks& hooks,
                 StudyReport& report) {
  std::map<std::string, ImageStore> stores;
  for (const StudyMedium& medium : sweep.media) {
    if (medium.null) continue;
    BlkImages own = images;
    own.folder = medium.folder;
    stores.emplace(medium.name, ImageStore(std::move(own)));
  }
  const CpuList available = allowed_cpus();
  const CellRunner<StudyCell, Measurement> runner{
      [&](const StudyCell& cell) { return plan_cpus(cell.spot, available); },
      [&](const StudyCell& cell, const CpuPlan& plan) {
        const auto store = stores.find(cell.spot.medium);
        if (store == stores.end()) return measure(cell, plan, -1);
        return store->second.measure(cell.spot.workload,
                                     [&](int image) { return measure(cell, plan, image); });
      },
      [](const StudyCell& cell, const Measurement& m) {
        return taken_by_others(cell.spot.placement, m);
      }};
  Interleaved<StudyReport, StudyCell, Measurement>(report, runner, hooks)
      .run(compared_sets(sweep), earlier);
  for (const auto& [name, store] : stores) {
    if (store.trouble()) return tl::unexpected<Error>(*store.trouble());
  }
  return {};
}

}  // namespace bellhop::bench

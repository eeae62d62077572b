#include "vmm/bench/blk_sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/cpu_list.h"
#include "vmm/bench/bench_image.h"

namespace bellhop::bench {

namespace {

/// One sweep under way.
class Sweep {
 public:
  Sweep(const BlkSweep& sweep, const BlkSetting& setting, const BlkImages& images,
        const Measure& measure, const Progress& progress)
      : sweep_(sweep),
        images_(images),
        measure_(measure),
        progress_(progress),
        available_(allowed_cpus()) {
    report_.setting = setting;
  }

  Result<BlkReport> run() {
    const auto sets = compared_sets(sweep_);
    for (const auto& set : sets) total_ += set.size() * report_.setting.repeats;
    for (const auto& set : sets) {
      if (auto done = run_set(set); !done) return forward(done);
    }
    return std::move(report_);
  }

 private:
  struct Cell {
    BlkCell cell;
    CpuPlan plan;
    std::vector<Measurement> measurements;
    std::optional<std::string> trouble;
    bool failed = false;
  };

  Status run_set(const std::vector<BlkCell>& set) {
    std::vector<Cell> cells;
    for (const BlkCell& cell : set) cells.push_back(prepare(cell));
    for (unsigned repeat = 0; repeat < report_.setting.repeats; ++repeat) {
      for (Cell& cell : cells) {
        ++done_;
        if (cell.trouble) continue;
        progress_(done_, total_, describe(cell.cell));
        if (auto ran = run_repeat(cell); !ran) return ran;
      }
    }
    for (Cell& cell : cells) {
      if (cell.trouble) {
        report_.not_run.push_back({describe(cell.cell), *cell.trouble, cell.failed});
      } else {
        report_.runs.push_back(summarise(cell.cell, std::move(cell.measurements)));
      }
    }
    return {};
  }

  Cell prepare(const BlkCell& cell) {
    Cell prepared{cell, {}, {}, {}, false};
    if (auto plan = plan_cpus(cell, available_)) {
      prepared.plan = std::move(*plan);
    } else {
      prepared.trouble = plan.error().message;
    }
    if (cell.vmm == Vmm::kQemu && report_.setting.qemu_version.empty()) {
      prepared.trouble = "QEMU is not installed here";
    }
    return prepared;
  }

  Status run_repeat(Cell& cell) {
    UniqueFd fresh;
    int image = -1;
    if (cell.cell.workload == Workload::kCreate) {
      auto made = make_empty_image(images_.folder, images_.create_bytes);
      if (!made) return forward(made);
      fresh = std::move(*made);
      image = fresh.get();
    } else {
      if (!prepared_.valid()) {
        auto made = make_pattern_image(images_.folder, images_.image_bytes);
        if (!made) return forward(made);
        prepared_ = std::move(*made);
      }
      image = prepared_.get();
    }
    auto measured = measure_(cell.cell, cell.plan, image);
    if (measured) {
      cell.measurements.push_back(*measured);
      return {};
    }
    if (measured.error().code == EINTR) return forward(measured);
    cell.trouble = measured.error().message;
    cell.failed = true;
    prepared_.reset();  // whatever it did to the image must not meet the next one
    return {};
  }

  const BlkSweep& sweep_;
  const BlkImages& images_;
  const Measure& measure_;
  const Progress& progress_;
  CpuList available_;
  BlkReport report_;
  UniqueFd prepared_;
  std::size_t total_ = 0;
  std::size_t done_ = 0;
};

}  // namespace

Result<BlkReport> run_blk_sweep(const BlkSweep& sweep, const BlkSetting& setting,
                                const BlkImages& images, const Measure& measure,
                                const Progress& progress) {
  return Sweep(sweep, setting, images, measure, progress).run();
}

}  // namespace bellhop::bench

#include "bench/blk/blk_sweep.h"

#include "base/cpu_list.h"
#include "base/unique_fd.h"
#include "bench/harness/bench_image.h"

namespace bellhop::bench {

namespace {

/// The images of one sweep, and the cells that are run on them.
class Sweep {
 public:
  Sweep(const BlkImages& images, const Measure& measure, const BlkSetting& setting)
      : images_(images),
        measure_(measure),
        programs_(setting.programs),
        transport_(setting.transport),
        available_(allowed_cpus()) {}

  Result<CpuPlan> prepare(const BlkCell& cell) const {
    if (!programs_.has(cell.vmm)) return fail("QEMU is not installed here");
    if (cell.vmm.is_qemu() && cell.notify == NotifyMode::kPoll) {
      return fail("QEMU has no such mode: its I/O thread looks for up to 32 us in every mode");
    }
    if (cell.vmm.is_qemu() && cell.notify == NotifyMode::kAdaptive) {
      return fail("QEMU does not choose by itself");
    }
    if (cell.ring == RingLayout::kPacked && transport_ == TransportKind::kPciTransitional) {
      return fail("drivers as before virtio 1.0 know no packed rings");
    }
    return plan_cpus(cell.placement, cell.vcpus, available_);
  }

  Result<Measurement> measure(const BlkCell& cell, const CpuPlan& plan) {
    UniqueFd fresh;
    int image = -1;
    if (cell.workload == Workload::kCreate) {
      auto made = make_empty_image(images_.folder, images_.create_bytes);
      if (!made) return no_image(made);
      fresh = std::move(*made);
      image = fresh.get();
    } else {
      if (!prepared_.valid()) {
        auto made = make_pattern_image(images_.folder, images_.image_bytes);
        if (!made) return no_image(made);
        prepared_ = std::move(*made);
      }
      image = prepared_.get();
    }
    auto measured = measure_(cell, plan, image);
    // Whatever a failed machine did to the image must not meet the next one.
    if (!measured) prepared_.reset();
    return measured;
  }

  /// Why no image could be made, which nothing after it can do without.
  [[nodiscard]] const std::optional<Error>& image_trouble() const { return image_trouble_; }

 private:
  Result<Measurement> no_image(const Result<UniqueFd>& made) {
    image_trouble_ = made.error();
    return fail(made.error().message, kEndedByUser);
  }

  const BlkImages& images_;
  const Measure& measure_;
  const Programs& programs_;
  TransportKind transport_;
  CpuList available_;
  UniqueFd prepared_;
  std::optional<Error> image_trouble_;
};

}  // namespace

Status run_blk_sweep(const BlkSweep& sweep, const BlkImages& images, const Measure& measure,
                     const Earlier<Measurement>& earlier, const SweepHooks& hooks,
                     BlkReport& report) {
  Sweep state(images, measure, report.setting);
  const CellRunner<BlkCell, Measurement> runner{
      [&](const BlkCell& cell) { return state.prepare(cell); },
      [&](const BlkCell& cell, const CpuPlan& plan) { return state.measure(cell, plan); },
      [](const BlkCell& cell, const Measurement& m) {
        // Elsewhere its own threads wait for one another.
        const bool alone = cell.placement == Placement::kOtherCore;
        return m.steal_s.value_or(0) + (alone ? m.run_delay_s().value_or(0) : 0);
      }};
  Interleaved<BlkReport, BlkCell, Measurement>(report, runner, hooks)
      .run(compared_sets(sweep), earlier);
  if (state.image_trouble()) return tl::unexpected<Error>(*state.image_trouble());
  return {};
}

}  // namespace bellhop::bench

#include "bench/blk/blk_sweep.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/cpu_list.h"

namespace bellhop::bench {

namespace {

/// Errors: why this host, or one of the programs, cannot run the cell.
Result<CpuPlan> prepare(const BlkCell& cell, const BlkSetting& setting, const CpuList& available) {
  if (!setting.programs.has(cell.vmm)) {
    return fail(setting.served ? "qemu-storage-daemon is not installed here"
                               : "QEMU is not installed here");
  }
  if (setting.served && cell.vmm.is_qemu() && cell.ring != RingLayout::kSplit) {
    return fail(fmt::format("qemu-storage-daemon offers split rings alone, not {} ones",
                            to_string(cell.ring)));
  }
  if (cell.vmm.is_qemu() && cell.notify == NotifyMode::kPoll) {
    return fail("QEMU has no such mode: its I/O thread looks for up to 32 us in every mode");
  }
  if (cell.vmm.is_qemu() && cell.notify == NotifyMode::kAdaptive) {
    return fail("QEMU does not choose by itself");
  }
  if (cell.ring == RingLayout::kPacked && setting.transport == TransportKind::kPciTransitional) {
    return fail("drivers as before virtio 1.0 know no packed rings");
  }
  return plan_cpus(cell.placement, std::max(1U, cell.vcpus), available);
}

}  // namespace

Status run_blk_sweep(const BlkSweep& sweep, const BlkImages& images, const Measure& measure,
                     const Earlier<Measurement>& earlier, const SweepHooks& hooks,
                     BlkReport& report) {
  ImageStore store(images);
  const CpuList available = allowed_cpus();
  const CellRunner<BlkCell, Measurement> runner{
      [&](const BlkCell& cell) { return prepare(cell, report.setting, available); },
      [&](const BlkCell& cell, const CpuPlan& plan) {
        const BlkSetting& setting = report.setting;
        if (setting.null || !setting.socket.empty()) return measure(cell, plan, -1);
        return store.measure(cell.workload, [&](int image) { return measure(cell, plan, image); });
      },
      [](const BlkCell& cell, const Measurement& m) { return taken_by_others(cell.placement, m); }};
  Interleaved<BlkReport, BlkCell, Measurement>(report, runner, hooks)
      .run(compared_sets(sweep), earlier);
  if (store.trouble()) return tl::unexpected<Error>(*store.trouble());
  return {};
}

}  // namespace bellhop::bench

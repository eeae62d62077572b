#include "bench/blk/blk_runner.h"

namespace bellhop::bench {

Result<Measurement> BlkRunner::run(const BlkCell& cell, const CpuPlan& plan, int image) const {
  const bool qemu = cell.vmm.is_qemu();
  if (qemu && setting_.transport == TransportKind::kMmio) {
    return fail("QEMU's q35 machine has no virtio-mmio; compare with --transport pci");
  }
  MachineRun run;
  run.command =
      qemu ? qemu_command(cell, setting_, launch_) : bellhop_command(cell, plan, setting_, launch_);
  if (setting_.null) {
    if (qemu) return fail("QEMU has no null medium that is like ours");
    run.read = read_unchecked_result;
  } else {
    run.files = {{image, kImageFd}};
  }
  run.plan = plan;
  run.seconds = setting_.seconds + launch_.warmup_s;
  const auto outcome = qemu ? runner_.run_qemu(run) : runner_.run_bellhop(run);
  if (!outcome) return forward(outcome);
  return outcome->measurement;
}

}  // namespace bellhop::bench

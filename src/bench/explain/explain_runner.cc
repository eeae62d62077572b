#include "bench/explain/explain_runner.h"

#include <sys/mman.h>

#include <utility>

#include "bench/harness/vmm_command.h"

namespace bellhop::bench {

ExplainRunner::ExplainRunner(BlkSetting setting, Launch launch, const EventFd& interrupt)
    : setting_(std::move(setting)), launch_(std::move(launch)), runner_(interrupt) {
  if (!launch_.extra_cmdline.empty()) launch_.extra_cmdline += " ";
  launch_.extra_cmdline += "stamps=on";
}

Result<ExplainedRun> ExplainRunner::run(const BlkCell& cell, const CpuPlan& plan, int image) const {
  const UniqueFd file(::memfd_create("explain", MFD_CLOEXEC));
  if (!file.valid()) return fail_errno("cannot make a memory file");
  MachineRun run;
  run.command = bellhop_command(cell, plan, setting_, launch_);
  run.command.emplace_back("--explain");
  run.command.push_back(inherited_file(kExplainFd));
  run.files = {{image, kImageFd}, {file.get(), kExplainFd}};
  run.plan = plan;
  run.seconds = setting_.seconds + launch_.warmup_s;
  const auto outcome = runner_.run_bellhop(run);
  if (!outcome) return forward(outcome);
  auto queues = read_explanations(read_whole_file(file.get()));
  if (!queues) return forward(queues);
  return ExplainedRun{outcome->measurement, std::move(*queues)};
}

}  // namespace bellhop::bench

#include "apps/bellhop/blk_job.h"

#include "apps/bellhop/bench_session.h"
#include "bench/blk/blk_page.h"

namespace bellhop {

int run_blk_job(const BlkJob& job, const std::string& resume, const BenchOutput& output,
                const std::function<bench::Measure(const EventFd& interrupt)>& make_measure) {
  bench::BlkReport result;
  result.setting = job.setting;
  result.comparing = job.comparing;
  result.options = job.options;
  const auto earlier = read_earlier<bench::Measurement>(resume, result, job.setting.rounds.most);
  if (!earlier) return report(earlier.error());
  auto session = BenchSession::start(output_for(output, resume), {job.launch.guest});
  if (!session) return report(session.error());
  const double repeat_s = job.setting.seconds + job.launch.warmup_s + job.around_s;
  const auto swept =
      bench::run_blk_sweep(job.sweep, job.images, make_measure((*session)->interrupt()), *earlier,
                           (*session)->hooks(repeat_s), result);
  return (*session)->write(swept, result);
}

}  // namespace bellhop

#include "bench/blk/image_store.h"

#include "bench/harness/bench_image.h"

namespace bellhop::bench {

Result<Measurement> ImageStore::measure(
    Workload workload, const std::function<Result<Measurement>(int image)>& measure) {
  if (workload == Workload::kCreate) {
    const auto fresh = make_empty_image(images_.folder, images_.create_bytes);
    return fresh ? measure(fresh->get()) : no_image(fresh.error());
  }
  if (!filled_.valid()) {
    auto made = make_pattern_image(images_.folder, images_.image_bytes);
    if (!made) return no_image(made.error());
    filled_ = std::move(*made);
  }
  auto measured = measure(filled_.get());
  // Whatever a failed machine did to the image must not meet the next one.
  if (!measured) filled_.reset();
  return measured;
}

Result<Measurement> ImageStore::no_image(const Error& error) {
  trouble_ = error;
  return fail(error.message, kEndedByUser);
}

}  // namespace bellhop::bench

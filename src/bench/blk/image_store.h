#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/blk/blk_cell.h"
#include "bench/harness/measurement.h"

namespace bellhop::bench {

struct BlkImages {
  std::string folder = ".";
  std::uint64_t image_bytes = std::uint64_t{256} << 20;
  /// Apparent size of the file that `create` starts with: nothing of it is there yet.
  std::uint64_t create_bytes = std::uint64_t{8} << 30;
};

/// The images of one folder: one that is filled with the pattern, made when it is first needed, and
/// a fresh one for each repeat of `create`.
class ImageStore {
 public:
  explicit ImageStore(BlkImages images) : images_(std::move(images)) {}

  /// One repeat on the image that `workload` needs. Errors: as those of `measure`; kEndedByUser,
  /// which ends a sweep, where no image can be made: trouble() says why.
  Result<Measurement> measure(Workload workload,
                              const std::function<Result<Measurement>(int image)>& measure);
  /// Why no image could be made, which nothing after it can do without.
  [[nodiscard]] const std::optional<Error>& trouble() const noexcept { return trouble_; }

 private:
  Result<Measurement> no_image(const Error& error);

  BlkImages images_;
  UniqueFd filled_;
  std::optional<Error> trouble_;
};

}  // namespace bellhop::bench

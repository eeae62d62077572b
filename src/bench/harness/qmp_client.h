#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::bench {

/// Just enough of QEMU's control protocol to find its threads and let its guest go.
class QmpClient {
 public:
  /// `socket` is connected to a QEMU that was started with -S.
  explicit QmpClient(UniqueFd socket) : socket_(std::move(socket)) {}

  /// Errors: QEMU does not answer within `patience`.
  Status greet(std::chrono::milliseconds patience);
  Result<std::vector<int>> vcpu_tids();
  Result<std::vector<int>> iothread_tids();
  Status resume();

 private:
  Result<nlohmann::json> execute(const std::string& command);
  Result<nlohmann::json> read_object();

  UniqueFd socket_;
  std::chrono::steady_clock::time_point deadline_;
  std::string buffer_;
};

}  // namespace bellhop::bench

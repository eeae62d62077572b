#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace bellhop::testing {

/// Stops after every single store that a piece of code makes to some memory, at the machine's own
/// instructions: what a process leaves behind that is killed there. The memory is write-protected;
/// a store faults, is let through for one step, and is told. x86-64; one at a time, in the thread
/// that runs the code.
class StoreWatch {
 public:
  /// `memory`: whole pages. `stored` may read it, not write it.
  StoreWatch(std::vector<std::span<std::byte>> memory, std::function<void()> stored);
  ~StoreWatch();
  StoreWatch(const StoreWatch&) = delete;
  StoreWatch& operator=(const StoreWatch&) = delete;

  /// Runs `code` under watch.
  void run(const std::function<void()>& code);

 private:
  struct Handlers;

  void protect(bool on) const;

  std::vector<std::span<std::byte>> memory_;
  std::function<void()> stored_;
};

}  // namespace bellhop::testing

#pragma once

#include <memory>

#include "base/host_needs.h"
#include "base/result.h"
#include "base/thread.h"
#include "sandbox/landlock_mode.h"
#include "sandbox/seccomp_mode.h"

namespace bellhop {

/// What a process of Bellhop may still ask of the kernel once it has a guest (docs/sandbox.md).
///
/// Each thread gets the filter of its kind, and its Landlock rules, when it starts, after it has
/// opened what it needs for itself; the main thread, which opens everything else, gets its own by
/// confine_main(), before the guest's first instruction.
class Sandbox {
 public:
  struct Setup {
    SeccompMode mode = kDefaultSeccomp;
    /// Whether the main thread opens what devices need while a guest runs, too.
    bool adds_devices = false;
    /// Before a refused call ends the process: only what a signal handler may call.
    void (*before_end)() noexcept = nullptr;
    LandlockMode landlock = LandlockMode::kOff;
    /// What threads that open or remove files may still reach under Landlock. Others reach none.
    HostNeeds needs = {};
  };
  /// To be called by the main thread before it starts any that is to be confined. Errors name the
  /// option: a kernel without seccomp or Landlock, a path of `needs` that was granted and is not
  /// there, no memory or thread left, a build for a sanitizer.
  static Result<std::unique_ptr<Sandbox>> create(const Setup& setup);
  /// No thread may be started any more but by threads that are not confined.
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  /// Confines the calling, the main thread. Errors: as create().
  Status confine_main();
  /// The same, where what it needs was not known before.
  Status confine_main(const HostNeeds& needs);

  /// Whether there are Landlock rules.
  [[nodiscard]] bool has_landlock() const noexcept;

 private:
  struct Rules;
  Sandbox();

  ThreadKind main_ = ThreadKind::kMain;
  std::shared_ptr<Rules> rules_;  ///< null: no Landlock
  std::unique_ptr<ThreadStarter> starter_;
};

}  // namespace bellhop

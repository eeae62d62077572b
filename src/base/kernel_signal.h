#pragma once

#include <linux/aio_abi.h>

#include <array>
#include <mutex>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Adds one to eventfds as the kernel's own signallers do (KVM's ioeventfds, vhost): never waits,
/// whatever the counter holds and whatever flags the descriptor has. A write() has only
/// O_NONBLOCK to keep it from waiting, which any process with the same open file description can
/// clear, and the kernel takes no RWF_NOWAIT for it. A finished request of Linux AIO signals an
/// eventfd (IOCB_FLAG_RESFD): this makes an empty one. About a microsecond. Any thread.
class KernelSignal {
 public:
  /// The process's, made at the first call. Errors: the host forbids Linux AIO or has no context
  /// left (fs.aio-max-nr), or cannot read an eventfd without waiting (before Linux 5.8).
  static Result<const KernelSignal*> get();

  KernelSignal(const KernelSignal&) = delete;
  KernelSignal& operator=(const KernelSignal&) = delete;

  void signal(int event) const noexcept;

 private:
  KernelSignal() = default;
  Status open();

  /// Threads that signal at the same time get different ones, as far as there are as many.
  struct Way {
    ::aio_context_t context = 0;
    std::mutex mutex;  ///< the context holds one request
  };
  static constexpr unsigned kMaxWays = 8;

  UniqueFd file_;  ///< of no bytes: to be read from
  mutable std::array<Way, kMaxWays> ways_;
  unsigned count_ = 0;  ///< of ways_ that the host had
};

}  // namespace bellhop

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/cpu_list.h"
#include "bus/bus.h"
#include "hypervisor/hypervisor.h"

namespace bellhop {

/// The thread of one vCPU: runs the guest and dispatches its accesses to the buses. It starts
/// paused.
class VcpuThread {
 public:
  struct Wiring {
    const Bus* ports = nullptr;
    const Bus* memory = nullptr;
    /// The vCPU cannot or need not go on: the thread pauses itself after telling. `text` is for
    /// kInternalError and kOther.
    std::function<void(VcpuExit::Reason reason, std::string text)> ended;
  };

  VcpuThread(std::unique_ptr<Vcpu> vcpu, unsigned index, CpuList cpus, Wiring wiring);
  /// Stops and joins.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  /// Errors: no thread to be had. Whether it runs on its CPUs is told by pinned().
  Status start();
  /// Asks the vCPU to stand still, and does not wait. Any thread, its own too.
  void request_pause() noexcept;
  /// Waits until it does. Not from a vCPU thread.
  void wait_paused();
  void resume();

  /// Only while paused.
  [[nodiscard]] Vcpu& vcpu() noexcept { return *vcpu_; }
  [[nodiscard]] std::uint64_t exits() const noexcept { return vcpu_->exits(); }
  /// 0 before start(). Any thread.
  [[nodiscard]] int tid() const noexcept { return tid_.load(std::memory_order_relaxed); }
  /// Other CPUs from now on, or from start() on. One call at a time, not beside start(). Errors:
  /// the host does not allow them.
  Status set_cpus(const CpuList& cpus);
  /// Where it may run, and whether that was asked for. Once start() has returned.
  [[nodiscard]] const CpuList& cpus() const noexcept { return allowed_; }
  [[nodiscard]] bool cpus_given() const noexcept { return !cpus_.empty(); }
  /// Once start() has returned. Errors: the host does not allow the CPUs.
  [[nodiscard]] const Status& pinned() const noexcept { return pinned_; }

 private:
  enum class Request : std::uint8_t { kRun, kPause, kQuit };

  void prepare();
  void loop();
  /// False if this exit ends the vCPU's run.
  bool dispatch(const VcpuExit& exit);

  std::unique_ptr<Vcpu> vcpu_;
  const unsigned index_;
  CpuList cpus_;     ///< asked for
  CpuList allowed_;  ///< by the kernel
  const Wiring wiring_;
  std::thread thread_;
  std::atomic<int> tid_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<Request> request_{Request::kPause};
  bool paused_ = false;
  Status pinned_;
};

}  // namespace bellhop

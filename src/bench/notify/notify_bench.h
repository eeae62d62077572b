#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/interleave.h"
#include "bench/harness/report_base.h"

namespace bellhop::bench {

struct NotifyOptions {
  std::string bellhop = "/proc/self/exe";
  std::string guest;      ///< bench-guest.elf
  unsigned kicks = 5000;  ///< in each repeat
  unsigned repeats = 5;
};

/// One way of notifying: for each repeat the median microseconds that the guest's store took.
struct NotifyResult {
  std::string name;
  std::string meaning;
  std::vector<double> repeats_us;
  [[nodiscard]] double median_us() const { return median(repeats_us); }
};

struct NotifyReport : ReportBase {
  [[nodiscard]] bool is_empty() const { return bare_exit.repeats_us.empty(); }
  unsigned kicks = 0;  ///< in each repeat
  /// Floors: a write that no more than exits, or that KVM turns into an event.
  NotifyResult bare_exit{"bare exit", "user-space exit that does nothing", {}};
  NotifyResult bare_event{"bare ioeventfd", "KVM signals an eventfd, nobody waits for it", {}};
  NotifyResult bare_waited{
      "bare ioeventfd, waited for", "the same, and a thread on another CPU reads it each time", {}};
  /// Bellhop's own doorbells of an empty queue, by the bench guest's driver.
  NotifyResult sync{"bellhop sync", "exit, and a look into the empty queue", {}};
  NotifyResult ioeventfd{"bellhop ioeventfd", "armed doorbell, its I/O thread on another CPU", {}};
};

/// Measures all five in turn, `repeats` times over, in another order each time. The vCPU has the
/// first of our CPUs, whoever waits the second, if there is one. After `interrupt` the report has
/// the rounds that were done. Errors: no KVM, the guest's complaint.
Status run_notify_bench(const NotifyOptions& options, const EventFd& interrupt,
                        const SweepHooks& hooks, NotifyReport& report);

}  // namespace bellhop::bench

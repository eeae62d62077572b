#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/log_limiter.h"
#include "base/output_files.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::control {

/// Where events go, as a user says it: `path=FILE` or `fd=N`.
struct EventPlace {
  bool passed = false;  ///< fd=N
  std::string name;     ///< FILE or N; empty: neither

  static EventPlace read(std::string_view where);
  /// The file, or that behind the descriptor.
  [[nodiscard]] std::string path() const { return passed ? "/proc/self/fd/" + name : name; }
};

/// Tells what becomes of a machine, as JSON objects one after the other, in the form that clients
/// of Cloud Hypervisor know: `timestamp` since the monitor was opened, `source` (vmm, vm or guest),
/// `event`, `properties` (the `id` of the device that it is about, or null).
///
/// Nothing ever waits for whoever reads: what is not taken at once is kept, up to kBacklog bytes,
/// and sent before the next event. What comes beyond that is lost as whole events, counted, and
/// told by lines of the log. Any thread.
class EventMonitor {
 public:
  static constexpr std::size_t kBacklog = std::size_t{64} << 10;

  /// An EventPlace: a file is made anew by `outputs` (a FIFO must have a reader); a descriptor may
  /// be a file, a pipe, a socket or a terminal that this process was started with. Errors: neither,
  /// or it cannot be written.
  static Result<std::unique_ptr<EventMonitor>> open(std::string_view where, OutputFiles& outputs);
  EventMonitor(const EventMonitor&) = delete;
  EventMonitor& operator=(const EventMonitor&) = delete;

  void tell(std::string_view source, std::string_view event, std::string_view id = {});
  [[nodiscard]] std::size_t lost() const;

 private:
  using Clock = std::chrono::steady_clock;

  EventMonitor(UniqueFd fd, bool is_socket) noexcept : fd_(std::move(fd)), is_socket_(is_socket) {}
  void flush();

  const Clock::time_point begin_ = Clock::now();
  mutable std::mutex mutex_;
  UniqueFd fd_;
  bool is_socket_;
  std::string unsent_;
  std::size_t lost_ = 0;
  log::Limiter log_;
};

}  // namespace bellhop::control

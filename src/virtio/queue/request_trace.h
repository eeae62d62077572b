#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/time_stamp.h"
#include "memory/guest_memory.h"
#include "memory/guest_span.h"
#include "virtio/queue/request_times.h"
#include "virtio/queue/server.h"
#include "virtio/ring/queue_config.h"

namespace bellhop {

class QueueHandler;

/// Stamps the requests of one queue at each point of their way, for `bellhop explain`. A queue that
/// is not traced has none, and pays a look at a pointer where a request is taken, given back and
/// shown.
///
/// What it costs in CPU time is counted with it, of one burst of requests in so many (StepClock).
///
/// Two of the points are the driver's: a driver that measures itself leaves its own stamps behind
/// the used ring (virtio/abi/stamps.h), in its own time-stamp counter. They are believed only as
/// far as they fit in between ours.
///
/// Allocates when made and never after. Belongs to whoever drains the queue, as the ring does.
class RequestTrace {
 public:
  static constexpr std::size_t kLastRequests = 512;

  /// `entries`: of the largest ring that the queue may get.
  explicit RequestTrace(std::uint16_t entries);
  ~RequestTrace();

  /// A handler that stamps each drain and submission, and leaves the rest to `handler`. Lives as
  /// long as this, or until the next call.
  [[nodiscard]] QueueHandler& stand_before(QueueHandler& handler);

  /// The driver's counter is ahead of this host's by this much (modulo 2^64). Unless it is called,
  /// the driver's stamps are not looked at.
  void set_driver_clock(std::uint64_t ahead) noexcept { driver_ahead_ = ahead; }
  /// A ring begins: looks whether its driver leaves stamps.
  void start(const GuestMemory& memory, const QueueConfig& ring, RingFeatures features) noexcept;

  /// Who drains from now on. While the queue does not run.
  void set_drain(Drain drain) noexcept { drain_ = drain; }
  /// The queue has stopped. On its I/O thread.
  void stopped() noexcept;

  /// The thread that drains has come to the queue.
  void served() noexcept;
  void taken(std::uint16_t head) noexcept;
  /// Back into the ring: it will be taken anew.
  void rewound(std::uint16_t head) noexcept;
  /// What was taken since the last call goes to the back end.
  void submitting() noexcept;
  /// The handler has done what it was called for.
  void left() noexcept;
  void done(std::uint16_t head) noexcept;
  /// What was done since the last call is in the used ring; signalled() follows.
  void shown() noexcept;
  void signalled() noexcept;

  /// What was seen since the last call.
  [[nodiscard]] RequestTimes take();

 private:
  class Handler;
  struct Slot {
    RequestLife life;
    bool taken = false;    ///< and not done
    bool waiting = false;  ///< done; the driver has not said that it has seen it
  };

  [[nodiscard]] Slot& slot(std::uint16_t head) noexcept { return slots_[head & mask_]; }
  void wait() noexcept;
  void add_driver_seen(std::size_t index) noexcept;
  void count(const RequestLife& life) noexcept;

  std::unique_ptr<Handler> handler_;
  std::size_t mask_;
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> batch_;  ///< taken, not submitted
  std::vector<std::uint16_t> done_;   ///< done, not signalled
  std::uint64_t served_ = 0;
  Drain drain_ = Drain::kByIoThread;
  bool inside_ = false;            ///< the handler
  std::size_t with_back_end_ = 0;  ///< requests
  std::optional<std::uint64_t> driver_ahead_;
  GuestSpan stamps_;  ///< the driver's table, entries only; empty if there is none
  RequestTimes times_;
  std::size_t next_last_ = 0;  ///< in times_.last, once it is full
};

}  // namespace bellhop

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "base/unique_fd.h"
#include "virtio/queue/queue_back_end.h"
#include "virtio/ring/split_ring.h"

namespace bellhop::testing {

/// Serves a ring on a thread of its own, as the kernel's vhost would: it knows the ring's areas by
/// their host addresses and holds its own references to the events. Kicks are waited for by edges,
/// and stay in the eventfd's counter, as in the kernel.
class RingWorker {
 public:
  /// Does one request. False: not now, the chain is put back and tried again with the next kick or
  /// when `also` can be read.
  using Serve = std::function<bool(DescriptorChain& chain, std::uint32_t& written)>;

  /// `ring` is checked as the kernel would: null pointers and areas outside of memory abort.
  /// `also`: a descriptor that is waited for besides the kick; -1: none.
  RingWorker(const GuestMemory& memory, const OffloadedRing& ring, RingFeatures features,
             Serve serve, int also = -1);
  ~RingWorker() { (void)stop(); }
  RingWorker(const RingWorker&) = delete;
  RingWorker& operator=(const RingWorker&) = delete;

  /// Returns the next entry of the available ring to take.
  std::uint16_t stop();
  void set_call(const EventFd* call);

 private:
  void run();
  void serve_all();

  Serve serve_;
  UniqueFd epoll_;
  UniqueFd kick_;
  UniqueFd fault_;
  EventFd end_;
  std::mutex mutex_;
  UniqueFd call_;  ///< under mutex_
  QueueCounters counters_;
  SplitRing queue_;
  DescriptorChain chain_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace bellhop::testing

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "testing/ring_worker.h"
#include "vhost/vhost_handle.h"

namespace bellhop::testing {

/// The kernel's vhost, in this process: it takes the ioctls of vhost-net and vhost-vsock as the
/// kernel does, refuses what comes in the wrong order, and serves rings on threads of its own.
/// vhost-net's back end is any packet socket that carries frames with their headers; vhost-vsock
/// swallows what the guest sends.
class FakeVhost {
 public:
  /// `memory` is what the map that the kernel is given must describe.
  explicit FakeVhost(const GuestMemory& memory) : memory_(&memory) {}

  /// "open()". Errors: refuse_open().
  Result<std::unique_ptr<VhostHandle>> open();
  /// One device fewer for each handle that is destroyed.
  [[nodiscard]] unsigned open_handles() const noexcept { return open_handles_; }

  void refuse_open(int error) { refuse_open_ = error; }
  /// From now on `request` fails with -error; 0: no more.
  void refuse(unsigned long request, int error);
  void lack_features(std::uint64_t features) { features_ &= ~features; }
  void take_cid(std::uint64_t cid) { taken_cid_ = cid; }

  // ---- what it was told ----
  [[nodiscard]] std::uint64_t acked_features() const noexcept { return acked_features_; }
  [[nodiscard]] std::uint64_t cid() const noexcept { return cid_; }
  /// Rings that are served now.
  [[nodiscard]] unsigned serving() const noexcept { return serving_; }
  /// ioctls that the kernel would have refused.
  [[nodiscard]] unsigned wrong_calls() const noexcept { return wrong_calls_; }
  /// Requests done for the driver.
  [[nodiscard]] unsigned served() const noexcept { return served_; }
  /// Bytes that came by vhost-vsock's transmit queue.
  [[nodiscard]] std::uint64_t vsock_bytes() const noexcept { return vsock_bytes_; }

 private:
  class Handle;
  [[nodiscard]] int refusal(unsigned long request);

  const GuestMemory* memory_;
  std::atomic<int> refuse_open_{0};
  std::mutex mutex_;
  std::map<unsigned long, int> refused_;  ///< under mutex_
  std::atomic<std::uint64_t> features_{~std::uint64_t{0}};
  std::atomic<std::uint64_t> taken_cid_{0};
  std::atomic<std::uint64_t> acked_features_{0};
  std::atomic<std::uint64_t> cid_{0};
  std::atomic<unsigned> open_handles_{0};
  std::atomic<unsigned> serving_{0};
  std::atomic<unsigned> wrong_calls_{0};
  std::atomic<unsigned> served_{0};
  std::atomic<std::uint64_t> vsock_bytes_{0};
};

}  // namespace bellhop::testing

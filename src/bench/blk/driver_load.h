#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/blk/blk_cell.h"
#include "bench/harness/measurement.h"
#include "guest/pattern.h"
#include "memory/guest_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/ring/driver_ring.h"

namespace bellhop::bench {

/// A disk whose driver is in this process. Where its rings and buffers lie is DriverLoad's to say.
struct DrivenDisk {
  GuestMemory& memory;
  InProcessDevice& device;
  DriverRing& driver;
  std::uint64_t bytes = 0;  ///< of the disk, from its start on, that are used
  /// The process that serves the disk, whose CPU time is measured; ours by default.
  pid_t server = 0;
};

/// The workloads of the bench guest, by a driver in this process: as many requests outstanding as
/// the cell has threads, every byte that is read checked. It sleeps while it has nothing to do.
class DriverLoad {
 public:
  static constexpr std::uint16_t kQueueSize = 256;
  static constexpr GuestAddress kRing{0x10000};
  /// Of memory from address 0 on that it needs.
  static std::uint64_t memory_bytes(unsigned block_bytes);

  struct Setting {
    Workload workload = Workload::kSeqRead;
    unsigned depth = 1;
    unsigned block_bytes = 4096;
    bool check = true;  ///< false: a medium that keeps nothing
    /// The disk's file, from which some of what was written is read back; -1: from the disk.
    int image = -1;
  };

  DriverLoad(DrivenDisk disk, const Setting& setting, const EventFd& interrupt);

  /// Writes the pattern of the images to all of the disk. Errors: as run().
  Status fill();
  /// Runs for `warmup_s`, then measures for `seconds`, then waits for what is in flight. Errors: a
  /// request failed, or is not answered in ten seconds; the device has gone; wrong data;
  /// kEndedByUser where `interrupt` was signalled.
  Result<Measurement> run(double warmup_s, double seconds);

 private:
  using Clock = std::chrono::steady_clock;
  struct Slot {
    std::uint64_t offset = 0;
    Clock::time_point start;
  };
  struct Mark;

  [[nodiscard]] std::uint64_t next_offset();
  Result<Mark> mark() const;
  void issue(std::size_t index);
  Status finish(std::size_t index, Clock::time_point now);
  void kick();
  /// Errors: as run(), but for wrong data.
  Status wait();
  /// Whether it is to be gone on. Looks now and then, since a driver that is never out of work does
  /// not wait.
  Status look(Clock::time_point now);
  /// Keeps all slots busy until `more(now)` says that it is enough, then waits for what is in
  /// flight.
  template <class More>
  Status drive(More&& more);
  Status read_back();

  DrivenDisk disk_;
  Setting setting_;
  const EventFd& interrupt_;
  std::uint64_t blocks_;
  bool writes_;
  std::uint64_t generation_;                             ///< of what is written
  const std::vector<std::uint64_t>* offsets_ = nullptr;  ///< in the place of the workload's
  std::vector<Slot> slots_;
  std::vector<std::size_t> slot_of_head_;
  Clock::time_point look_at_;
  std::uint64_t issued_ = 0;
  std::uint64_t in_flight_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t kicks_ = 0;
  std::uint64_t wakeups_ = 0;
  std::vector<std::uint32_t> latencies_ns_;
  std::vector<std::uint64_t> written_;
  alignas(16) std::array<std::byte, pattern::kBlockBytes> block_{};
};

}  // namespace bellhop::bench

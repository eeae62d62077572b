#pragma once

#include <cstdint>

#include "guest/disk.h"
#include "guest/histogram.h"
#include "guest/options.h"

// One vCPU at work on one queue.
namespace bellhop::guest {

/// What a worker counted during the measured time.
struct Figures {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  std::uint64_t blocks_verified = 0;
  std::uint64_t wrong_blocks = 0;
  std::uint64_t io_errors = 0;
  std::uint64_t kicks = 0;
  std::uint64_t suppressed = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t halts = 0;
  std::uint64_t empty_wakeups = 0;
  std::uint64_t wrapped = 0;  ///< times a sequential workload began again at its start
  std::uint64_t digest = 0;
  std::uint64_t queue_resets = 0;

  void add(const Figures& other);
};

/// What all workers look at; worker 0 writes it.
struct Stage {
  volatile std::uint64_t begin = 0;  ///< TSC at which the measured time began
  volatile std::uint64_t end = 0;
};

/// The first wrong block that a worker met.
struct WrongBlock {
  std::uint64_t offset = 0;
  std::uint64_t expected_generation = 0;
  std::uint64_t words[4] = {};
};

class Worker {
 public:
  /// Takes what it needs of memory; the error text, or null if all is well. `index` of `count`
  /// workers has its own part of the span, its own share of the threads, and queue `index`.
  const char* create(Disk* disk, const Options* options, Stage* stage, std::uint32_t index,
                     std::uint32_t count, std::uint64_t span);

  RingQueue* queue() { return &queue_; }

  /// Runs the workload to its end on the vCPU that calls it. Null, or what went wrong.
  const char* run();

  const Figures& figures() const { return figures_; }
  const Histogram& latency() const { return latency_; }
  const WrongBlock& first_wrong() const { return first_wrong_; }
  /// Blocks read back after a writing workload, and found as written.
  std::uint64_t read_back() const { return read_back_; }

 private:
  enum class Phase { kWarmup, kMeasure, kDrain, kReadBack };

  bool next_request(Slot* slot);
  bool next_sequential(std::uint64_t* offset);
  bool next_random_write(std::uint64_t* offset);
  bool next_read_back(Slot* slot);
  void fill(Slot* slot);
  void submit(Slot* slot);
  void finish(Slot* slot);
  void verify(Slot* slot);
  void note_wrong(const Slot& slot, std::uint32_t block);
  std::uint32_t reap();
  Slot* slot_of(std::uint32_t head);
  const char* reset_queue();
  void step(std::uint64_t now);
  void begin();
  void freeze();
  const char* turn();
  const char* read_back_sample();
  std::uint64_t random_below(std::uint64_t limit);
  std::uint32_t& generation_of(std::uint64_t offset) {
    return generations_[(offset - first_) / options_->block_bytes];
  }

  Disk* disk_ = nullptr;
  const Options* options_ = nullptr;
  Stage* stage_ = nullptr;
  const volatile std::uint32_t* interrupts_ = nullptr;
  RingQueue queue_;
  ChainShape shape_{};
  Slot* slots_ = nullptr;
  virtio::Desc* tables_ = nullptr;
  std::uint32_t* generations_ = nullptr;  ///< of the blocks this worker wrote; 0: not yet
  std::uint32_t slot_count_ = 0;
  std::uint32_t index_ = 0;
  std::uint32_t in_flight_ = 0;
  std::uint32_t acknowledged_ = 0;
  std::uint32_t resets_left_ = 0;
  Phase phase_ = Phase::kWarmup;
  bool needs_acknowledge_ = false;
  std::uint64_t first_ = 0;  ///< this worker's part of the disk, in bytes
  std::uint64_t last_ = 0;
  std::uint64_t span_ = 0;
  std::uint64_t cursor_ = 0;
  std::uint64_t random_state_ = 0;
  std::uint64_t started_ = 0;
  std::uint64_t progress_ = 0;  ///< TSC of the last answer
  std::uint64_t poll_cycles_ = 0;
  std::uint64_t read_back_ = 0;
  std::uint64_t read_back_tries_ = 0;
  Figures figures_;
  Figures base_;  ///< the queue's running counters when the measured time began
  Histogram latency_;
  WrongBlock first_wrong_;
};

}  // namespace bellhop::guest

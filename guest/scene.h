#pragma once

#include <cstdint>

#include "guest/disk.h"
#include "guest/options.h"

// The stage on which the guest is hostile: one queue, one request, raw access to both.
namespace bellhop::guest {

/// Writes to a queue's ring what an honest driver never would.
class RingVandal {
 public:
  explicit RingVandal(SplitQueue* queue) : queue_(queue) {}

  void set_avail_index(std::uint16_t index) {
    store_release(&queue_->avail_->idx, index);
    full_fence();
  }
  std::uint16_t avail_index() const { return queue_->avail_->idx; }
  void set_avail_entry(std::uint16_t at, std::uint16_t head) {
    queue_->avail_ring_[at & queue_->mask_] = head;
  }
  void set_used_event(std::uint16_t value) { store_relaxed(queue_->used_event_, value); }
  void set_avail_flags(std::uint16_t value) { store_relaxed(&queue_->avail_->flags, value); }
  std::uint16_t used_index() const { return load_acquire(&queue_->used_->idx); }
  std::uint64_t used_address() const { return reinterpret_cast<std::uint64_t>(queue_->used_ring_); }

 private:
  SplitQueue* queue_;
};

/// What became of a misdeed.
struct Outcome {
  std::uint32_t answered = 0;          ///< used entries that came
  std::uint8_t request_status = 0xff;  ///< the status byte, 0xff if it was not written
  std::uint8_t device_status = 0;
  bool refused = false;  ///< a register access that the device did not take
  bool skipped = false;  ///< this transport or device has no such thing
};

class Scene {
 public:
  static constexpr std::uint32_t kQueueSize = 64;
  static constexpr std::uint32_t kDataBytes = 4096;
  static constexpr std::uint32_t kWitnessBlocks = 16;

  Scene(Disk* disk, const Options* options, std::uint32_t vcpus = 1)
      : disk_(disk), options_(options), vcpus_(vcpus) {}

  /// Takes memory; null or an error.
  const char* create();

  /// Resets the device and brings it up with an empty ring.
  bool start();
  /// As `start`, but stops before DRIVER_OK.
  bool start_halfway();
  /// An honest read of the first block; true if it is answered and brings what it brought first.
  bool read_works();
  /// Writes what belongs to `round` into one of the last kWitnessBlocks blocks and reads it back,
  /// without wanting interrupts; true if it comes back as it was written.
  bool write_works(std::uint64_t round);

  /// Lays header, data and status out as descriptors 0, 1, 2.
  void compose(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes = kDataBytes);
  /// Puts `head` on the ring and rings, whether the device wants it or not.
  void offer(std::uint16_t head);
  /// Waits for an answer or NEEDS_RESET, 200 ms at most, and notes what there is.
  void settle();

  Disk* disk() { return disk_; }
  Transport* transport() { return disk_->transport(); }
  PciTransport* pci() { return disk_->transport()->as_pci(); }
  SplitQueue* queue() { return &queue_; }
  RingVandal ring() { return RingVandal(&queue_); }
  virtio::Desc* desc() { return queue_.descriptors(); }
  virtio::Desc* table() { return table_; }
  std::uint8_t* data() { return data_; }
  virtio::BlkRequestHeader* header() { return header_; }
  std::uint64_t header_address() const { return reinterpret_cast<std::uint64_t>(header_); }
  std::uint64_t data_address() const { return reinterpret_cast<std::uint64_t>(data_); }
  std::uint64_t status_address() const { return reinterpret_cast<std::uint64_t>(status_); }
  std::uint64_t table_address() const { return reinterpret_cast<std::uint64_t>(table_); }
  std::uint32_t vcpus() const { return vcpus_; }
  Outcome& outcome() { return outcome_; }
  void begin_outcome();

 private:
  /// Offers what was composed and waits for its answer; true if that is a good one.
  bool serve();

  Disk* disk_;
  const Options* options_;
  std::uint32_t vcpus_;
  SplitQueue queue_;
  virtio::Desc* table_ = nullptr;
  virtio::BlkRequestHeader* header_ = nullptr;
  volatile std::uint8_t* status_ = nullptr;
  std::uint8_t* data_ = nullptr;
  std::uint64_t first_digest_ = 0;
  bool knows_digest_ = false;
  std::uint16_t used_before_ = 0;
  Outcome outcome_;
};

/// A misdeed: its name on the command line, its row of the list of bad inputs, and the deed.
struct HostileCase {
  const char* name;
  std::uint32_t row;
  void (*act)(Scene& scene);
};

/// The lists end with a null name.
extern const HostileCase kHostileRing[];
extern const HostileCase kHostileRegisters[];
extern const HostileCase kHostileBlock[];

}  // namespace bellhop::guest

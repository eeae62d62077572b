#pragma once

#include <cstdint>

#include "guest/net_frames.h"
#include "guest/net_options.h"
#include "guest/nic.h"
#include "guest/split_queue.h"

// UDP over one pair of virtio-net queues, for one vCPU. Buffers and descriptors stay where they
// are: a frame is one descriptor, and sending or offering it again one ring entry.
namespace bellhop::guest {

/// Who gets the datagrams that come in. `data` is good until `take` returns.
class DatagramSink {
 public:
  virtual void take(const std::uint8_t* data, std::uint32_t bytes) = 0;

 protected:
  ~DatagramSink() = default;
};

/// Since the start, in events.
struct PortCounters {
  std::uint64_t frames_in = 0;
  std::uint64_t frames_out = 0;
  std::uint64_t datagrams_in = 0;
  std::uint64_t other_frames = 0;  ///< ARP, and what is not for us
  std::uint64_t bad_frames = 0;    ///< no sense in the device's header or the used ring
  std::uint64_t halts = 0;
  std::uint64_t empty_wakeups = 0;
  std::uint64_t merged = 0;  ///< frames that took several buffers
};

class NetPort {
 public:
  /// Negotiates, takes memory, starts both queues. Null, or what went wrong.
  const char* create(Nic* nic, const NetOptions& options);

  /// Learns the host's Ethernet address. Null, or what went wrong.
  const char* resolve();

  /// Whether the device cuts frames that carry several datagrams; then a frame carries at most
  /// `cut.per_frame()` of them, else one.
  bool sends_trains() const { return sends_trains_; }
  std::uint32_t datagrams_per_frame() const { return datagrams_per_frame_; }

  /// Frames that can be filled now.
  std::uint32_t free_frames();
  /// Room for the next frame's payload; there is a free frame.
  std::uint8_t* payload() { return slot(free_[free_count_ - 1]) + kPayloadAt; }
  /// Sends it: `bytes` of payload, in datagrams of `datagram` bytes (the last may be shorter).
  void send(std::uint32_t bytes, std::uint32_t datagram);
  /// Shows the device what was sent.
  void publish() { transmit_.publish(); }

  /// Hands over what has come, up to a bound, and gives the buffers back. Number of frames.
  std::uint32_t receive(DatagramSink* sink);

  /// Something will come, or (`for_room`) a frame will go: looks, spins or halts, as the options
  /// want it. May return early.
  void wait(bool for_room);

  const PortCounters& counters() const { return counters_; }
  std::uint64_t kicks() const { return receive_.counters().kicks + transmit_.counters().kicks; }
  std::uint64_t suppressed() const {
    return receive_.counters().suppressed + transmit_.counters().suppressed;
  }
  std::uint32_t interrupts() const { return load_relaxed(interrupts_); }
  std::uint32_t queue_size() const { return transmit_.size(); }
  std::uint32_t receive_buffers() const { return receive_count_; }
  std::uint32_t receive_bytes() const { return receive_bytes_; }

 private:
  static constexpr std::uint32_t kLine = 64;
  /// The payload of a frame lies on a cache line; its headers before it.
  static constexpr std::uint32_t kPayloadAt = kLine;
  static constexpr std::uint32_t kFrameAt = kPayloadAt - kUdpHeadBytes;
  static constexpr std::uint32_t kHeaderAt = kFrameAt - sizeof(virtio::NetHeader);
  static constexpr std::uint32_t kMaxPieces = 600;

  struct Piece {
    const std::uint8_t* data;
    std::uint32_t bytes;
    std::uint16_t head;
  };

  const char* create_receive(const NetOptions& options);
  const char* create_transmit(const NetOptions& options);
  std::uint8_t* slot(std::uint16_t number) { return frames_ + std::size_t{number} * frame_stride_; }
  void push(std::uint32_t bytes, virtio::NetHeader header);
  void send_arp(Arp what);
  void take_frame(DatagramSink* sink);
  void take_datagrams(DatagramSink* sink, std::uint32_t payload, std::uint32_t datagram);

  Nic* nic_ = nullptr;
  const Options* common_ = nullptr;
  Link link_;
  SplitQueue receive_;
  SplitQueue transmit_;
  const volatile std::uint32_t* interrupts_ = nullptr;
  bool mergeable_ = false;
  bool partial_ = false;  ///< checksums are left to the device
  bool sends_trains_ = false;
  bool event_idx_ = false;
  bool indirect_ = false;
  bool needs_acknowledge_ = false;
  bool resolved_ = false;
  std::uint32_t acknowledged_ = 0;
  std::uint32_t datagrams_per_frame_ = 1;
  std::uint64_t poll_cycles_ = 0;
  std::uint64_t progress_ = 0;  ///< TSC of the last frame that came

  std::uint8_t* buffers_ = nullptr;
  std::uint32_t buffer_stride_ = 0;
  std::uint32_t receive_bytes_ = 0;
  std::uint32_t receive_count_ = 0;
  Piece pieces_[kMaxPieces];  ///< the frame that is being gathered
  std::uint32_t piece_count_ = 0;
  std::uint32_t piece_goal_ = 1;
  std::uint8_t* scratch_ = nullptr;  ///< for a datagram that lies in several buffers

  std::uint8_t* frames_ = nullptr;
  virtio::Desc* tables_ = nullptr;
  std::uint32_t frame_stride_ = 0;
  std::uint32_t frame_count_ = 0;
  std::uint16_t* free_ = nullptr;
  std::uint32_t free_count_ = 0;
  PortCounters counters_;
};

}  // namespace bellhop::guest

#include "guest/net_port.h"

#include "guest/clock.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

constexpr std::uint32_t kReceiveBudget = 64;  // frames, then the sender has a turn
constexpr std::uint32_t kLargestFrame = kEthernetBytes + 65535;
constexpr std::uint32_t kMemoryForBuffers = 4 << 20;  // small enough to stay in a cache
constexpr std::uint32_t kFewestBuffers = 16;
constexpr std::uint64_t kArpWaitUs = 100'000;
constexpr unsigned kArpTries = 50;
/// One vCPU serves both queues, so one counter is what it waits on.
constexpr unsigned kCounter = 0;

std::uint64_t address(const volatile void* p) { return reinterpret_cast<std::uint64_t>(p); }

std::uint32_t round_up(std::uint32_t value, std::uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint32_t smaller(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }

std::uint32_t suitable_count(std::uint32_t bytes, std::uint32_t queue_size) {
  const std::uint32_t fitting = kMemoryForBuffers / bytes;
  return smaller(fitting < kFewestBuffers ? kFewestBuffers : fitting, queue_size);
}

struct Nobody final : DatagramSink {
  void take(const std::uint8_t*, std::uint32_t) override {}
};

}  // namespace

const char* NetPort::create(Nic* nic, const NetOptions& options) {
  nic_ = nic;
  common_ = options.common;
  if (const char* error = nic->negotiate(options.features); error != nullptr) return error;
  mergeable_ = nic->has(kNetFeatureMrgRxbuf);
  partial_ = nic->has(kNetFeatureCsum);
  event_idx_ = nic->has(kFeatureEventIdx);
  indirect_ = nic->has(kFeatureIndirectDesc);
  sends_trains_ = nic->has(kNetFeatureHostUso);
  datagrams_per_frame_ = sends_trains_ ? options.cut.per_frame() : 1;
  needs_acknowledge_ = nic->transport()->needs_acknowledge();
  interrupts_ = interrupt_counter(kCounter);
  poll_cycles_ = us_to_cycles(common_->poll_us);
  for (std::uint32_t i = 0; i < kMacBytes; ++i) link_.own_mac[i] = nic->mac()[i];
  link_.own_address = wire::kGuestAddress;
  link_.host_address = wire::kHostAddress;
  link_.port = wire::kPort;
  if (const char* error = create_receive(options); error != nullptr) return error;
  if (const char* error = create_transmit(options); error != nullptr) return error;
  if (!receive_.enable(nic->transport(), Nic::kReceiveQueue, kCounter, 0) ||
      !transmit_.enable(nic->transport(), Nic::kTransmitQueue, kCounter, 0)) {
    return "queue cannot be enabled";
  }
  nic->transport()->go();
  receive_.publish();
  return nullptr;
}

const char* NetPort::create_receive(const NetOptions& options) {
  const std::uint32_t size =
      smaller(common_->queue_size, nic_->transport()->queue_max_size(Nic::kReceiveQueue));
  if (size == 0 || !receive_.create(size, event_idx_)) return "no receive queue";
  const std::uint32_t packet = options.cut.datagram_bytes + kUdpHeadBytes - kEthernetBytes;
  const std::uint32_t mtu = nic_->mtu() > packet ? nic_->mtu() : packet;
  const bool large = nic_->has(kNetFeatureGuestUso4);
  const auto header = static_cast<std::uint32_t>(sizeof(NetHeader));
  const std::uint32_t largest = header + (large ? kLargestFrame : kEthernetBytes + mtu);
  receive_bytes_ = options.receive_bytes == 0 ? largest : options.receive_bytes;
  if (!mergeable_ && receive_bytes_ < largest) {
    return "rx_buffer holds no whole frame, and the device cannot use several";
  }
  if (largest / receive_bytes_ + 1 > kMaxPieces) return "rx_buffer is too small";
  receive_count_ = options.receive_buffers == 0 ? suitable_count(receive_bytes_, size)
                                                : smaller(options.receive_buffers, size);
  if (receive_count_ < largest / receive_bytes_ + 1) return "too few receive buffers for a frame";
  buffer_stride_ = round_up(kHeaderAt + receive_bytes_, kLine);
  buffers_ =
      static_cast<std::uint8_t*>(allocate(std::size_t{receive_count_} * buffer_stride_, kLine));
  scratch_ = static_cast<std::uint8_t*>(allocate(wire::kMaxDatagramBytes + 1, kLine));
  if (buffers_ == nullptr || scratch_ == nullptr) return "out of memory for receive buffers";
  for (std::uint32_t i = 0; i < receive_count_; ++i) {
    const std::uint8_t* at = buffers_ + std::size_t{i} * buffer_stride_ + kHeaderAt;
    receive_.descriptors()[i] = {address(at), receive_bytes_, kDescWrite, 0};
    receive_.push(static_cast<std::uint16_t>(i));
  }
  return nullptr;
}

const char* NetPort::create_transmit(const NetOptions& options) {
  const std::uint32_t size =
      smaller(common_->queue_size, nic_->transport()->queue_max_size(Nic::kTransmitQueue));
  if (size == 0 || !transmit_.create(size, event_idx_)) return "no transmit queue";
  const std::uint32_t train = datagrams_per_frame_ * options.cut.datagram_bytes;
  const std::uint32_t largest = smaller(train, wire::kMaxDatagramBytes);
  constexpr std::uint32_t kSmallest = 256;  // for what is no data
  frame_stride_ = round_up(kPayloadAt + (largest < kSmallest ? kSmallest : largest), kLine);
  frame_count_ = suitable_count(frame_stride_, size);
  frames_ = static_cast<std::uint8_t*>(allocate(std::size_t{frame_count_} * frame_stride_, kLine));
  free_ = allocate_array<std::uint16_t>(frame_count_);
  if (indirect_) tables_ = allocate_array<Desc>(std::size_t{frame_count_} * 2);
  if (frames_ == nullptr || free_ == nullptr || (indirect_ && tables_ == nullptr)) {
    return "out of memory for frames";
  }
  for (std::uint32_t i = 0; i < frame_count_; ++i) {
    free_[i] = static_cast<std::uint16_t>(frame_count_ - 1 - i);
  }
  free_count_ = frame_count_;
  transmit_.disarm();
  return nullptr;
}

std::uint32_t NetPort::free_frames() {
  std::uint32_t head = 0;
  std::uint32_t written = 0;
  bool any = false;
  while (transmit_.pop(&head, &written)) {
    any = true;
    if (head < frame_count_ && free_count_ < frame_count_) {
      free_[free_count_++] = static_cast<std::uint16_t>(head);
    } else {
      ++counters_.bad_frames;
    }
  }
  // Frames that have gone are looked for when room is needed; nobody need call.
  if (any) transmit_.disarm();
  return free_count_;
}

void NetPort::push(std::uint32_t bytes, NetHeader header) {
  const std::uint16_t number = free_[--free_count_];
  std::uint8_t* at = slot(number) + kHeaderAt;
  __builtin_memcpy(at, &header, sizeof(header));
  constexpr auto kHeader = static_cast<std::uint32_t>(sizeof(NetHeader));
  Desc* ring = &transmit_.descriptors()[number];
  if (indirect_) {
    Desc* table = tables_ + std::size_t{number} * 2;
    table[0] = {address(at), kHeader, kDescNext, 1};
    table[1] = {address(at) + kHeader, bytes, 0, 0};
    *ring = {address(table), static_cast<std::uint32_t>(2 * sizeof(Desc)), kDescIndirect, 0};
  } else {
    *ring = {address(at), kHeader + bytes, 0, 0};
  }
  transmit_.push(number);
  ++counters_.frames_out;
}

void NetPort::send(std::uint32_t bytes, std::uint32_t datagram) {
  std::uint8_t* frame = slot(free_[free_count_ - 1]) + kFrameAt;
  write_udp_head(frame, link_, bytes, partial_);
  NetHeader header{};
  if (partial_) {
    header.flags = kNetHeaderNeedsCsum;
    header.csum_start = kChecksumStart;
    header.csum_offset = kChecksumOffset;
  }
  if (bytes > datagram) {
    header.gso_type = kNetGsoUdpL4;
    header.hdr_len = kUdpHeadBytes;
    header.gso_size = static_cast<std::uint16_t>(datagram);
  }
  push(kUdpHeadBytes + bytes, header);
}

void NetPort::send_arp(Arp what) {
  if (free_frames() == 0) return;  // who asks will ask again
  write_arp(slot(free_[free_count_ - 1]) + kFrameAt, link_, what);
  push(kArpBytes, NetHeader{});
  transmit_.publish();
}

const char* NetPort::resolve() {
  Nobody nobody;
  for (unsigned tries = 0; tries < kArpTries; ++tries) {
    send_arp(Arp::kRequest);
    const std::uint64_t end = read_tsc() + us_to_cycles(kArpWaitUs);
    while (read_tsc() < end) {
      if (receive(&nobody) == 0) cpu_relax();
      if (resolved_) return nullptr;
    }
  }
  return "nobody answers at the other end of the link (no ARP reply)";
}

std::uint32_t NetPort::receive(DatagramSink* sink) {
  std::uint32_t frames = 0;
  std::uint32_t head = 0;
  std::uint32_t written = 0;
  while (frames < kReceiveBudget && receive_.pop(&head, &written)) {
    if (head >= receive_count_ || written > receive_bytes_) {
      ++counters_.bad_frames;
      continue;
    }
    const std::uint8_t* data = buffers_ + std::size_t{head} * buffer_stride_ + kHeaderAt;
    if (piece_count_ == 0) {
      NetHeader header;
      __builtin_memcpy(&header, data, sizeof(header));
      piece_goal_ = mergeable_ ? header.num_buffers : 1;
      if (piece_goal_ == 0 || piece_goal_ > kMaxPieces) {
        ++counters_.bad_frames;
        piece_goal_ = 1;
      }
    }
    pieces_[piece_count_++] = {data, written, static_cast<std::uint16_t>(head)};
    // The device shows all buffers of a frame at once; if not, the rest is waited for.
    if (piece_count_ < piece_goal_) continue;
    ++frames;
    if (piece_count_ > 1) ++counters_.merged;
    take_frame(sink);
    for (std::uint32_t i = 0; i < piece_count_; ++i) receive_.push(pieces_[i].head);
    piece_count_ = 0;
  }
  if (frames == 0) return 0;
  counters_.frames_in += frames;
  progress_ = read_tsc();
  receive_.publish();
  return frames;
}

void NetPort::take_frame(DatagramSink* sink) {
  constexpr auto kHeader = static_cast<std::uint32_t>(sizeof(NetHeader));
  const Piece& first = pieces_[0];
  if (first.bytes < kHeader) {
    ++counters_.bad_frames;
    return;
  }
  std::uint32_t bytes = 0;
  for (std::uint32_t i = 0; i < piece_count_; ++i) bytes += pieces_[i].bytes;
  std::uint32_t payload = 0;
  switch (
      read_frame(first.data + kHeader, first.bytes - kHeader, bytes - kHeader, &link_, &payload)) {
    case FrameKind::kUdp:
      break;
    case FrameKind::kArpForUs:
      ++counters_.other_frames;
      send_arp(Arp::kReply);
      return;
    case FrameKind::kArpAnswer:
      ++counters_.other_frames;
      resolved_ = true;
      return;
    case FrameKind::kOther:
      ++counters_.other_frames;
      return;
  }
  NetHeader header;
  __builtin_memcpy(&header, first.data, sizeof(header));
  std::uint32_t datagram = payload;
  if (header.gso_type == kNetGsoUdpL4 && header.gso_size != 0) {
    datagram = header.gso_size;
  } else if (header.gso_type != kNetGsoNone) {
    ++counters_.bad_frames;
    return;
  }
  // Checksums are not looked at here: every byte is checked by who takes the datagram.
  take_datagrams(sink, payload, datagram);
}

void NetPort::take_datagrams(DatagramSink* sink, std::uint32_t payload, std::uint32_t datagram) {
  std::uint32_t piece = 0;
  std::uint32_t at = static_cast<std::uint32_t>(sizeof(NetHeader)) + kUdpHeadBytes;
  for (std::uint32_t left = payload; left > 0;) {
    const std::uint32_t size = smaller(datagram, left);
    left -= size;
    ++counters_.datagrams_in;
    while (at == pieces_[piece].bytes) {  // `payload` fits what the pieces hold
      ++piece;
      at = 0;
    }
    if (pieces_[piece].bytes - at >= size) {
      sink->take(pieces_[piece].data + at, size);
      at += size;
      continue;
    }
    // It goes on in the next buffer: put it together.
    std::uint32_t have = 0;
    while (have < size) {
      if (at == pieces_[piece].bytes) {
        ++piece;
        at = 0;
        continue;
      }
      const std::uint32_t part = smaller(pieces_[piece].bytes - at, size - have);
      __builtin_memcpy(scratch_ + have, pieces_[piece].data + at, part);
      have += part;
      at += part;
    }
    sink->take(scratch_, size);
  }
}

void NetPort::wait(bool for_room) {
  const auto finished = [&] {
    return receive_.has_finished() || (for_room && transmit_.has_finished());
  };
  if (common_->spin || read_tsc() - progress_ < poll_cycles_) {
    receive_.disarm();
    cpu_relax();
    return;
  }
  const std::uint32_t seen = load_acquire(interrupts_);
  if (needs_acknowledge_ && seen != acknowledged_) {
    acknowledged_ = seen;
    nic_->transport()->acknowledge();
  }
  bool ready = receive_.arm();
  if (for_room) ready = transmit_.arm() || ready;
  if (!ready) {
    ++counters_.halts;
    wait_for_interrupt(interrupts_, seen);
    if (load_acquire(interrupts_) != seen && !finished()) ++counters_.empty_wakeups;
  }
  if (for_room) transmit_.disarm();
  if (!event_idx_) receive_.disarm();
}

}  // namespace bellhop::guest

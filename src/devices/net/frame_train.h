#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "memory/guest_span.h"
#include "net/net_backend.h"
#include "virtio/abi/net.h"

namespace bellhop {

/// Frames on their way to the host's stack as one: what Linux calls GRO, done where frames come
/// from a guest. A tap takes one frame for each system call, and most of such a call is the host's
/// whole network stack; a train of datagrams goes through both once. The host's stack takes it
/// apart where a receiver needs the datagrams by themselves, as it does with a guest's own trains.
///
/// Joined are UDP datagrams of one flow, one right behind the other, that leave their checksum to
/// the host: the same bytes in Ethernet's and IP's header but for lengths, IPv4 without options and
/// with "don't fragment" (its identification then means nothing, RFC 6864, 4.1), all payloads as
/// long as the first but for the last, which may be shorter (as Linux's UDP_SEGMENT has it). Any
/// other frame is a train of its own.
///
/// Headers are copied, once, and the copy is what is looked at and sent. Payload is sent from where
/// it lies.
class FrameTrain {
 public:
  /// What every kernel takes in one train is 64 (UDP_MAX_SEGMENTS). A device that holds as many
  /// chains has a place for one more.
  static constexpr std::size_t kMaxFrames = 63;
  /// The longest head that is looked at: IPv6.
  static constexpr std::size_t kHeadBytes = kEthernetHeaderBytes + 40 + 8;

  /// The next frame, with what is needed to decide about it.
  struct Frame {
    virtio::NetHeader header;                  ///< checked by check_sent_header()
    std::array<std::byte, kHeadBytes> head{};  ///< its first bytes, as far as there are any
    std::size_t bytes = 0;                     ///< without the virtio header
    std::span<const GuestSpan> buffers;        ///< where it lies, virtio header first
  };

  /// Makes `frame` the next of the train. False: it does not go with those that are there, which
  /// have to leave first. An empty train takes any frame, of any number of buffers that a chain may
  /// have. `may_join` false: only an empty one does.
  [[nodiscard]] bool add(const Frame& frame, bool may_join) noexcept;
  /// Header first, for NetPair::send(). Not empty. Valid until add() or clear().
  [[nodiscard]] std::span<const iovec> finish() noexcept;
  void clear() noexcept {
    frames_ = 0;
    open_ = false;
  }

  /// Whether another frame may follow.
  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] std::size_t frames() const noexcept { return frames_; }
  /// Of all frames, their virtio headers not included.
  [[nodiscard]] std::size_t frame_bytes() const noexcept { return frame_bytes_; }

 private:
  /// Places to send from: a kernel takes 1024.
  static constexpr std::size_t kMaxParts = 512;

  /// A datagram that may be part of a train.
  struct Datagram {
    std::uint16_t headers;  ///< bytes from Ethernet's to UDP's
    std::uint16_t payload;  ///< bytes, not 0
  };

  static std::optional<Datagram> look_at(const Frame& frame) noexcept;
  void begin(const Frame& frame, bool may_join) noexcept;
  [[nodiscard]] bool continues(const Frame& frame, const Datagram& next) const noexcept;
  [[nodiscard]] bool append(std::span<const GuestSpan> buffers, std::size_t skip) noexcept;
  void write_lengths() noexcept;

  std::size_t frames_ = 0;
  std::size_t frame_bytes_ = 0;
  bool open_ = false;
  Datagram first_{};         ///< while open_, or of a train of several
  std::size_t payload_ = 0;  ///< of all its datagrams
  struct {
    virtio::NetHeader header;
    std::array<std::byte, kHeadBytes> bytes;
  } head_{};
  std::size_t part_count_ = 0;
  std::array<iovec, kMaxParts> parts_;
};

}  // namespace bellhop

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/unique_fd.h"
#include "devices/vsock/byte_ring.h"
#include "virtio/abi/vsock.h"
#include "virtio/ring/descriptor_chain.h"

namespace bellhop {

/// Which connection a packet belongs to, from the host's end.
struct VsockPorts {
  std::uint32_t host = 0;
  std::uint32_t guest = 0;

  [[nodiscard]] constexpr std::uint64_t key() const noexcept {
    return std::uint64_t{host} << 32 | guest;
  }
};

/// One stream between a port of the guest and a Unix socket of the host (virtio 1.3, 5.10.6): what
/// has been agreed, who may still send, and the credit of both sides. It reads and writes the
/// socket, but waits for nothing and knows no queue.
///
/// To the guest, bytes go straight from the socket into the driver's buffer, as many as the guest
/// has credit for; the rest stays in the socket. From the guest, bytes go straight into the socket;
/// what it does not take is kept, up to kBufferBytes, which is the credit that the guest is given.
///
/// Whoever holds the muxer.
class VsockConnection {
 public:
  static constexpr std::uint32_t kBufferBytes = 128 * 1024;
  /// Payload of one packet to the guest.
  static constexpr std::uint32_t kMaxPayload = 64 * 1024;

  enum class Origin : std::uint8_t { kHost, kGuest };
  /// What becomes of the connection after a packet, or after the socket was looked at.
  enum class Verdict : std::uint8_t {
    kGoesOn,
    kGone,     ///< the guest has dropped it: no answer
    kReset,    ///< it is over: the guest is told by RST
    kClosed,   ///< the guest has closed it: RST confirms that; the socket still gets what it is due
    kRefused,  ///< the guest does not want it
    kFault,    ///< the guest broke the rules: RST, and counted
  };

  VsockConnection(VsockPorts ports, UniqueFd socket, Origin origin);

  [[nodiscard]] const VsockPorts& ports() const noexcept { return ports_; }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] bool open() const noexcept { return open_; }

  // ---- the guest's side ----

  /// The REQUEST that made the connection. False: it breaks the rules.
  bool take_request(const virtio::VsockHeader& header) noexcept { return take_credit(header); }
  /// A packet of the guest's; `packet` is all of it, of which `header` is a copy that fits it.
  Verdict take(const virtio::VsockHeader& header, const BufferRun& packet) noexcept;
  /// Whether there is something to tell the guest, as far as is known without asking the socket.
  [[nodiscard]] bool has_packet() const noexcept;
  /// The next packet: payload behind sizeof(VsockHeader) bytes of `buffers`, and what is to be
  /// known of it in `header` (op, len, flags, credit). False: nothing after all; or, if `verdict`
  /// is not kGoesOn, never more.
  bool put(virtio::VsockHeader& header, std::span<const GuestSpan> buffers, std::size_t room,
           Verdict& verdict) noexcept;

  // ---- the host's side ----

  /// The socket can be read, or has ended.
  void set_readable() noexcept { readable_ = true; }
  /// Whether to wait until it can be read.
  [[nodiscard]] bool waits_to_read() const noexcept {
    return open_ && !readable_ && !host_ended_ &&
           (guest_shut_ & virtio::kVsockShutdownReceive) == 0;
  }
  /// Whether to wait until it can be written.
  [[nodiscard]] bool waits_to_write() const noexcept { return !kept_.empty(); }
  /// Writes what is kept.
  Verdict flush() noexcept;
  /// Looks whether the other end is gone: where nobody reads the socket, nothing else tells.
  void look_for_hangup() noexcept;
  /// One of the muxer's intervals has passed.
  Verdict tick() noexcept;

 private:
  enum Pending : unsigned {
    kRequest = 1,
    kResponse = 2,
    kShutdown = 4,
    kCreditUpdate = 8,
    kCreditRequest = 16,
  };

  bool take_credit(const virtio::VsockHeader& header) noexcept;
  [[nodiscard]] std::uint32_t credit() const noexcept;
  Verdict answered() noexcept;
  Verdict shut(std::uint32_t flags) noexcept;
  Verdict write(const BufferRun& packet, std::size_t bytes) noexcept;
  void forwarded(std::size_t bytes) noexcept;
  void host_ended(std::uint32_t shut_flags) noexcept;
  bool put_data(virtio::VsockHeader& header, std::span<const GuestSpan> buffers, std::size_t room,
                Verdict& verdict) noexcept;

  VsockPorts ports_;
  UniqueFd socket_;
  ByteRing kept_{kBufferBytes};
  bool open_ = false;        ///< both sides have agreed
  bool readable_ = false;    ///< the socket has bytes, or an end
  bool host_ended_ = false;  ///< nothing more will be read
  bool asked_ = false;       ///< for credit, since there was some last
  unsigned pending_ = 0;
  unsigned ticks_left_ = 0;       ///< until patience is over; 0: no limit
  std::uint32_t guest_shut_ = 0;  ///< what the guest will not do any more
  std::uint32_t host_shut_ = 0;   ///< what it was told that we will not do any more

  // Credit (5.10.6.3): counts of bytes that wrap around.
  std::uint32_t sent_ = 0;        ///< to the guest
  std::uint32_t peer_fwd_ = 0;    ///< of these, taken by the guest's user
  std::uint32_t peer_alloc_ = 0;  ///< what the guest can buffer
  std::uint32_t forwarded_ = 0;   ///< from the guest, taken by the socket
  std::uint32_t announced_ = 0;   ///< of these, told to the guest
};

}  // namespace bellhop

#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/result.h"

namespace bellhop {

/// What precedes each frame in both directions: virtio's header (virtio 1.3, 5.1.6), which the
/// kernel's tap knows as virtio_net_hdr_v1.
inline constexpr std::size_t kNetHeaderBytes = 12;
/// The longest frame, header not included: an IP packet of 64 KiB behind an Ethernet header with
/// two VLAN tags.
inline constexpr std::size_t kMaxFrameBytes = 65535 + 14 + 8;
inline constexpr std::size_t kEthernetHeaderBytes = 14;

/// What frames may leave to their receiver: bits.
enum class Offload : std::uint8_t {
  kCsum = 1,  ///< checksums not filled in; all others need it
  kTso4 = 2,  ///< TCP over IPv4, up to 64 KiB in one frame
  kTso6 = 4,
  kEcn = 8,    ///< TCP segments with ECN among these
  kUfo = 16,   ///< UDP datagrams that are to be fragmented
  kUso4 = 32,  ///< several UDP datagrams in one frame
  kUso6 = 64,
};

/// A set of Offload.
class Offloads {
 public:
  constexpr Offloads() noexcept = default;
  constexpr Offloads(std::initializer_list<Offload> list) noexcept {
    for (const Offload one : list) add(one);
  }
  [[nodiscard]] static constexpr Offloads all() noexcept {
    return {Offload::kCsum, Offload::kTso4, Offload::kTso6, Offload::kEcn,
            Offload::kUfo,  Offload::kUso4, Offload::kUso6};
  }
  constexpr void add(Offload one) noexcept { bits_ |= static_cast<unsigned>(one); }
  constexpr void add(Offloads others) noexcept { bits_ |= others.bits_; }
  constexpr void remove(Offload one) noexcept { bits_ &= ~static_cast<unsigned>(one); }
  [[nodiscard]] constexpr bool has(Offload one) const noexcept {
    return (bits_ & static_cast<unsigned>(one)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }
  [[nodiscard]] constexpr unsigned bits() const noexcept { return bits_; }
  [[nodiscard]] static constexpr Offloads from_bits(unsigned bits) noexcept {
    Offloads set;
    set.bits_ = bits;
    return set;
  }
  friend constexpr bool operator==(Offloads, Offloads) noexcept = default;

 private:
  unsigned bits_ = 0;
};

/// One stream of frames each way, under one pair of queues. Neither call ever waits. One thread may
/// send while another receives.
class NetPair {
 public:
  virtual ~NetPair() = default;

  /// Sends one frame, header first, from where it lies. Returns its bytes or -errno: -EAGAIN if
  /// there is no room (fd() will be writable), -EINVAL if the header makes no sense, -EIO if the
  /// interface is down, -EBADFD if it is gone.
  virtual ssize_t send(std::span<const iovec> frame) noexcept = 0;
  /// Lets go of what send() has gathered, where it gathers. Returns the bytes that went, 0 if there
  /// were none, or -errno: -EAGAIN if not all of them could go (fd() will be writable), -EBADFD if
  /// the interface is gone.
  virtual ssize_t flush() noexcept { return 0; }
  /// Receives one frame, header first, to where it is to lie. Returns its bytes (what is longer
  /// than `room` is cut off) or -errno: -EAGAIN if there is none (fd() will be readable), -EBADFD
  /// if the interface is gone. The header's num_buffers is left as it is.
  virtual ssize_t receive(std::span<const iovec> room) noexcept = 0;
  /// For waiting only.
  [[nodiscard]] virtual int fd() const noexcept = 0;
  /// What the host's kernel can carry frames over by itself (vhost-net); -1: it cannot.
  [[nodiscard]] virtual int kernel_fd() const noexcept { return -1; }
};

/// The host's end of the wire, as far as frames can go there.
enum class LinkState : std::uint8_t {
  kUp,
  kDown,  ///< taken down, or without a carrier: it may come back
  kGone,
};

/// What does not change about a back end.
struct NetLimits {
  unsigned pairs = 1;     ///< as many NetPair objects
  Offloads to_host;       ///< what frames that are sent may leave to the host
  Offloads to_guest;      ///< what received frames can be made to leave to the guest
  std::uint16_t mtu = 0;  ///< of the interface, in bytes; 0: not known
};

/// What lies under a NIC: a tap, or a test's sockets. Outlives the queues on it. use_pairs() and
/// set_guest_offloads() come from one thread at a time, while others may send and receive.
class NetBackend {
 public:
  virtual ~NetBackend() = default;
  [[nodiscard]] virtual const NetLimits& limits() const noexcept = 0;
  /// For people: "tap0".
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;
  [[nodiscard]] virtual NetPair& pair(unsigned index) noexcept = 0;
  /// Can be read when link() may answer differently from before; -1: it never will.
  [[nodiscard]] virtual int link_fd() const noexcept { return -1; }
  /// Takes what there is to read from link_fd(). One thread at a time.
  [[nodiscard]] virtual LinkState link() noexcept { return LinkState::kUp; }

  /// The first `count` pairs are in use from now on: the others are sent nothing. At first, one is.
  /// Errors: the host refuses.
  virtual Status use_pairs(unsigned count) = 0;
  /// Frames to the guest may leave it these and no others. At first, none. Errors: the host
  /// refuses.
  virtual Status set_guest_offloads(Offloads offloads) = 0;
};

}  // namespace bellhop

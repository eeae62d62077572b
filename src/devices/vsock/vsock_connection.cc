#include "devices/vsock/vsock_connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace bellhop {

using namespace virtio;

namespace {

/// What is believed of a guest that says it can buffer more: differences of counts stay clear.
constexpr std::uint32_t kMaxCredit = std::uint32_t{1} << 30;
/// The guest is told unasked that its bytes were taken when it is this much.
constexpr std::uint32_t kTellAfter = VsockConnection::kBufferBytes / 4;
/// Ticks that the guest may take for an answer: to a REQUEST, to the SHUTDOWN of both directions.
constexpr unsigned kPatience = 10;
/// Ticks that a socket may take for the rest of what a guest has sent before it closed.
constexpr unsigned kLinger = 60;

/// `a - b` of counts that wrap around.
constexpr std::int32_t difference(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b);
}

/// Bytes written, or -errno.
ssize_t send_all(int fd, std::span<iovec> parts) noexcept {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  ssize_t done = 0;
  do {
    done = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : done;
}

constexpr bool no_room(ssize_t result) noexcept {
  return result == -EAGAIN || result == -ENOBUFS || result == -ENOMEM;
}

/// The part of `buffers` from byte `skip` on, `most` bytes of it. Returns how many parts.
std::size_t lay_out(std::span<const GuestSpan> buffers, std::size_t skip, std::size_t most,
                    std::span<iovec> parts) noexcept {
  std::size_t count = 0;
  for (const GuestSpan& buffer : buffers) {
    if (most == 0 || count == parts.size()) break;
    if (buffer.size() <= skip) {
      skip -= buffer.size();
      continue;
    }
    parts[count] = buffer.part(skip, most).as_iovec();
    most -= parts[count].iov_len;
    skip = 0;
    ++count;
  }
  return count;
}

}  // namespace

VsockConnection::VsockConnection(VsockPorts ports, UniqueFd socket, Origin origin)
    : ports_(ports),
      socket_(std::move(socket)),
      open_(origin == Origin::kGuest),
      pending_(origin == Origin::kGuest ? kResponse : kRequest),
      ticks_left_(origin == Origin::kGuest ? 0 : kPatience) {}

VsockConnection::Verdict VsockConnection::take(const VsockHeader& header,
                                               const BufferRun& packet) noexcept {
  // Only data has a payload (5.10.6.4).
  if (header.len != 0 && header.op != kVsockOpRw) return Verdict::kFault;
  if (header.op == kVsockOpRst) return open_ ? Verdict::kGone : Verdict::kRefused;
  if (!take_credit(header)) return Verdict::kFault;
  if (!open_) return header.op == kVsockOpResponse ? answered() : Verdict::kFault;
  switch (header.op) {
    case kVsockOpShutdown:
      return shut(header.flags);
    case kVsockOpRw:
      if ((guest_shut_ & kVsockShutdownSend) != 0) return Verdict::kFault;
      // The guest knows what room there is: it was told no more than this.
      if (header.len > kept_.room()) return Verdict::kFault;
      return write(packet, header.len);
    case kVsockOpCreditUpdate:
      return Verdict::kGoesOn;
    case kVsockOpCreditRequest:
      pending_ |= kCreditUpdate;
      return Verdict::kGoesOn;
    default:
      return Verdict::kFault;
  }
}

/// False: the guest has taken more than it was sent.
bool VsockConnection::take_credit(const VsockHeader& header) noexcept {
  if (difference(header.fwd_cnt, sent_) > 0) return false;
  // Threads of the guest may overtake each other: what is older than what is known says nothing.
  if (difference(header.fwd_cnt, peer_fwd_) > 0) peer_fwd_ = header.fwd_cnt;
  peer_alloc_ = std::min(header.buf_alloc, kMaxCredit);
  if (credit() != 0) asked_ = false;
  return true;
}

std::uint32_t VsockConnection::credit() const noexcept {
  const std::uint32_t in_flight = sent_ - peer_fwd_;
  return peer_alloc_ > in_flight ? peer_alloc_ - in_flight : 0;
}

VsockConnection::Verdict VsockConnection::answered() noexcept {
  open_ = true;
  ticks_left_ = 0;
  std::array<char, 16> line{};
  const auto end = fmt::format_to_n(line.data(), line.size(), "OK {}\n", ports_.host);
  iovec part{line.data(), end.size};
  // Nothing was written into this socket before: there is room, or nobody at the other end.
  return send_all(socket_.get(), {&part, 1}) < 0 ? Verdict::kReset : Verdict::kGoesOn;
}

VsockConnection::Verdict VsockConnection::shut(std::uint32_t flags) noexcept {
  guest_shut_ |= flags & (kVsockShutdownReceive | kVsockShutdownSend);
  if (guest_shut_ == (kVsockShutdownReceive | kVsockShutdownSend)) {
    ticks_left_ = kLinger;
    return Verdict::kClosed;
  }
  if ((guest_shut_ & kVsockShutdownReceive) != 0) (void)::shutdown(socket_.get(), SHUT_RD);
  if ((guest_shut_ & kVsockShutdownSend) != 0 && kept_.empty()) {
    (void)::shutdown(socket_.get(), SHUT_WR);
  }
  return Verdict::kGoesOn;
}

VsockConnection::Verdict VsockConnection::write(const BufferRun& packet,
                                                std::size_t bytes) noexcept {
  std::size_t written = 0;
  if (kept_.empty() && bytes != 0) {
    std::array<iovec, kMaxChainBuffers> parts;
    const std::size_t count = lay_out(packet.buffers(), sizeof(VsockHeader), bytes, parts);
    const ssize_t done = send_all(socket_.get(), std::span(parts).first(count));
    if (done < 0 && !no_room(done)) return Verdict::kReset;
    if (done > 0) written = static_cast<std::size_t>(done);
    forwarded(written);
  }
  kept_.push(packet, sizeof(VsockHeader) + written, bytes - written);
  return Verdict::kGoesOn;
}

void VsockConnection::forwarded(std::size_t bytes) noexcept {
  forwarded_ += static_cast<std::uint32_t>(bytes);
  if (forwarded_ - announced_ >= kTellAfter) pending_ |= kCreditUpdate;
}

VsockConnection::Verdict VsockConnection::flush() noexcept {
  if (kept_.empty()) return Verdict::kGoesOn;
  std::array<iovec, 2> parts;
  const std::size_t count = kept_.parts(parts);
  const ssize_t done = send_all(socket_.get(), std::span(parts).first(count));
  if (done < 0) return no_room(done) ? Verdict::kGoesOn : Verdict::kReset;
  kept_.pop(static_cast<std::size_t>(done));
  forwarded(static_cast<std::size_t>(done));
  if (kept_.empty() && (guest_shut_ & kVsockShutdownSend) != 0) {
    (void)::shutdown(socket_.get(), SHUT_WR);
  }
  return Verdict::kGoesOn;
}

bool VsockConnection::has_packet() const noexcept {
  if (pending_ != 0) return true;
  return open_ && readable_ && (credit() != 0 || !asked_);
}

bool VsockConnection::put(VsockHeader& header, std::span<const GuestSpan> buffers, std::size_t room,
                          Verdict& verdict) noexcept {
  header.len = 0;
  header.flags = 0;
  const auto take_pending = [this](Pending one) noexcept {
    const bool was = (pending_ & one) != 0;
    pending_ &= ~static_cast<unsigned>(one);
    return was;
  };
  bool any = true;
  if (take_pending(kRequest)) {
    header.op = kVsockOpRequest;
  } else if (take_pending(kResponse)) {
    header.op = kVsockOpResponse;
  } else if (take_pending(kShutdown)) {
    header.op = kVsockOpShutdown;
    header.flags = host_shut_;
  } else if (take_pending(kCreditUpdate)) {
    header.op = kVsockOpCreditUpdate;
  } else if (open_ && readable_) {
    any = put_data(header, buffers, room, verdict);
  } else {
    any = false;
  }
  if (!any) return false;
  header.buf_alloc = kBufferBytes;
  header.fwd_cnt = announced_ = forwarded_;
  // Every packet says what a CREDIT_UPDATE would.
  (void)take_pending(kCreditUpdate);
  return true;
}

bool VsockConnection::put_data(VsockHeader& header, std::span<const GuestSpan> buffers,
                               std::size_t room, Verdict& verdict) noexcept {
  if ((guest_shut_ & kVsockShutdownReceive) != 0) {
    readable_ = false;
    return false;
  }
  const std::size_t most = std::min<std::size_t>({room, credit(), kMaxPayload});
  if (most == 0) {
    if (credit() != 0 || asked_) return false;
    asked_ = true;
    header.op = kVsockOpCreditRequest;
    return true;
  }
  std::array<iovec, kMaxChainBuffers> parts;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = lay_out(buffers, sizeof(VsockHeader), most, parts);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    header.op = kVsockOpRw;
    header.len = static_cast<std::uint32_t>(got);
    sent_ += header.len;
    return true;
  }
  readable_ = false;
  if (got < 0 && errno == EAGAIN) return false;
  if (got < 0) {
    verdict = Verdict::kReset;
    return false;
  }
  host_ended(kVsockShutdownSend);
  look_for_hangup();
  pending_ &= ~static_cast<unsigned>(kShutdown);
  header.op = kVsockOpShutdown;
  header.flags = host_shut_;
  return true;
}

void VsockConnection::host_ended(std::uint32_t shut_flags) noexcept {
  host_ended_ = true;
  if ((host_shut_ | shut_flags) == host_shut_) return;
  host_shut_ |= shut_flags;
  pending_ |= kShutdown;
  if (host_shut_ == (kVsockShutdownReceive | kVsockShutdownSend)) ticks_left_ = kPatience;
}

void VsockConnection::look_for_hangup() noexcept {
  pollfd wait{.fd = socket_.get(), .events = 0, .revents = 0};
  if (::poll(&wait, 1, 0) == 1 && (wait.revents & (POLLHUP | POLLERR)) != 0) {
    host_ended(kVsockShutdownReceive | kVsockShutdownSend);
  }
}

VsockConnection::Verdict VsockConnection::tick() noexcept {
  if (ticks_left_ != 0 && --ticks_left_ == 0) return Verdict::kReset;
  const bool nobody_reads = host_ended_ || (guest_shut_ & kVsockShutdownReceive) != 0;
  if (open_ && nobody_reads) look_for_hangup();
  return Verdict::kGoesOn;
}

}  // namespace bellhop

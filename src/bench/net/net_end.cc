#include "bench/net/net_end.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

namespace bellhop::bench {

using wire::Control;
using wire::Kind;

namespace {

constexpr unsigned kIdlePatienceMs = 100;
/// Without a datagram for so long, what is missing is lost: the guest gets its credit back.
constexpr unsigned kReceivingPatienceMs = 2;
/// Without an acknowledgement for so long, what is under way is lost. A machine that merely gets no
/// CPU must not be taken for one that lost all: its tap device would overflow.
constexpr unsigned kSendingPatienceMs = 100;
constexpr std::uint64_t kMaxOnTheWay = 1 << 16;

bool is_sensible(const wire::Setting& setting) {
  return setting.cut.valid() && setting.ack_every > 0 && setting.window <= kMaxOnTheWay &&
         setting.window >= setting.cut.datagrams();
}

/// The size of the datagrams that the kernel left together; 0 if it is one.
std::uint32_t segment_of(msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
    int segment = 0;
    std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return static_cast<std::uint32_t>(std::max(segment, 0));
  }
  return 0;
}

/// Asks the kernel to cut the message into datagrams of `bytes`.
void set_segment(msghdr& message, char* control, std::uint16_t bytes) {
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_UDP;
  header->cmsg_type = UDP_SEGMENT;
  header->cmsg_len = CMSG_LEN(sizeof bytes);
  std::memcpy(CMSG_DATA(header), &bytes, sizeof bytes);
}

}  // namespace

NetEnd::Batch::Batch()
    : data(kBatch * kBufferBytes), headers(kBatch), pieces(kBatch), controls(kBatch) {
  for (unsigned i = 0; i < kBatch; ++i) {
    pieces[i] = {buffer(i), kBufferBytes};
    headers[i].msg_hdr.msg_iov = &pieces[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
}

NetEnd::NetEnd(UniqueFd socket) : socket_(std::move(socket)) { set_patience(kIdlePatienceMs); }

void NetEnd::set_patience(unsigned milliseconds) {
  if (milliseconds == patience_ms_) return;
  patience_ms_ = milliseconds;
  const timeval time{milliseconds / 1000, milliseconds % 1000 * 1000};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

Result<unsigned> NetEnd::turn() {
  if (state_ == State::kSending) return send_stream();
  const auto got = receive(true);
  if (got && *got == 0 && state_ == State::kReceiving) acknowledge(true);
  return got;
}

Result<unsigned> NetEnd::receive(bool wait) {
  for (unsigned i = 0; i < kBatch; ++i) {
    in_.headers[i].msg_hdr.msg_control = in_.controls[i].bytes;
    in_.headers[i].msg_hdr.msg_controllen = kControlBytes;
  }
  const int got = ::recvmmsg(socket_.get(), in_.headers.data(), kBatch,
                             wait ? MSG_WAITFORONE : MSG_DONTWAIT, nullptr);
  if (got < 0) {
    // Nobody listens at the guest's address yet, or not any more: it will come, or we be ended.
    const bool passes =
        errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH;
    if (passes) return 0U;
    return fail_errno("cannot receive from the link");
  }
  const auto count = static_cast<unsigned>(got);
  for (unsigned i = 0; i < count; ++i) {
    take_train(in_.buffer(i), in_.headers[i].msg_len, segment_of(in_.headers[i].msg_hdr));
  }
  return count;
}

void NetEnd::take_train(const std::uint8_t* data, std::uint32_t bytes, std::uint32_t segment) {
  if (segment == 0) segment = bytes;
  for (std::uint32_t at = 0; at < bytes; at += segment) {
    take(data + at, std::min(segment, bytes - at));
  }
  if (state_ == State::kReceiving && receipt_.next - acknowledged_ >= setting_.ack_every) {
    acknowledge(false);
  }
}

void NetEnd::take(const std::uint8_t* data, std::uint32_t bytes) {
  if (bytes == 1) {
    const std::uint8_t answer = data[0] ^ wire::kPingMask;
    (void)!::send(socket_.get(), &answer, 1, 0);
    return;
  }
  if (Control control; wire::read_control(data, bytes, &control)) {
    take_control(control);
  } else if (state_ == State::kReceiving) {
    receipt_.take(data, bytes, setting_);
  }
}

void NetEnd::take_control(const Control& control) {
  switch (wire::Tag{control.tag}.kind()) {
    case Kind::kHello: {
      wire::Setting setting;
      setting.read(control);
      if (!is_sensible(setting)) return;  // the guest will miss its answer
      send_control(Kind::kReady);
      // A hello that was repeated changes nothing that has begun.
      if (state_ != State::kIdle && (receipt_.datagrams != 0 || next_ != 0)) return;
      setting_ = setting;
      receipt_ = {};
      acknowledged_ = next_ = credited_ = recovered_ = 0;
      index_ = 0;
      state_ = setting.to_guest ? State::kSending : State::kReceiving;
      set_patience(setting.to_guest ? kSendingPatienceMs : kReceivingPatienceMs);
      return;
    }
    case Kind::kAck: {
      wire::Receipt theirs;
      theirs.read(control);
      if (theirs.next <= next_) credited_ = std::max(credited_, theirs.next);
      return;
    }
    case Kind::kFin:
      send_control(Kind::kReport);
      state_ = State::kIdle;
      set_patience(kIdlePatienceMs);
      return;
    default:
      return;
  }
}

void NetEnd::send_control(Kind kind) {
  Control control;
  if (kind == Kind::kReport && setting_.to_guest) {
    control.words[0] = next_;
    control.words[1] = recovered_;
  } else {
    receipt_.write(&control);
  }
  control.seal(kind, 0);
  (void)!::send(socket_.get(), &control, sizeof control, 0);  // lost is lost: the guest asks again
}

void NetEnd::acknowledge(bool idle) {
  receipt_.extra = idle ? 1 : 0;
  send_control(Kind::kAck);
  acknowledged_ = receipt_.next;
}

bool NetEnd::may_send() const {
  // Credit is for whole messages: one that has begun is sent to its end.
  return index_ != 0 || next_ - credited_ + setting_.cut.datagrams() <= setting_.window;
}

void NetEnd::add_frame(unsigned number) {
  const wire::Cut& cut = setting_.cut;
  const std::uint32_t most = trains_ ? cut.per_frame() : 1;
  std::uint8_t* buffer = out_.buffer(number);
  std::uint32_t bytes = 0;
  for (std::uint32_t i = 0; i < most && index_ < cut.datagrams(); ++i, ++index_) {
    const std::uint32_t size = cut.bytes(index_);
    wire::fill(buffer + bytes, size, wire::Tag::make(Kind::kData, 0, next_++), setting_.seed);
    bytes += size;
  }
  if (index_ == cut.datagrams()) index_ = 0;
  out_.pieces[number].iov_len = bytes;
  msghdr& message = out_.headers[number].msg_hdr;
  message.msg_control = nullptr;
  message.msg_controllen = 0;
  if (bytes > cut.datagram_bytes) {
    set_segment(message, out_.controls[number].bytes,
                static_cast<std::uint16_t>(cut.datagram_bytes));
  }
}

Result<unsigned> NetEnd::send_stream() {
  unsigned used = 0;
  while (used < kBatch && may_send()) add_frame(used++);
  for (unsigned sent = 0; sent < used;) {
    const int done = ::sendmmsg(socket_.get(), out_.headers.data() + sent, used - sent, 0);
    if (done < 0 && errno == EINTR) continue;
    // Older kernels cut nothing for a device that leaves checksums to them.
    if (done < 0 && errno == EIO) trains_ = false;
    // What cannot be sent is lost like what is lost on the way, and the guest counts it.
    sent += done > 0 ? static_cast<unsigned>(done) : 1;
  }
  const bool waits = used == 0;
  const auto got = receive(waits);
  if (got && waits && *got == 0) {
    credited_ = next_;
    ++recovered_;
  }
  return got;
}

}  // namespace bellhop::bench

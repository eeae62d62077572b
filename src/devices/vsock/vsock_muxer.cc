#include "devices/vsock/vsock_muxer.h"

#include <algorithm>
#include <cassert>

namespace bellhop {

using namespace virtio;

using Verdict = VsockConnection::Verdict;
using Origin = VsockConnection::Origin;

namespace {

/// Ports of the host's for calls to the guest, far from those that programs listen on.
constexpr std::uint32_t kFirstPort = std::uint32_t{1} << 30;
constexpr std::uint32_t kLastPort = (std::uint32_t{1} << 31) - 1;

}  // namespace

/// A connection and the waits for its socket.
struct VsockMuxer::Line {
  Line(VsockMuxer& its_board, VsockPorts ports, UniqueFd socket, Origin origin)
      : board(its_board), connection(ports, std::move(socket), origin) {}
  void on_readable() noexcept { board.on_readable(*this); }
  void on_writable() noexcept { board.on_writable(*this); }

  VsockMuxer& board;
  VsockConnection connection;
  ReadyCall<Line, &Line::on_readable> reader{*this};
  ReadyCall<Line, &Line::on_writable> writer{*this};
  // After the connection: the socket is closed when nobody waits for it.
  std::unique_ptr<FdWatch> read_watch;
  std::unique_ptr<FdWatch> write_watch;
  bool ready = false;      ///< in ready_
  bool attention = false;  ///< in attention_
  bool leaving = false;    ///< in leaving_, for what is kept
  bool done = false;       ///< in leaving_, to be destroyed
};

VsockMuxer::Line* VsockMuxer::Turns::pop() noexcept {
  Line* const line = lines_[first_];
  first_ = (first_ + 1) % kMaxConnections;
  --size_;
  return line;
}

void VsockMuxer::Turns::strike_out(const Line* line) noexcept {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < size_; ++i) {
    Line* const one = lines_[(first_ + i) % kMaxConnections];
    if (one != line) lines_[(first_ + kept++) % kMaxConnections] = one;
  }
  size_ = kept;
}

void VsockMuxer::Replies::push(const VsockHeader& header) noexcept {
  assert(size_ < headers_.size());
  headers_[(first_ + size_++) % headers_.size()] = header;
}

VsockHeader VsockMuxer::Replies::pop() noexcept {
  const VsockHeader header = headers_[first_];
  first_ = (first_ + 1) % headers_.size();
  --size_;
  return header;
}

VsockMuxer::VsockMuxer(const Setup& setup)
    : setup_(setup), counters_(*setup.counters), next_port_(kFirstPort) {
  lines_.reserve(64);
  leaving_.reserve(kMaxConnections);
}

VsockMuxer::~VsockMuxer() {
  setup_.thread->loop().stop_timer(*this);
  setup_.thread->loop().cancel_deferred(*this);
}

VsockMuxer::Hold VsockMuxer::hold() noexcept {
  Hold hold(mutex_, std::defer_lock);
  if (setup_.locked) hold.lock();
  return hold;
}

// ---- packets of the guest ----

void VsockMuxer::take(const BufferRun& packet, std::size_t bytes) noexcept {
  // Once: whatever the guest makes of it meanwhile, this is what it said.
  VsockHeader header;
  if (packet.copy_out(0, std::as_writable_bytes(std::span(&header, 1))) != sizeof header) {
    counters_.guest_faults.add();
    return;
  }
  counters_.tx_packets.add();
  if (header.src_cid != setup_.guest_cid) {
    // 5.10.6.4: who speaks in another's name is not answered.
    counters_.guest_faults.add();
    return;
  }
  const bool to_us = header.dst_cid == kVsockCidHost && header.type == kVsockTypeStream;
  const auto found =
      to_us ? lines_.find(VsockPorts{header.dst_port, header.src_port}.key()) : lines_.end();
  if (header.len > bytes - sizeof header) {
    counters_.guest_faults.add();
    if (found != lines_.end()) {
      judge(*found->second, Verdict::kReset);
    } else {
      reply_reset(header);
    }
    return;
  }
  if (found != lines_.end()) {
    Line& line = *found->second;
    const Verdict verdict = line.connection.take(header, packet);
    if (verdict == Verdict::kGoesOn && header.op == kVsockOpRw) counters_.tx_bytes.add(header.len);
    judge(line, verdict);
  } else if (to_us && header.op == kVsockOpRequest && header.len == 0) {
    answer_call(header);
  } else {
    reply_reset(header);
  }
}

void VsockMuxer::answer_call(const VsockHeader& header) noexcept {
  if (full()) {
    counters_.refused_too_many.add();
    return reply_reset(header);
  }
  UniqueFd socket = setup_.dialer->dial(header.dst_port);
  if (!socket.valid()) {
    counters_.refused_by_host.add();
    return reply_reset(header);
  }
  counters_.from_guest.add();
  Line& line = add({header.dst_port, header.src_port}, std::move(socket), Origin::kGuest);
  VsockConnection& connection = line.connection;
  if (!connection.take_request(header)) judge(line, Verdict::kFault);
}

/// 5.10.6.4 and 5.10.6.5: to what belongs to no connection, except to a RST.
void VsockMuxer::reply_reset(const VsockHeader& to) noexcept {
  if (to.op == kVsockOpRst) return;
  VsockHeader header;
  header.src_cid = to.dst_cid;
  header.dst_cid = setup_.guest_cid;
  header.src_port = to.dst_port;
  header.dst_port = to.src_port;
  header.type = to.type;
  header.op = kVsockOpRst;
  replies_.push(header);
  counters_.resets.add();
}

void VsockMuxer::reset(const VsockPorts& ports) noexcept {
  VsockHeader header;
  header.src_cid = kVsockCidHost;
  header.dst_cid = setup_.guest_cid;
  header.src_port = ports.host;
  header.dst_port = ports.guest;
  header.type = kVsockTypeStream;
  header.op = kVsockOpRst;
  replies_.push(header);
  counters_.resets.add();
}

// ---- packets for the guest ----

std::size_t VsockMuxer::put(std::span<const GuestSpan> buffers, std::size_t bytes) noexcept {
  VsockHeader header;
  const BufferRun run(buffers);
  while (replies_.empty()) {
    if (ready_.size() == 0) return 0;
    Line& line = *ready_.pop();
    line.ready = false;
    Verdict verdict = Verdict::kGoesOn;
    VsockConnection& connection = line.connection;
    const bool any = connection.put(header, buffers, bytes - sizeof header, verdict);
    if (any) {
      header.src_cid = kVsockCidHost;
      header.dst_cid = setup_.guest_cid;
      header.src_port = connection.ports().host;
      header.dst_port = connection.ports().guest;
      header.type = kVsockTypeStream;
    }
    judge(line, verdict);
    if (!any) continue;
    run.copy_in(0, std::as_bytes(std::span(&header, 1)));
    counters_.rx_packets.add();
    counters_.rx_bytes.add(header.len);
    return sizeof header + header.len;
  }
  header = replies_.pop();
  run.copy_in(0, std::as_bytes(std::span(&header, 1)));
  counters_.rx_packets.add();
  return sizeof header;
}

// ---- the life of a line ----

bool VsockMuxer::call(UniqueFd socket, std::uint32_t guest_port) {
  // As many answers may wait as there are packets that need one: see takes_packets().
  if (full() || !takes_packets()) {
    counters_.refused_too_many.add();
    return false;
  }
  VsockPorts ports{next_port_, guest_port};
  while (lines_.contains(ports.key())) {
    ports.host = ports.host == kLastPort ? kFirstPort : ports.host + 1;
  }
  next_port_ = ports.host == kLastPort ? kFirstPort : ports.host + 1;
  counters_.from_host.add();
  add(ports, std::move(socket), Origin::kHost);
  return true;
}

VsockMuxer::Line& VsockMuxer::add(VsockPorts ports, UniqueFd socket, Origin origin) {
  auto& line = lines_[ports.key()];
  line = std::make_unique<Line>(*this, ports, std::move(socket), origin);
  look_after(*line);
  return *line;
}

/// What follows from what the connection found.
void VsockMuxer::judge(Line& line, Verdict verdict) noexcept {
  if (line.leaving) {
    // The guest has forgotten it: only what is kept counts.
    if (verdict != Verdict::kGoesOn || !line.connection.waits_to_write()) {
      line.done = true;
      tidy_ = true;
    }
    return;
  }
  switch (verdict) {
    case Verdict::kGoesOn:
      return look_after(line);
    case Verdict::kRefused:
      counters_.refused_by_guest.add();
      break;
    case Verdict::kGone:
      break;
    case Verdict::kFault:
      counters_.guest_faults.add();
      reset(line.connection.ports());
      break;
    case Verdict::kReset:
    case Verdict::kClosed:
      reset(line.connection.ports());
      break;
  }
  line.done = verdict != Verdict::kClosed || !line.connection.waits_to_write();
  leave(line);
}

/// Takes the line out of the guest's reach: its ports may be used anew.
void VsockMuxer::leave(Line& line) noexcept {
  if (std::exchange(line.ready, false)) ready_.strike_out(&line);
  line.leaving = true;
  const auto found = lines_.find(line.connection.ports().key());
  leaving_.push_back(std::move(found->second));
  lines_.erase(found);
  tidy_ = tidy_ || line.done;
}

/// Puts the line where it is to be: among those with something to say, or to wait for.
void VsockMuxer::look_after(Line& line) noexcept {
  const VsockConnection& connection = line.connection;
  if (!line.ready && connection.has_packet()) {
    line.ready = true;
    ready_.push(&line);
  }
  const bool waits = connection.waits_to_read() || connection.waits_to_write();
  if (!line.attention && waits) {
    line.attention = true;
    attention_.push(&line);
  }
}

void VsockMuxer::hang_up_all() noexcept {
  while (!lines_.empty()) {
    Line& line = *lines_.begin()->second;
    line.done = true;
    leave(line);
  }
  while (!replies_.empty()) (void)replies_.pop();
}

// ---- on the I/O thread ----

void VsockMuxer::on_readable(Line& line) noexcept {
  PendingWork todo;
  {
    const Hold held = hold();
    if (line.leaving) return;
    line.connection.set_readable();
    look_after(line);
    todo = pending_work();
  }
  act(todo);
}

void VsockMuxer::on_writable(Line& line) noexcept {
  PendingWork todo;
  {
    const Hold held = hold();
    if (line.done) return;
    judge(line, line.connection.flush());
    if (line.leaving && !line.done && !line.attention) {
      line.attention = true;
      attention_.push(&line);
    }
    todo = pending_work();
  }
  act(todo);
}

/// Arms the waits of those who wait, and destroys those who are done.
void VsockMuxer::run() noexcept {
  PendingWork todo;
  {
    const Hold held = hold();
    while (attention_.size() != 0) {
      Line& line = *attention_.pop();
      line.attention = false;
      if (!line.done) attend(line);
    }
    if (std::exchange(tidy_, false)) {
      std::erase_if(leaving_, [](const auto& line) { return line->done; });
    }
    if (!ticking_ && lines() != 0) {
      ticking_ = true;
      setup_.thread->loop().start_timer(*this, setup_.tick);
    }
    todo = pending_work();
  }
  act(todo);
}

void VsockMuxer::attend(Line& line) noexcept {
  EventLoop& loop = setup_.thread->loop();
  const VsockConnection& connection = line.connection;
  const auto wait = [&](std::unique_ptr<FdWatch>& watch, Readiness readiness,
                        ReadyHandler& handler) noexcept {
    if (watch == nullptr) {
      auto made = loop.watch_fd(connection.fd(), readiness, handler);
      if (!made) return judge(line, Verdict::kReset);
      watch = std::move(*made);
    }
    watch->arm();
  };
  if (!line.leaving && connection.waits_to_read()) {
    wait(line.read_watch, Readiness::kReadable, line.reader);
  }
  if (!line.done && connection.waits_to_write()) {
    wait(line.write_watch, Readiness::kWritable, line.writer);
  }
}

void VsockMuxer::on_timer() noexcept {
  PendingWork todo;
  {
    const Hold held = hold();
    ticking_ = false;
    for (auto next = lines_.begin(); next != lines_.end();) {
      Line& line = *next->second;
      ++next;  // the line may go
      const Verdict verdict = line.connection.tick();
      if (verdict != Verdict::kGoesOn) counters_.timed_out.add();
      judge(line, verdict);
    }
    for (const auto& line : leaving_) {
      if (!line->done) judge(*line, line->connection.tick());
    }
    todo = pending_work();
  }
  act(todo);
}

VsockMuxer::PendingWork VsockMuxer::pending_work() noexcept {
  PendingWork todo;
  todo.attend = attention_.size() != 0 || tidy_ || (!ticking_ && lines() != 0);
  todo.wake_rx = rx_parks_ && has_packets();
  if (todo.wake_rx) rx_parks_ = false;
  // Half of them: not for each answer that the guest makes room for.
  todo.wake_tx = tx_parks_ && replies_.size() <= kMaxReplies / 2;
  if (todo.wake_tx) tx_parks_ = false;
  return todo;
}

void VsockMuxer::act(PendingWork todo) noexcept {
  IoThread& thread = *setup_.thread;
  if (todo.attend) {
    if (thread.is_current()) {
      thread.loop().defer(*this);
    } else {
      thread.loop().post([this] { setup_.thread->loop().defer(*this); });
    }
  }
  if (todo.wake_rx) wake(setup_.rx);
  if (todo.wake_tx) wake(setup_.tx);
}

/// Not at once where it would take the queue's queue lock: the caller may hold the other's.
void VsockMuxer::wake(QueueRunner* runner) noexcept {
  if (runner == nullptr) return;
  if (runner->drain() == Drain::kByIoThread && setup_.thread->is_current()) {
    runner->wake();
  } else {
    setup_.thread->loop().post([runner] { runner->wake(); });
  }
}

}  // namespace bellhop

#include "devices/console/console_port.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "devices/console/console_wake.h"

namespace bellhop {

namespace {

/// How often one looks for a peer whose coming nobody tells.
constexpr std::chrono::milliseconds kLookAgain{200};
/// What a request costs of a turn at least, however short it is.
constexpr std::size_t kMinCost = 64;

/// Bytes `from` to `from + most` of `buffers`. Returns how many parts they lie in.
std::size_t cut_out(std::span<const GuestSpan> buffers, std::size_t from, std::size_t most,
                    std::span<iovec> parts) noexcept {
  std::size_t count = 0;
  for (const GuestSpan& buffer : buffers) {
    if (most == 0) break;
    if (from >= buffer.size()) {
      from -= buffer.size();
      continue;
    }
    parts[count] = buffer.part(from, most).as_iovec();
    most -= parts[count++].iov_len;
    from = 0;
  }
  return count;
}

}  // namespace

ConsolePort::ConsolePort(unsigned number, Kind kind, std::unique_ptr<ConsoleBackend> backend,
                         ConsoleControl& control, ConsoleCounters& counters)
    : number_(number),
      kind_(kind),
      backend_(std::move(backend)),
      control_(control),
      counters_(counters) {
  // Pages that are never touched cost nothing.
  if (kind_ == Kind::kConsole) backlog_ = std::make_unique_for_overwrite<std::byte[]>(kBacklog);
}

ConsolePort::~ConsolePort() { assert(thread_ == nullptr); }

void ConsolePort::start(QueueRunner* rx, QueueRunner* tx, IoThread& thread, bool open) {
  if (rx != nullptr) rx->set_handler((rx_ = std::make_unique<Rx>(*this, *rx)).get());
  if (tx != nullptr) tx->set_handler((tx_ = std::make_unique<Tx>(*this, *tx)).get());
  guest_open_ = open;
  thread_ = &thread;
  thread.run_sync([this] {
    const std::lock_guard<std::mutex> hold(lock_);
    if (backend_->listener() >= 0) {
      auto watch = thread_->loop().watch_fd(backend_->listener(), Readiness::kReadable, arriving_);
      if (watch) arrival_watch_ = std::move(*watch);
    }
    if (backend_->connected()) {
      attach();
    } else {
      control_.set_host_open(number_, false);
      wait_for_peer(false);
    }
  });
}

void ConsolePort::stop() noexcept {
  if (thread_ == nullptr) return;
  IoThread& thread = *thread_;
  thread.run_sync([this] {
    std::exchange(thread_, nullptr)->loop().stop_timer(*this);
    const std::lock_guard<std::mutex> hold(lock_);
    readable_watch_.reset();
    writable_watch_.reset();
    arrival_watch_.reset();
    counters_.tx_dropped_bytes.add(backlog_size_);
    backlog_size_ = 0;
  });
  // What a handler has posted in the same round comes behind that, and finds nobody to serve.
  thread.run_sync([] {});
  guest_open_ = false;
  rx_.reset();
  tx_.reset();
}

void ConsolePort::set_guest_open(bool open) noexcept {
  guest_open_ = open;
  if (open && rx_) wake_queue(rx_->runner_);
}

// ---- the I/O thread ----

/// The host's end is connected. Lock held.
void ConsolePort::attach() noexcept {
  failed_ = false;
  unread_ = false;
  input_ended_ = false;
  EventLoop& loop = thread_->loop();
  // What cannot be waited for (a file) never has to be.
  if (backend_->input() >= 0) {
    auto watch = loop.watch_fd(backend_->input(), Readiness::kReadable, readable_);
    if (watch) readable_watch_ = std::move(*watch);
  }
  if (backend_->output() >= 0) {
    auto watch = loop.watch_fd(backend_->output(), Readiness::kWritable, writable_);
    if (watch) writable_watch_ = std::move(*watch);
  }
  // Also while the guest does not read: a peer that leaves is to be seen.
  arm(readable_watch_);
  control_.set_host_open(number_, true);
}

/// The host's end has gone. Lock held.
void ConsolePort::detach() noexcept {
  // Before their descriptors: the kernel keeps what is waited for.
  readable_watch_.reset();
  writable_watch_.reset();
  counters_.tx_dropped_bytes.add(backlog_size_);
  backlog_size_ = 0;
  backend_->disconnect();
  control_.set_host_open(number_, false);
  wait_for_peer(false);
}

/// Lock held. `another_waits`: a client has connected while one is served.
void ConsolePort::wait_for_peer(bool another_waits) noexcept {
  switch (backend_->arrival()) {
    case ConsoleBackend::Arrival::kNever:
      return;
    case ConsoleBackend::Arrival::kListener:
      if (!another_waits) return arm(arrival_watch_);
      [[fallthrough]];
    case ConsoleBackend::Arrival::kUnseen:
      thread_->loop().start_timer(*this, kLookAgain);
  }
}

void ConsolePort::on_arrival() noexcept {
  bool came = false;
  {
    const std::lock_guard<std::mutex> hold(lock_);
    if (!backend_->connected()) {
      came = backend_->connect();
      if (came) {
        counters_.connects.add();
        attach();
        // Another one may come: it is seen when this one has left.
        if (backend_->arrival() == ConsoleBackend::Arrival::kListener) arm(arrival_watch_);
      } else {
        // By the timer: who could not be let in is still at the door.
        wait_for_peer(true);
      }
    } else if (backend_->arrival() == ConsoleBackend::Arrival::kListener) {
      if (backend_->hung_up() && !failed_) {
        // What it left unread was not wanted for all the time that another waits.
        failed_ = true;
        lost_peer();
      } else {
        wait_for_peer(true);
      }
    }
  }
  if (came) wake_queues();
}

void ConsolePort::on_timer() noexcept {
  if (backend_->arrival() != ConsoleBackend::Arrival::kListener) return on_arrival();
  // Whoever waited may have gone away.
  const std::lock_guard<std::mutex> hold(lock_);
  arm(arrival_watch_);
}

void ConsolePort::on_readable() noexcept {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    // What was ready may have been read before this came here.
    int bytes = 0;
    unread_ =
        backend_->input() < 0 || ::ioctl(backend_->input(), FIONREAD, &bytes) != 0 || bytes > 0;
    if (backend_->connected() && backend_->gone() && !failed_) {
      failed_ = true;
      lost_peer();
    }
  }
  if (rx_) wake_queue(rx_->runner_);
}

void ConsolePort::on_writable() noexcept {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    flush_backlog();
  }
  if (tx_) wake_queue(tx_->runner_);
}

/// What read() or write() found out, wherever they did.
void ConsolePort::on_trouble() noexcept {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    if (thread_ == nullptr || !backend_->connected()) return;
    if (failed_ || (input_ended_ && backend_->end_of_input())) {
      detach();
    } else if (input_ended_) {
      readable_watch_.reset();
    }
  }
  wake_queues();
}

void ConsolePort::wake_queues() noexcept {
  if (rx_) wake_queue(rx_->runner_);
  if (tx_) wake_queue(tx_->runner_);
}

/// Lock held.
void ConsolePort::flush_backlog() noexcept {
  while (backlog_size_ != 0 && backend_->connected() && !failed_) {
    const std::size_t until_end = std::min(backlog_size_, kBacklog - backlog_first_);
    const std::array<iovec, 2> parts{{{backlog_.get() + backlog_first_, until_end},
                                      {backlog_.get(), backlog_size_ - until_end}}};
    const ssize_t done = backend_->write(std::span(parts).first(until_end < backlog_size_ ? 2 : 1));
    if (done == -EAGAIN) return arm(writable_watch_);
    if (done <= 0) {
      counters_.tx_dropped_bytes.add(std::exchange(backlog_size_, 0));
      failed_ = true;
      return lost_peer();
    }
    const auto bytes = static_cast<std::size_t>(done);
    backlog_first_ = (backlog_first_ + bytes) % kBacklog;
    backlog_size_ -= bytes;
  }
}

// ---- any thread that drains ----

/// Lock held, or on the I/O thread where only that one changes the watches.
void ConsolePort::arm(std::unique_ptr<FdWatch>& watch) noexcept {
  if (thread_->is_current()) {
    if (watch) watch->arm();
    return;
  }
  thread_->loop().post([&watch] {
    if (watch) watch->arm();
  });
}

/// The driver has no buffers: that the peer leaves is to be seen all the same, if it has said
/// nothing before. Otherwise the buffers come first.
void ConsolePort::watch_input() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!unread_) arm(readable_watch_);
}

/// By a message, since the caller may be inside of what would be torn down.
void ConsolePort::lost_peer() noexcept {
  thread_->loop().post([this] { on_trouble(); });
}

/// Into the chain: bytes, -EAGAIN, or another -errno if nothing is to be had.
ssize_t ConsolePort::read(DescriptorChain& chain, std::size_t most) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (failed_ || input_ended_ || !backend_->connected() || backend_->input() < 0) return -ENOTCONN;
  const std::size_t count = cut_out(chain.writable(), 0, most, parts_);
  const ssize_t result = backend_->read(std::span(parts_).first(count));
  if (result > 0) {
    unread_ = false;
    counters_.rx_bytes.add(static_cast<std::uint64_t>(result));
  } else if (result == -EAGAIN) {
    unread_ = false;
    arm(readable_watch_);
  } else {
    input_ended_ = true;
    lost_peer();
    return -ENOTCONN;
  }
  return result;
}

/// From the chain, beginning with byte `from`: how many bytes are done with, or -EAGAIN.
ssize_t ConsolePort::write(DescriptorChain& chain, std::size_t from, std::size_t most) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  const std::size_t rest = chain.readable_bytes() - from;
  if (failed_ || !backend_->connected()) {
    counters_.tx_dropped_bytes.add(rest);
    return static_cast<ssize_t>(rest);
  }
  if (backend_->output() < 0) {
    counters_.tx_bytes.add(rest);
    return static_cast<ssize_t>(rest);
  }
  const std::size_t count = cut_out(chain.readable(), from, most, parts_);
  const std::span<const iovec> data(parts_.data(), count);
  if (backlog_size_ != 0) return static_cast<ssize_t>(keep(data));
  const ssize_t result = backend_->write(data);
  if (result > 0) {
    counters_.tx_bytes.add(static_cast<std::uint64_t>(result));
    return result;
  }
  if (result == -EAGAIN || result == 0) {
    counters_.tx_blocked.add();
    if (backlog_) return static_cast<ssize_t>(keep(data));
    arm(writable_watch_);
    return -EAGAIN;
  }
  const bool peer = backend_->arrival() != ConsoleBackend::Arrival::kNever || result == -EPIPE;
  if (peer) {
    failed_ = true;
    lost_peer();
  }
  // A disk that is full may have room again.
  const std::size_t dropped = peer ? rest : std::min(rest, most);
  counters_.tx_dropped_bytes.add(dropped);
  return static_cast<ssize_t>(dropped);
}

/// Lock held. Into the backlog with what there is room for; all of it is done with.
std::size_t ConsolePort::keep(std::span<const iovec> data) noexcept {
  std::size_t all = 0;
  for (const iovec& part : data) {
    all += part.iov_len;
    const auto* from = static_cast<const std::byte*>(part.iov_base);
    std::size_t left = std::min(part.iov_len, kBacklog - backlog_size_);
    counters_.tx_bytes.add(left);
    counters_.tx_dropped_bytes.add(part.iov_len - left);
    while (left != 0) {
      const std::size_t end = (backlog_first_ + backlog_size_) % kBacklog;
      const std::size_t some = std::min(left, kBacklog - end);
      std::memcpy(backlog_.get() + end, from, some);
      from += some;
      left -= some;
      backlog_size_ += some;
    }
  }
  arm(writable_watch_);
  return all;
}

// ---- the queues ----

void ConsolePort::Rx::drain() noexcept {
  std::size_t turn = kBytesInOneTurn;
  while (turn != 0) {
    if (!port_.guest_open_) return runner_.park();
    if (runner_.pop(chain_) != Pop::kChain) return port_.watch_input();
    std::size_t cost = kMinCost;
    if (chain_.writable_bytes() == 0) {
      port_.counters_.guest_faults.add();
      runner_.complete(chain_, 0);
    } else {
      const ssize_t result = port_.read(chain_, turn);
      runner_.counters().system_calls.add();
      if (result < 0) {
        [[maybe_unused]] const bool back = runner_.rewind(chain_);
        assert(back);
        return runner_.park();
      }
      cost = std::max(cost, static_cast<std::size_t>(result));
      runner_.complete(chain_, static_cast<std::uint32_t>(result));
    }
    turn -= std::min(turn, cost);
  }
  runner_.yield();
}

void ConsolePort::Tx::drain() noexcept {
  std::size_t turn = kBytesInOneTurn;
  while (turn != 0) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    if (!send(turn)) return runner_.park();
  }
  runner_.yield();
}

/// As much of the chain as the turn allows. False if the host has no room.
bool ConsolePort::Tx::send(std::size_t& turn) noexcept {
  const std::size_t bytes = chain_.readable_bytes();
  if (bytes == 0) port_.counters_.guest_faults.add();
  ssize_t result = 0;
  while (sent_ < bytes && turn != 0 && result >= 0) {
    result = port_.write(chain_, sent_, turn);
    runner_.counters().system_calls.add();
    if (result < 0) break;
    sent_ += static_cast<std::size_t>(result);
    turn -= std::min(turn, static_cast<std::size_t>(result));
  }
  if (sent_ >= bytes) {
    sent_ = 0;
    turn -= std::min(turn, kMinCost);
    runner_.complete(chain_, 0);
    return true;
  }
  // The rest stays in the ring: nothing of it is kept in here.
  [[maybe_unused]] const bool back = runner_.rewind(chain_);
  assert(back);
  return result >= 0;
}

}  // namespace bellhop

#include "devices/vsock/vsock_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace bellhop {

namespace {

/// Callers taken in before others of the thread get their turn.
constexpr unsigned kInOneTurn = 16;
/// "CONNECT 4294967295\r\n", with some room.
constexpr std::size_t kLongestLine = 32;
constexpr std::string_view kCommand = "CONNECT ";
/// Ticks that a caller has for its line.
constexpr unsigned kLinePatience = 10;

}  // namespace

struct VsockListener::Caller final : ReadyHandler {
  Caller(VsockListener& its_door, UniqueFd its_socket) noexcept
      : door(its_door), socket(std::move(its_socket)) {}
  void on_ready() noexcept override { door.listen_to(*this); }

  VsockListener& door;
  UniqueFd socket;
  std::unique_ptr<FdWatch> watch;
  std::array<char, kLongestLine> line{};
  std::size_t bytes = 0;
  unsigned ticks_left = kLinePatience;
  bool done = false;
};

Result<std::unique_ptr<VsockListener>> VsockListener::open(EventLoop& loop, int socket,
                                                           VsockMuxer& board,
                                                           VsockCounters& counters,
                                                           std::chrono::nanoseconds tick) {
  std::unique_ptr<VsockListener> door(new VsockListener(loop, socket, board, counters, tick));
  auto watch = loop.watch_fd(socket, Readiness::kReadable, *door);
  if (!watch) return forward(watch);
  door->watch_ = std::move(*watch);
  door->watch_->arm();
  return door;
}

VsockListener::VsockListener(EventLoop& loop, int socket, VsockMuxer& board,
                             VsockCounters& counters, std::chrono::nanoseconds tick) noexcept
    : loop_(loop), socket_(socket), board_(board), counters_(counters), tick_(tick) {}

VsockListener::~VsockListener() {
  loop_.stop_timer(*this);
  loop_.cancel_deferred(*this);
}

std::optional<std::uint32_t> VsockListener::parse(std::string_view line) noexcept {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!line.starts_with(kCommand)) return std::nullopt;
  line.remove_prefix(kCommand.size());
  std::uint32_t port = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (error != std::errc() || end != line.data() + line.size()) return std::nullopt;
  return port;
}

void VsockListener::on_ready() noexcept {
  for (unsigned i = 0; i < kInOneTurn; ++i) {
    UniqueFd socket(::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      let_in(std::move(socket));
      continue;
    }
    if (errno == ECONNABORTED || errno == EINTR) continue;
    if (errno != EAGAIN) {
      // No descriptors or no memory: they wait outside, and we do not look again at once.
      rests_ = true;
      keep_time();
      return;
    }
    break;
  }
  watch_->arm();
}

void VsockListener::let_in(UniqueFd socket) noexcept {
  if (callers_.size() >= kMaxCallers) return counters_.refused_too_many.add();
  auto caller = std::make_unique<Caller>(*this, std::move(socket));
  auto watch = loop_.watch_fd(caller->socket.get(), Readiness::kReadable, *caller);
  if (!watch) return;
  caller->watch = std::move(*watch);
  caller->watch->arm();
  callers_.push_back(std::move(caller));
  keep_time();
}

void VsockListener::listen_to(Caller& caller) noexcept {
  if (caller.done) return;
  char* const space = caller.line.data() + caller.bytes;
  const std::size_t room = caller.line.size() - caller.bytes;
  // First a look: what comes after the line must not be taken.
  const ssize_t seen = ::recv(caller.socket.get(), space, room, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return caller.watch->arm();
  if (seen <= 0) return done_with(caller);
  const std::string_view news(space, static_cast<std::size_t>(seen));
  const std::size_t end = news.find('\n');
  const std::size_t taken = end == std::string_view::npos ? news.size() : end + 1;
  (void)::recv(caller.socket.get(), space, taken, MSG_DONTWAIT);
  if (end == std::string_view::npos) {
    caller.bytes += taken;
    if (caller.bytes == caller.line.size()) return done_with(caller);
    return caller.watch->arm();
  }
  if (const auto port = parse({caller.line.data(), caller.bytes + end})) {
    VsockMuxer::PendingWork todo;
    {
      const VsockMuxer::Hold held = board_.hold();
      // The watch goes later; it has been called and is not armed.
      (void)board_.call(std::move(caller.socket), *port);
      todo = board_.pending_work();
    }
    board_.act(todo);
  }
  done_with(caller);
}

void VsockListener::done_with(Caller& caller) noexcept {
  caller.done = true;
  loop_.defer(*this);
}

void VsockListener::run() noexcept {
  std::erase_if(callers_, [](const auto& caller) { return caller->done; });
}

void VsockListener::keep_time() noexcept {
  if (std::exchange(ticking_, true)) return;
  loop_.start_timer(*this, tick_);
}

void VsockListener::on_timer() noexcept {
  ticking_ = false;
  for (const auto& caller : callers_) {
    if (caller->done || --caller->ticks_left != 0) continue;
    counters_.timed_out.add();
    done_with(*caller);
  }
  if (std::exchange(rests_, false)) watch_->arm();
  if (!callers_.empty()) keep_time();
}

}  // namespace bellhop

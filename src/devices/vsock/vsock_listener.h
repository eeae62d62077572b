#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "devices/vsock/vsock_muxer.h"
#include "event/event_loop.h"

namespace bellhop {

/// Those who come from the host: takes them in one after the other, reads the line that says which
/// port of the guest they want, `CONNECT 1234\n`, and hands them to the muxer. What follows
/// that line is the guest's, and stays in the socket.
///
/// On the I/O thread.
class VsockListener final : private ReadyHandler, private Task, private TimerHandler {
 public:
  /// Callers who have not said yet whom they want; more are turned away.
  static constexpr std::size_t kMaxCallers = 64;

  /// `socket` listens. Errors: it cannot be waited for.
  static Result<std::unique_ptr<VsockListener>> open(EventLoop& loop, int socket, VsockMuxer& board,
                                                     VsockCounters& counters,
                                                     std::chrono::nanoseconds tick);
  ~VsockListener() override;

  /// The port in a line without its end; nothing if it is no such line.
  [[nodiscard]] static std::optional<std::uint32_t> parse(std::string_view line) noexcept;

 private:
  struct Caller;

  VsockListener(EventLoop& loop, int socket, VsockMuxer& board, VsockCounters& counters,
                std::chrono::nanoseconds tick) noexcept;

  void on_ready() noexcept override;
  void run() noexcept override;
  void on_timer() noexcept override;
  void let_in(UniqueFd socket) noexcept;
  void listen_to(Caller& caller) noexcept;
  void done_with(Caller& caller) noexcept;
  void keep_time() noexcept;

  EventLoop& loop_;
  int socket_;
  VsockMuxer& board_;
  VsockCounters& counters_;
  std::chrono::nanoseconds tick_;
  std::unique_ptr<FdWatch> watch_;
  std::vector<std::unique_ptr<Caller>> callers_;
  bool ticking_ = false;
  bool rests_ = false;  ///< until the next tick: the host has no descriptors left
};

}  // namespace bellhop

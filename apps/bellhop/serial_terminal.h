#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "base/pseudo_terminal.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// The guest's side of a serial port.
struct SerialGuest {
  /// After a write() that said false. Any thread.
  std::function<void()> has_room;
  /// Bytes for the guest: how many it had room for. Any thread.
  std::function<std::size_t(std::span<const std::byte>)> input;
};

/// A guest's serial port on a pseudo terminal (`--serial pty`): who opens its other end is at the
/// port, one after the other or several at a time.
///
/// A thread of its own passes on what comes from there, as fast as the guest takes it, and what the
/// guest prints, if that could not be written at once. While nobody is there, the last kBacklog
/// bytes are kept for who comes next; that somebody has come is seen within a fifth of a second. A
/// reader that is there and does not read: the guest sees its transmitter busy when kBacklog bytes
/// wait.
class SerialTerminal {
 public:
  static constexpr std::size_t kBacklog = std::size_t{64} << 10;
  /// Beyond the backlog: what a FIFO's worth of bytes may still bring.
  static constexpr std::size_t kSlack = 1024;

  /// Errors: the host gives no pseudo terminal, no thread or descriptor is left.
  static Result<std::unique_ptr<SerialTerminal>> open();
  ~SerialTerminal();
  SerialTerminal(const SerialTerminal&) = delete;
  SerialTerminal& operator=(const SerialTerminal&) = delete;

  /// Where its other end is: "/dev/pts/7".
  [[nodiscard]] const std::string& place() const noexcept { return terminal_.place; }
  /// As SerialOutput's.
  bool write(std::span<const std::byte> data) noexcept;
  /// Functions that are null: there is no guest any more; returns when no call is under way. Until
  /// there is one, what comes from the other end waits there.
  void connect(SerialGuest guest);
  void give_up() noexcept;
  /// Waits until everything is written that somebody is there for, or give_up(). What was written
  /// and not read yet is lost with the terminal. Errors: what a reader that was there did not take.
  Status finish();

 private:
  explicit SerialTerminal(PseudoTerminal terminal) : terminal_(std::move(terminal)) {}
  void run();
  /// What there is to wait for, and for how long.
  struct Wait {
    bool there = false;
    bool input = false;
    bool output = false;
    int milliseconds = -1;
  };
  /// False: there is nothing left to do.
  [[nodiscard]] bool prepare(Wait& wait);
  /// Whether somebody has the other end open.
  void look() noexcept;
  /// True: there was something, and the guest has taken all of it.
  bool pass_on();
  void flush() noexcept;
  /// If the guest waits and need not any more.
  void tell_room();

  PseudoTerminal terminal_;
  EventFd wake_;

  std::mutex mutex_;
  std::deque<std::byte> backlog_;
  bool there_ = false;
  bool has_guest_ = false;
  bool full_ = false;  ///< the guest waits for room
  bool given_up_ = false;
  bool finished_ = false;
  std::uint64_t lost_ = 0;

  std::mutex guest_mutex_;
  SerialGuest guest_;

  // The thread's own.
  std::array<std::byte, 256> keys_{};
  std::size_t first_key_ = 0;
  std::size_t keys_end_ = 0;
  bool more_keys_ = false;  ///< there may be, and the guest takes them

  std::thread thread_;
};

}  // namespace bellhop

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <utility>

#include "apps/bellhop/escape_keys.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Standard input for a guest's console, read on a thread of its own. If it is a terminal, it is in
/// raw mode as long as this lives, so that every key reaches the guest, Ctrl-C too; EscapeKeys are
/// obeyed. Otherwise every byte is the guest's, up to the end of the input.
class TerminalInput {
 public:
  /// All are called on the reader's thread.
  struct Hooks {
    /// Returns how much it took; the rest is offered again a little later.
    std::function<std::size_t(std::span<const std::byte>)> input;
    std::function<void()> quit;
    std::function<void()> press_power_button;
  };

  /// Errors: no thread or descriptor left; the terminal is as it was.
  static Result<std::unique_ptr<TerminalInput>> start(Hooks hooks);
  /// Stops reading and puts the terminal back.
  ~TerminalInput();
  /// Puts the terminal back if it is in raw mode: for a process that ends without destructors. Any
  /// thread.
  static void put_terminal_back() noexcept;
  TerminalInput(const TerminalInput&) = delete;
  TerminalInput& operator=(const TerminalInput&) = delete;

 private:
  explicit TerminalInput(Hooks hooks) : hooks_(std::move(hooks)) {}
  void enter_raw_mode();
  void run();
  void obey(std::span<const std::byte> typed);
  void pass_on(std::span<const std::byte> bytes);
  /// True once the destructor wants the thread to end; waits for `milliseconds` at most.
  [[nodiscard]] bool ending(int milliseconds) const;

  Hooks hooks_;
  EscapeKeys keys_;
  bool raw_ = false;
  EventFd end_;
  std::thread thread_;
};

}  // namespace bellhop

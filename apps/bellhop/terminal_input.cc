#include "apps/bellhop/terminal_input.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/poll.h"
#include "base/thread.h"

namespace bellhop {

namespace {
constexpr int kRetryMilliseconds = 5;
constexpr unsigned kMaxRetries = 1000 / kRetryMilliseconds;

// A process has one standard input.
termios cooked_terminal;
std::atomic<bool> terminal_is_raw{false};
}  // namespace

Result<std::unique_ptr<TerminalInput>> TerminalInput::start(Hooks hooks) {
  std::unique_ptr<TerminalInput> input(new TerminalInput(std::move(hooks)));
  auto end = EventFd::create();
  if (!end) return forward(end);
  input->end_ = std::move(*end);
  // A background job may not touch its terminal: it would be stopped.
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal && ::tcgetpgrp(STDIN_FILENO) != ::getpgrp()) return input;
  if (terminal) input->enter_raw_mode();
  auto thread =
      start_thread(ThreadKind::kTerminal, "the terminal", [self = input.get()] { self->run(); });
  if (!thread) return forward(thread);
  input->thread_ = std::move(*thread);
  return input;
}

TerminalInput::~TerminalInput() {
  if (thread_.joinable()) {
    end_.signal();
    thread_.join();
  }
  put_terminal_back();
}

void TerminalInput::put_terminal_back() noexcept {
  if (terminal_is_raw.exchange(false)) ::tcsetattr(STDIN_FILENO, TCSANOW, &cooked_terminal);
}

void TerminalInput::enter_raw_mode() {
  if (::tcgetattr(STDIN_FILENO, &cooked_terminal) != 0) return;
  termios raw = cooked_terminal;
  ::cfmakeraw(&raw);
  raw.c_oflag |= OPOST;  // our own messages still begin at the left
  raw_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  terminal_is_raw = raw_;
}

bool TerminalInput::ending(int milliseconds) const {
  std::array fds{pollfd{end_.get(), POLLIN, 0}};
  return wait_ready(fds, milliseconds) > 0;
}

void TerminalInput::run() {
  std::array<std::byte, 256> bytes;
  while (true) {
    std::array<pollfd, 2> fds{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{end_.get(), POLLIN, 0}};
    if (wait_ready(fds, -1) == 0) continue;
    if (fds[1].revents != 0) return;
    const ssize_t got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    // Another reader of the same terminal was faster, or a signal: poll() waits for the next.
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return;  // the end of the input is no end of the machine
    const auto typed = std::span(bytes).first(static_cast<std::size_t>(got));
    if (raw_) {
      obey(typed);
    } else {
      pass_on(typed);
    }
  }
}

void TerminalInput::obey(std::span<const std::byte> typed) {
  while (!typed.empty()) {
    std::vector<std::byte> out;
    std::size_t taken = 0;
    const EscapeKeys::Order order = keys_.take(typed, taken, out);
    pass_on(out);
    typed = typed.subspan(taken);
    switch (order) {
      case EscapeKeys::Order::kQuit:
        hooks_.quit();
        break;
      case EscapeKeys::Order::kPowerButton:
        hooks_.press_power_button();
        break;
      case EscapeKeys::Order::kHelp:
        (void)!::write(STDERR_FILENO, EscapeKeys::kHelp, std::strlen(EscapeKeys::kHelp));
        break;
      case EscapeKeys::Order::kNone:
        break;
    }
  }
}

void TerminalInput::pass_on(std::span<const std::byte> bytes) {
  unsigned refused = 0;
  while (!bytes.empty()) {
    const std::size_t taken = hooks_.input(bytes);
    bytes = bytes.subspan(taken);
    refused = taken != 0 ? 0 : refused + 1;
    // A guest that takes none for a while loses keys: an escape key may be behind them.
    if (raw_ && refused > kMaxRetries) return;
    if (!bytes.empty() && ending(kRetryMilliseconds)) return;
  }
}

}  // namespace bellhop

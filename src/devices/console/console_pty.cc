#include <poll.h>

#include <utility>

#include "base/pseudo_terminal.h"
#include "devices/console/console_backend.h"

namespace bellhop {

namespace {

class PtyConsole final : public ConsoleBackend {
 public:
  PtyConsole(std::string place, UniqueFd master)
      : place_(std::move(place)), master_(std::move(master)) {}

  [[nodiscard]] std::string place() const override { return place_; }
  [[nodiscard]] bool connected() const noexcept override { return connected_; }
  [[nodiscard]] int input() const noexcept override { return master_.get(); }
  [[nodiscard]] int output() const noexcept override { return master_.get(); }
  [[nodiscard]] bool gone() const noexcept override {
    const short state = look();
    return (state & POLLHUP) != 0 && (state & POLLIN) == 0;
  }
  [[nodiscard]] bool hung_up() const noexcept override { return (look() & POLLHUP) != 0; }
  /// The kernel tells when the last one closes the other end, but not when the first one opens it.
  [[nodiscard]] Arrival arrival() const noexcept override { return Arrival::kUnseen; }
  [[nodiscard]] bool connect() noexcept override { return connected_ = !hung_up(); }
  void disconnect() noexcept override { connected_ = false; }

 private:
  [[nodiscard]] short look() const noexcept {
    pollfd wanted{.fd = master_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, 0) > 0 ? wanted.revents : short{0};
  }

  std::string place_;
  UniqueFd master_;
  bool connected_ = false;
};

}  // namespace

Result<std::unique_ptr<ConsoleBackend>> make_pty_console() {
  auto opened = PseudoTerminal::open("--console pty");
  if (!opened) return forward(opened);
  return std::make_unique<PtyConsole>(std::move(opened->place), std::move(opened->master));
}

}  // namespace bellhop

// Whatever a front end says that a console's state is: it is refused, or comes back as it was, and
// the driver is told little, and what is true.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "devices/console/console_control.h"
#include "devices/console/console_state.h"

namespace {

using namespace bellhop;

constexpr unsigned kPorts = 3;
/// A port is added, made a console or named, sized, opened or closed.
constexpr unsigned kMaxPending = kPorts * 6;

void check(bool good) {
  if (!good) std::abort();
}

struct Listener final : ConsolePortListener {
  void guest_opened(unsigned /*port*/, bool /*open*/) noexcept override {}
  void control_pending() noexcept override {}
};

}  // namespace

/// Input: a state.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto states = read_console_state(bytes, kPorts);
  if (!states) return 0;
  check(std::ranges::equal(write_console_state(*states), bytes));
  Listener listener;
  ConsoleCounters counters;
  ConsoleControl control({{""}, {"org.example.port"}, {"another"}}, listener, counters);
  control.reset(true);
  for (unsigned port = 0; port < kPorts; ++port) control.restore(port, (*states)[port]);
  unsigned messages = 0;
  while (const auto message = control.peek()) {
    check(++messages <= kMaxPending);
    check(message->port < kPorts && message->size <= message->bytes.size());
    control.told(*message);
  }
  for (unsigned port = 0; port < kPorts; ++port) {
    ConsolePortState after;
    control.save(port, after);
    check(after.pending == 0 && !after.told_open);
  }
  return 0;
}

// Whatever a driver says on the control queue, and whoever comes and goes at the host's end: what
// it is told stays little, and true.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "devices/console/console_control.h"

namespace {

using namespace bellhop;
using namespace bellhop::virtio;

constexpr unsigned kPorts = 3;
/// A port is added, made a console or named, sized, opened or closed.
constexpr unsigned kMaxPending = kPorts * 6;

void check(bool good) {
  if (!good) std::abort();
}

struct Listener final : ConsolePortListener {
  void guest_opened(unsigned port, bool) noexcept override { check(port < kPorts); }
  void control_pending() noexcept override {}
};

}  // namespace

/// Input: steps, each a byte that says which, and for a message of the driver's its eight bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Listener listener;
  ConsoleCounters counters;
  ConsoleControl control({{""}, {"org.example.port"}, {std::string(100, 'n')}}, listener, counters);
  control.reset((size & 1U) != 0);
  bool host_open[kPorts] = {};
  std::span<const std::uint8_t> input(data, size);
  while (!input.empty()) {
    const std::uint8_t step = input[0];
    input = input.subspan(1);
    const unsigned port = (step >> 4) % kPorts;
    switch (step & 7U) {
      case 0:
        host_open[port] = (step & 8U) != 0;
        control.set_host_open(port, host_open[port]);
        break;
      case 1:
        control.resize({.cols = step, .rows = 25});
        break;
      case 2:
        if (const auto message = control.peek()) control.told(*message);
        break;
      case 3: {
        // The driver says something legal.
        const ConsoleControlMessage legal{
            .id = port,
            .event = (step & 8U) != 0 ? kConsolePortReady : kConsoleDeviceReady,
            .value = 1};
        check(control.handle(legal));
        break;
      }
      default: {
        ConsoleControlMessage message{};
        if (input.size() < sizeof message) return 0;
        std::memcpy(&message, input.data(), sizeof message);
        input = input.subspan(sizeof message);
        const bool known = message.event == kConsoleDeviceReady ||
                           (message.id < kPorts && (message.event == kConsolePortReady ||
                                                    message.event == kConsolePortOpen));
        check(control.handle(message) == known);
      }
    }
  }
  unsigned messages = 0;
  while (const auto message = control.peek()) {
    check(++messages <= kMaxPending);
    check(message->port < kPorts && message->size <= message->bytes.size());
    ConsoleControlMessage head{};
    check(message->size >= sizeof head);
    std::memcpy(&head, message->bytes.data(), sizeof head);
    check(head.id == message->port);
    if (head.event == kConsolePortOpen && head.value == 1) check(host_open[head.id]);
    control.told(*message);
  }
  return 0;
}

#include "devices/console/console_control.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace bellhop {

using namespace virtio;

namespace {

// What a driver can be told of a port, in the order in which it is.
constexpr unsigned kAdd = 1;
constexpr unsigned kConsole = 2;
constexpr unsigned kName = 4;
constexpr unsigned kSize = 8;
constexpr unsigned kClosed = 16;
constexpr unsigned kOpen = 32;

/// Messages, either way, before the other queues of the thread get their turn.
constexpr unsigned kMessagesInOneTurn = 16;

}  // namespace

ConsoleControl::ConsoleControl(std::vector<Port> ports, ConsolePortListener& listener,
                               ConsoleCounters& counters)
    : ports_(std::move(ports)), listener_(listener), counters_(counters), states_(ports_.size()) {}

void ConsoleControl::reset(bool sizes) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  sizes_ = sizes;
  for (State& state : states_) {
    state.added = false;
    state.told_open = false;
    state.pending = 0;
  }
}

bool ConsoleControl::handle(const ConsoleControlMessage& message) noexcept {
  const std::uint32_t port = message.id;
  const bool on = message.value != 0;
  if (message.event == kConsoleDeviceReady) {
    {
      const std::lock_guard<std::mutex> hold(lock_);
      for (State& state : states_) {
        state.added = false;
        state.told_open = false;
        state.pending = on ? kAdd : 0;
      }
    }
    listener_.control_pending();
    return true;
  }
  if (port >= ports_.size()) return false;
  if (message.event == kConsolePortReady) {
    {
      const std::lock_guard<std::mutex> hold(lock_);
      State& state = states_[port];
      state.added = on;
      state.told_open = false;
      state.pending = 0;
      if (on) {
        const bool console = ports_[port].name.empty();
        tell(state, console ? kConsole : kName);
        if (console && sizes_ && size_.cols != 0) tell(state, kSize);
        if (state.host_open) tell(state, kOpen);
      }
    }
    listener_.control_pending();
    return true;
  }
  if (message.event == kConsolePortOpen) {
    listener_.guest_opened(port, on);
    return true;
  }
  return false;  // the others are for the device to say
}

void ConsoleControl::save(unsigned port, ConsolePortState& to) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  const State& state = states_[port];
  to.added = state.added;
  to.told_open = state.told_open;
  to.pending = static_cast<std::uint8_t>(state.pending);
}

void ConsoleControl::restore(unsigned port, const ConsolePortState& from) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  State& state = states_[port];
  const bool console = ports_[port].name.empty();
  state.added = from.added;
  state.told_open = from.added && from.told_open;
  // Before the driver has the port it is told of that alone.
  state.pending = from.pending & (from.added ? (console ? kConsole : kName) : kAdd);
  if (!from.added) return;
  if (console && sizes_ && size_.cols != 0) tell(state, kSize);
  if (state.host_open != state.told_open) tell(state, state.host_open ? kOpen : kClosed);
}

void ConsoleControl::set_host_open(unsigned port, bool open) noexcept {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    State& state = states_[port];
    state.host_open = open;
    if (!state.added) return;
    if (open) {
      tell(state, kOpen);
    } else {
      state.pending &= ~kOpen;
      if (state.told_open) tell(state, kClosed);
    }
  }
  listener_.control_pending();
}

void ConsoleControl::resize(ConsoleSize size) noexcept {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    size_ = size;
    if (!sizes_) return;
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      if (ports_[i].name.empty() && states_[i].added) tell(states_[i], kSize);
    }
  }
  listener_.control_pending();
}

std::optional<ConsoleControl::Message> ConsoleControl::peek() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  const auto first =
      std::ranges::find_if(states_, [](const State& state) { return state.pending != 0; });
  if (first == states_.end()) return std::nullopt;
  const unsigned what = 1U << std::countr_zero(first->pending);
  return compose(static_cast<unsigned>(first - states_.begin()), what);
}

ConsoleControl::Message ConsoleControl::compose(unsigned port, unsigned what) const noexcept {
  Message made;
  made.port = port;
  made.what = what;
  ConsoleControlMessage head{.id = port, .event = kConsolePortAdd, .value = 1};
  std::size_t size = sizeof head;
  if (what == kConsole) head.event = kConsoleConsolePort;
  if (what == kOpen || what == kClosed) head.event = kConsolePortOpen;
  if (what == kClosed) head.value = 0;
  if (what == kName) {
    head.event = kConsolePortName;
    const std::string& name = ports_[port].name;
    const std::size_t length = std::min(name.size(), kMaxName);
    std::memcpy(made.bytes.data() + size, name.data(), length);
    size += length;
  }
  if (what == kSize) {
    head.event = kConsoleResize;
    std::memcpy(made.bytes.data() + size, &size_, sizeof size_);
    size += sizeof size_;
  }
  std::memcpy(made.bytes.data(), &head, sizeof head);
  made.size = size;
  return made;
}

void ConsoleControl::told(const Message& message) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  State& state = states_[message.port];
  state.pending &= ~message.what;
  if (!state.added) return;  // the news of a port that has gone meanwhile, or of a new one
  // What it was told may not be so any more.
  if (message.what == kOpen) {
    state.told_open = true;
    if (!state.host_open) tell(state, kClosed);
  }
  if (message.what == kClosed) {
    state.told_open = false;
    if (state.host_open) tell(state, kOpen);
  }
  if (message.what == kSize) {
    ConsoleSize size{};
    std::memcpy(&size, message.bytes.data() + sizeof(ConsoleControlMessage), sizeof size);
    if (size.cols != size_.cols || size.rows != size_.rows) tell(state, kSize);
    counters_.resizes.add();
  }
}

void ConsoleControlRx::drain() noexcept {
  for (unsigned messages = 0; messages < kMessagesInOneTurn; ++messages) {
    const auto message = control_.peek();
    if (!message) return runner_.park();
    if (runner_.pop(chain_) != Pop::kChain) return;
    std::size_t written = 0;
    if (chain_.writable_bytes() >= message->size) {
      written =
          BufferRun(chain_.writable()).copy_in(0, std::span(message->bytes).first(message->size));
    } else {
      // Half a message would be worse than none, and the next buffer may be no longer.
      counters_.guest_faults.add();
    }
    control_.told(*message);
    runner_.complete(chain_, static_cast<std::uint32_t>(written));
  }
  runner_.yield();
}

void ConsoleControlTx::drain() noexcept {
  for (unsigned messages = 0; messages < kMessagesInOneTurn; ++messages) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    ConsoleControlMessage message{};
    counters_.control_messages.add();
    const std::size_t bytes =
        BufferRun(chain_.readable()).copy_out(0, std::as_writable_bytes(std::span(&message, 1)));
    if (bytes != sizeof message || !control_.handle(message)) counters_.guest_faults.add();
    runner_.complete(chain_, 0);
  }
  runner_.yield();
}

}  // namespace bellhop

#include "devices/net/control_queue.h"

#include <span>

#include "virtio/abi/net.h"

namespace bellhop {

using namespace virtio;

namespace {

/// Commands before the other queues of the thread get their turn.
constexpr unsigned kCommandsInOneTurn = 16;

}  // namespace

void ControlQueue::drain() noexcept {
  for (unsigned commands = 0; commands < kCommandsInOneTurn; ++commands) {
    if (runner_.pop(chain_) != Pop::kChain) return;
    const std::span<GuestSpan> answer = chain_.writable();
    counters_.commands.add();
    // Without a place for the answer nothing is done: the driver could not know.
    const bool done =
        !answer.empty() && execute(BufferRun(chain_.readable()), chain_.readable_bytes());
    if (!done) counters_.refused.add();
    const auto ack = std::byte{done ? kNetControlOk : kNetControlError};
    const std::size_t written = BufferRun(answer).copy_in(0, {&ack, 1});
    runner_.complete(chain_, static_cast<std::uint32_t>(written));
  }
  runner_.yield();
}

/// The driver waits for an answer, and would take what lies there for one.
std::uint32_t ControlQueue::malformed(DescriptorChain& chain) noexcept {
  counters_.refused.add();
  const std::byte error{kNetControlError};
  return static_cast<std::uint32_t>(BufferRun(chain.writable()).copy_in(0, {&error, 1}));
}

}  // namespace bellhop

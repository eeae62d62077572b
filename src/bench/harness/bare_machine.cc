#include "bench/harness/bare_machine.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "base/thread.h"
#include "probe/floors.h"

namespace bellhop::bench {

namespace {

constexpr std::uint64_t kRam = std::uint64_t{2} << 20;
constexpr GuestAddress kGuestBase(0x10000);
constexpr std::uint64_t kExitAddress = 0xd000'0000;
constexpr std::uint64_t kEventAddress = 0xd000'1000;

/// Reads an eventfd whenever it is signalled, as an I/O thread with nothing to do would.
class Waiter {
 public:
  explicit Waiter(const EventFd& event) : event_(event) {}
  /// Errors: no thread to be had.
  Status start(const CpuList& cpus) {
    auto thread = start_thread(ThreadKind::kOther, "the bare machine's waiter", [this, cpus] {
      (void)pin_this_thread(cpus);
      while (!stop_) {
        pollfd fd{event_.get(), POLLIN, 0};
        ::poll(&fd, 1, -1);
        event_.consume();
      }
    });
    if (!thread) return forward(thread);
    thread_ = std::move(*thread);
    return {};
  }
  ~Waiter() {
    if (!thread_.joinable()) return;
    stop_ = true;
    event_.signal();
    thread_.join();
  }

 private:
  const EventFd& event_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<BareMachine>> BareMachine::create(Hypervisor& hypervisor, CpuList vcpu_cpus,
                                                         CpuList waiter_cpus) {
  std::unique_ptr<BareMachine> machine(
      new BareMachine(std::move(vcpu_cpus), std::move(waiter_cpus)));
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), kRam}};
  auto memory = GuestMemory::create(regions);
  if (!memory) return forward(memory);
  machine->memory_.emplace(std::move(*memory));
  auto vm = hypervisor.create_vm();
  if (!vm) return forward(vm);
  machine->vm_ = std::move(*vm);
  if (auto mapped = machine->vm_->map_memory(*machine->memory_); !mapped) return forward(mapped);
  auto vcpu = machine->vm_->create_vcpu(0, 1);
  if (!vcpu) return forward(vcpu);
  machine->vcpu_ = std::move(*vcpu);
  auto guest = FloorGuest::create(*machine->memory_, kGuestBase);
  if (!guest) return forward(guest);
  machine->guest_.emplace(*guest);
  auto event = EventFd::create();
  if (!event) return forward(event);
  machine->event_ = std::move(*event);
  const IoEventMatch match{IoSpace::kMmio, kEventAddress, 2, std::nullopt};
  if (auto attached = machine->vm_->attach_ioeventfd(machine->event_, match); !attached) {
    return forward(attached);
  }
  return machine;
}

Result<double> BareMachine::measure_here(Kick kick, unsigned count) {
  std::vector<std::uint32_t> ticks;
  while (ticks.size() < count) {
    const auto left = static_cast<std::uint32_t>(count - ticks.size());
    const FloorGuest::Writes writes{IoSpace::kMmio,
                                    kick == Kick::kExit ? kExitAddress : kEventAddress, 2, 0,
                                    std::min(left, FloorGuest::kMaxWrites)};
    const auto some = guest_->measure_writes(*vcpu_, writes, [](VcpuExit&) {});
    if (!some) return forward(some);
    ticks.insert(ticks.end(), some->begin(), some->end());
  }
  event_.consume();
  return median_us(ticks);
}

Result<double> BareMachine::measure(Kick kick, unsigned count) {
  Waiter waiter(event_);
  if (kick == Kick::kWaitedFor) {
    if (auto waits = waiter.start(waiter_cpus_); !waits) return forward(waits);
  }
  Result<double> result;
  // A thread of its own, so that pinning it changes nobody else.
  const Status ran = run_on_thread(ThreadKind::kOther, "the bare machine", [&] {
    if (auto pinned = pin_this_thread(vcpu_cpus_); !pinned) {
      result = forward(pinned);
      return;
    }
    result = measure_here(kick, count);
  });
  if (!ran) return forward(ran);
  return result;
}

}  // namespace bellhop::bench

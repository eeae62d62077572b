#include "guest/smp.h"

#include "guest/clock.h"
#include "guest/cpu.h"
#include "guest/interrupts.h"
#include "guest/memory.h"

extern "C" {
extern std::uint64_t user_stack_tops[];
extern char ap_trampoline[];
extern char ap_trampoline_end[];
}

namespace bellhop::guest {
namespace {

constexpr std::uint64_t kTrampoline = 0x8000;  // boot.S knows it too
constexpr std::size_t kStackBytes = 16384;
constexpr unsigned kWakeCounter = 16;  // counters of queues come first, then one for each vCPU
constexpr std::uint64_t kArrivalUs = 1'000'000;

using Task = void (*)(std::uint32_t, void*);

// One line for each vCPU, so that they do not disturb each other.
struct alignas(64) Seat {
  volatile std::uint32_t arrived;
  volatile std::uint32_t work;  // counts up with each task
  volatile std::uint32_t done;
};

constinit Seat seats[kMaxCpus] = {};
constinit Task current_task = nullptr;
constinit void* current_context = nullptr;

}  // namespace

std::uint32_t start_processors(std::uint32_t count) {
  if (count <= 1) return 1;
  __builtin_memcpy(reinterpret_cast<void*>(kTrampoline), ap_trampoline,
                   static_cast<std::size_t>(ap_trampoline_end - ap_trampoline));
  for (std::uint32_t cpu = 1; cpu < count; ++cpu) {
    auto* stack = static_cast<char*>(allocate(kStackBytes, 4096));
    if (stack == nullptr) return cpu;
    user_stack_tops[cpu] = reinterpret_cast<std::uint64_t>(stack + kStackBytes);
    lapic_start_processor(cpu, kTrampoline / 4096);
    const std::uint64_t end = read_tsc() + us_to_cycles(kArrivalUs);
    while (load_acquire(&seats[cpu].arrived) == 0) {
      if (read_tsc() > end) return cpu;
      cpu_relax();
    }
  }
  return count;
}

void run_on_processors(std::uint32_t count, Task task, void* context) {
  current_task = task;
  current_context = context;
  for (std::uint32_t cpu = 1; cpu < count; ++cpu) {
    store_release(&seats[cpu].work, seats[cpu].work + 1);
    lapic_send(cpu, static_cast<std::uint8_t>(kFirstVector + kWakeCounter + cpu));
  }
  task(0, context);
  for (std::uint32_t cpu = 1; cpu < count; ++cpu) {
    while (load_acquire(&seats[cpu].done) != seats[cpu].work) cpu_relax();
  }
}

}  // namespace bellhop::guest

using namespace bellhop::guest;

void ap_main(std::uint64_t cpu) {
  Seat& seat = seats[cpu];
  const volatile std::uint32_t* wake = interrupt_counter(kWakeCounter + static_cast<unsigned>(cpu));
  lapic_init();
  store_release(&seat.arrived, std::uint32_t{1});
  while (true) {
    const std::uint32_t seen = load_acquire(wake);
    if (load_acquire(&seat.work) == seat.done) {
      wait_for_interrupt(wake, seen);
      continue;
    }
    current_task(static_cast<std::uint32_t>(cpu), current_context);
    store_release(&seat.done, seat.work);
  }
}

#include "probe/floors.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/thread.h"
#include "probe/floor_guest.h"

namespace bellhop {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kRam = 2U << 20U;
constexpr GuestAddress kGuestBase(0x10000);
// Addresses that nothing else answers at: one for each way in which a write may end.
constexpr std::uint64_t kBareExit = 0xd000'0000;
constexpr std::uint64_t kLength0 = 0xd000'0010;
constexpr std::uint64_t kLength2 = 0xd000'0020;
constexpr std::uint64_t kLength4 = 0xd000'0040;
constexpr std::uint64_t kBarePort = 0x510;
constexpr std::uint64_t kEventPort = 0x520;
constexpr std::uint8_t kVector = 0x40;
constexpr MsiMessage kMessage{0xfee0'0000, kVector};

constexpr int kRounds = 5;
constexpr std::uint32_t kExits = 200;
constexpr std::uint32_t kKicks = 1000;
constexpr int kInterrupts = 60;

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// One VM with all the matches, shared by the rounds so that they differ in nothing else.
struct FloorMachine {
  static Result<std::unique_ptr<FloorMachine>> create(Hypervisor& hypervisor);
  Status attach(const IoEventMatch& match) { return vm->attach_ioeventfd(event, match); }

  std::optional<GuestMemory> memory;
  std::unique_ptr<Vm> vm;
  std::unique_ptr<Vcpu> vcpu;
  std::optional<FloorGuest> guest;
  EventFd event;
};

Result<std::unique_ptr<FloorMachine>> FloorMachine::create(Hypervisor& hypervisor) {
  auto machine = std::make_unique<FloorMachine>();
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), kRam}};
  auto memory = GuestMemory::create(regions);
  if (!memory) return forward(memory);
  machine->memory.emplace(std::move(*memory));
  auto vm = hypervisor.create_vm();
  if (!vm) return forward(vm);
  machine->vm = std::move(*vm);
  if (auto status = machine->vm->map_memory(*machine->memory); !status) return forward(status);
  auto vcpu = machine->vm->create_vcpu(0, 1);
  if (!vcpu) return forward(vcpu);
  machine->vcpu = std::move(*vcpu);
  auto guest = FloorGuest::create(*machine->memory, kGuestBase);
  if (!guest) return forward(guest);
  machine->guest.emplace(*guest);
  auto event = EventFd::create();
  if (!event) return forward(event);
  machine->event = std::move(*event);
  return machine;
}

struct WriteFloor {
  std::optional<double> Floors::*result;
  FloorGuest::Writes writes;
  std::optional<IoEventMatch> match;
};

const std::array<WriteFloor, 6>& write_floors() {
  using enum IoSpace;
  static const std::array<WriteFloor, 6> list{{
      {&Floors::userspace_exit_us, {kMmio, kBareExit, 4, 1, kExits}, std::nullopt},
      {&Floors::userspace_exit_pio_us, {kPio, kBarePort, 4, 1, kExits}, std::nullopt},
      {&Floors::ioeventfd_kick_us,
       {kMmio, kLength2, 2, 1, kKicks},
       IoEventMatch{kMmio, kLength2, 2, std::nullopt}},
      {&Floors::ioeventfd_kick_len0_us,
       {kMmio, kLength0, 2, 1, kKicks},
       IoEventMatch{kMmio, kLength0, 0, std::nullopt}},
      {&Floors::ioeventfd_kick_len4_us,
       {kMmio, kLength4, 4, 1, kKicks},
       IoEventMatch{kMmio, kLength4, 4, std::nullopt}},
      {&Floors::ioeventfd_kick_pio_us,
       {kPio, kEventPort, 2, 1, kKicks},
       IoEventMatch{kPio, kEventPort, 2, std::nullopt}},
  }};
  return list;
}

// All kinds in turn, so that a slow moment of the host hits all of them.
Status measure_writes(FloorMachine& machine, Floors& floors, std::vector<std::string>& notes) {
  std::array<bool, 6> usable{};
  for (std::size_t i = 0; i < write_floors().size(); ++i) {
    const WriteFloor& floor = write_floors()[i];
    const Status attached = floor.match ? machine.attach(*floor.match) : Status();
    usable[i] = attached.has_value();
    if (!usable[i]) notes.push_back(attached.error().message);
  }
  std::array<std::vector<double>, 6> rounds;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < write_floors().size(); ++i) {
      if (!usable[i]) continue;
      const FloorGuest::Writes& writes = write_floors()[i].writes;
      const std::uint64_t exits = machine.vcpu->exits();
      const auto ticks = machine.guest->measure_writes(*machine.vcpu, writes, {});
      if (!ticks) return forward(ticks);
      const std::uint64_t expected = write_floors()[i].match ? 1 : writes.count + 1;
      const std::uint64_t kicks = machine.event.consume();
      if (machine.vcpu->exits() - exits != expected ||
          kicks != (write_floors()[i].match ? writes.count : 0)) {
        return fail(fmt::format("{} writes made {} exits and {} kicks", writes.count,
                                machine.vcpu->exits() - exits, kicks));
      }
      rounds[i].push_back(median_us(*ticks));
    }
  }
  for (std::size_t i = 0; i < write_floors().size(); ++i) {
    if (usable[i]) floors.*write_floors()[i].result = median(rounds[i]);
  }
  return {};
}

Status measure_ratio(FloorMachine& machine, Floors& floors) {
  constexpr std::uint32_t kKernelLoops = 1000;
  constexpr std::uint32_t kUserLoops = 1'000'000;
  std::vector<double> ratios;
  for (int round = 0; round < 3; ++round) {
    const auto kernel =
        machine.guest->measure_loop(*machine.vcpu, FloorGuest::Ring::kKernel, kKernelLoops);
    if (!kernel) return forward(kernel);
    const auto user =
        machine.guest->measure_loop(*machine.vcpu, FloorGuest::Ring::kUser, kUserLoops);
    if (!user) return forward(user);
    const double kernel_ticks = static_cast<double>(*kernel) / kKernelLoops;
    const double user_ticks = static_cast<double>(std::max(*user, 1U)) / kUserLoops;
    ratios.push_back(kernel_ticks / user_ticks);
  }
  floors.kernel_mode_ratio = median(ratios);
  return {};
}

// The handler's effect is seen by polling from another CPU, which a single one cannot do.
Status measure_interrupts(FloorMachine& machine, Floors& floors, const CpuList& cpus) {
  auto irq = EventFd::create();
  if (!irq) return forward(irq);
  const auto gsi = machine.vm->allocate_msi_route();
  if (!gsi) return forward(gsi);
  if (auto status = machine.vm->set_msi_route(*gsi, kMessage); !status) return status;
  if (auto status = machine.vm->attach_irqfd(*irq, *gsi); !status) return status;
  if (auto status = machine.guest->prepare_interrupts(*machine.vcpu, kVector); !status) {
    return status;
  }
  std::atomic<bool> ended = false;
  Status guest_status;
  auto runner = start_thread(ThreadKind::kOther, "the measuring guest", [&] {
    (void)pin_this_thread({cpus[0]});
    const auto exit = machine.vcpu->run();
    if (!exit) {
      guest_status = forward(exit);
    } else if (exit->reason != VcpuExit::Reason::kInterrupted) {
      guest_status = fail("the measuring guest crashed: " + machine.vcpu->dump());
    }
    ended = true;
  });
  if (!runner) return forward(runner);
  const auto wait_for = [&](auto condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(1);
    while (!condition()) {
      if (ended || Clock::now() > deadline) return false;
    }
    return true;
  };
  std::vector<double> delays;
  bool alive = wait_for([&] { return machine.guest->ready(); });
  // On a busy host each may take a time slice: then fewer have to do.
  const auto enough = Clock::now() + std::chrono::milliseconds(400);
  for (int i = 0; i < kInterrupts && alive && (i < 9 || Clock::now() < enough); ++i) {
    const std::uint16_t before = machine.guest->interrupts();
    const auto begin = Clock::now();
    irq->signal();
    alive = wait_for([&] { return machine.guest->interrupts() != before; });
    delays.push_back(microseconds(Clock::now() - begin));
    // Time for the handler to return to user mode.
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  machine.vcpu->kick();
  runner->join();
  if (!guest_status) return guest_status;
  if (!alive) return fail("an interrupt by irqfd did not reach the guest within a second");
  floors.irqfd_to_handler_us = median(delays);
  return machine.vm->detach_irqfd(*irq, *gsi);
}

class BlockingEvent {
 public:
  BlockingEvent() : fd_(::eventfd(0, EFD_CLOEXEC)) {}
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  void signal() const {
    const std::uint64_t one = 1;
    while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
  void wait() const {
    std::uint64_t count = 0;
    while (::read(fd_.get(), &count, sizeof count) < 0 && errno == EINTR) {
    }
  }

 private:
  UniqueFd fd_;
};

}  // namespace

double tsc_ticks_per_us() {
  static const double ticks = [] {
    const auto begin = Clock::now();
    const std::uint64_t from = __rdtsc();
    Clock::time_point now = begin;
    while (now - begin < std::chrono::milliseconds(10)) now = Clock::now();
    return static_cast<double>(__rdtsc() - from) / microseconds(now - begin);
  }();
  return ticks;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double median_us(std::span<const std::uint32_t> ticks) {
  return median({ticks.begin(), ticks.end()}) / tsc_ticks_per_us();
}

Result<double> measure_wake_us(unsigned cpu_a, unsigned cpu_b, unsigned rounds) {
  const BlockingEvent there;
  const BlockingEvent back;
  if (!there.valid() || !back.valid()) return fail_errno("eventfd");
  Status pinned[2];
  double round_trip = 0;
  auto answerer = start_thread(ThreadKind::kOther, "the measured wake-ups", [&] {
    pinned[1] = pin_this_thread({cpu_b});
    for (unsigned i = 0; i < rounds; ++i) {
      there.wait();
      back.signal();
    }
  });
  if (!answerer) return forward(answerer);
  const Status called = run_on_thread(ThreadKind::kOther, "the measured wake-ups", [&] {
    pinned[0] = pin_this_thread({cpu_a});
    std::vector<double> times;
    times.reserve(rounds);
    for (unsigned i = 0; i < rounds; ++i) {
      const auto begin = Clock::now();
      there.signal();
      back.wait();
      times.push_back(microseconds(Clock::now() - begin));
    }
    round_trip = median(std::move(times));
  });
  if (!called) {  // the other one waits for as many
    for (unsigned i = 0; i < rounds; ++i) {
      there.signal();
      back.wait();
    }
  }
  answerer->join();
  if (!called) return forward(called);
  for (const Status& status : pinned) {
    if (!status) return forward(status);
  }
  return round_trip / 2;
}

void measure_wakes(Floors& floors, const CpuList& cpus, std::vector<std::string>& notes) {
  const CpuList mine = cpus.empty() ? allowed_cpus() : cpus;
  if (mine.empty()) return;
  const auto median_of_rounds = [&](unsigned a, unsigned b,
                                    unsigned count) -> std::optional<double> {
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; ++round) {
      const auto wake = measure_wake_us(a, b, count);
      if (!wake) {
        notes.push_back(wake.error().message);
        return std::nullopt;
      }
      rounds.push_back(*wake);
    }
    return median(std::move(rounds));
  };
  floors.wake_same_core_us = median_of_rounds(mine[0], mine[0], 1000);
  if (mine.size() > 1) {
    floors.wake_other_core_us = median_of_rounds(mine[0], mine[1], 300);
  } else {
    notes.emplace_back("one CPU only: wake-ups of another core cannot be measured");
  }
}

Result<double> measure_kernel_mode_ratio(Hypervisor& hypervisor) {
  auto machine = FloorMachine::create(hypervisor);
  if (!machine) return forward(machine);
  Floors floors;
  if (auto measured = measure_ratio(**machine, floors); !measured) return forward(measured);
  return *floors.kernel_mode_ratio;
}

std::optional<std::string> why_no_linux(Hypervisor& hypervisor) {
  const auto ratio = measure_kernel_mode_ratio(hypervisor);
  if (!ratio || *ratio < kInterpretedRatio) return std::nullopt;  // else wrong: shows by itself
  return fmt::format(
      "this host's KVM interprets guest kernel mode (an instruction takes {:.0f} times as long as "
      "in user mode; some are unknown to it), so that Linux cannot run there. The bench guest can, "
      "and a host with VMX or SVM runs both",
      *ratio);
}

Result<Floors> measure_floors(Hypervisor& hypervisor, const CpuList& cpus,
                              std::vector<std::string>& notes) {
  const CpuList mine = cpus.empty() ? allowed_cpus() : cpus;
  Floors floors;
  auto machine = FloorMachine::create(hypervisor);
  if (!machine) return forward(machine);
  (void)tsc_ticks_per_us();
  // A thread of its own, so that the caller's CPU set stays as it is.
  const Status measured = run_on_thread(ThreadKind::kOther, "the measurement", [&] {
    if (!mine.empty()) (void)pin_this_thread({mine.size() > 1 ? mine[1] : mine[0]});
    const auto note = [&](const Status& status) {
      if (!status) notes.push_back(status.error().message);
    };
    note(measure_ratio(**machine, floors));
    note(measure_writes(**machine, floors, notes));
    if (mine.size() > 1) note(measure_interrupts(**machine, floors, mine));
  });
  if (!measured) return forward(measured);
  if (mine.size() < 2) {
    notes.emplace_back("one CPU only: the way of an interrupt cannot be measured");
  }
  measure_wakes(floors, mine, notes);
  return floors;
}

nlohmann::ordered_json to_json(const Floors& floors) {
  nlohmann::ordered_json json;
  const auto put = [&](const char* name, const std::optional<double>& value) {
    // Nanoseconds are as fine as these can be trusted.
    if (value) {
      json[name] = static_cast<double>(std::llround(*value * 1000)) / 1000;
    } else {
      json[name] = nullptr;
    }
  };
  put("userspace_exit_us", floors.userspace_exit_us);
  put("userspace_exit_pio_us", floors.userspace_exit_pio_us);
  put("ioeventfd_kick_us", floors.ioeventfd_kick_us);
  put("ioeventfd_kick_len0_us", floors.ioeventfd_kick_len0_us);
  put("ioeventfd_kick_len4_us", floors.ioeventfd_kick_len4_us);
  put("ioeventfd_kick_pio_us", floors.ioeventfd_kick_pio_us);
  put("irqfd_to_handler_us", floors.irqfd_to_handler_us);
  put("wake_same_core_us", floors.wake_same_core_us);
  put("wake_other_core_us", floors.wake_other_core_us);
  put("kernel_mode_ratio", floors.kernel_mode_ratio);
  return json;
}

}  // namespace bellhop

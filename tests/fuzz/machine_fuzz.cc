// A whole machine and its world, made and driven by a program: the input. Two vCPUs access
// registers, rings and memory in good and bad ways; the host refuses what it likes; peers talk
// nonsense; the machine is paused, reset and ended. Nothing may crash, race or hang, the disks work
// after a reset, a bystander works at any time, and nothing stays behind.
//
// See tests/fuzz/machine/: world (what is around the machine), guest (what vCPUs do).

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/kernel_signal.h"
#include "tests/fuzz/machine/guest.h"
#include "tests/fuzz/machine/input.h"
#include "tests/fuzz/machine/world.h"

namespace bellhop::fuzz {
namespace {

constexpr unsigned kMaxSteps = 64;
constexpr std::chrono::seconds kShort{3};
constexpr std::chrono::seconds kLong{20};

/// Open descriptors, the folder's own left out.
std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// Where the guest's RAM is mapped, for the thread sanitizer.
std::uintptr_t guest_ram = 0;

/// The thread that owns the machine, and the first vCPU's program on it.
class Run {
 public:
  Run(World& world, Input& input)
      : world_(world),
        machine_(*world.machine()),
        shared_{.machine = machine_,
                .vm = world.vm(),
                .ram = GuestRam(*world.vm().memory()),
                .transport = world.transport(),
                .devices = world.devices(),
                .running = {}},
        guest_(shared_, 0),
        input_(input) {
    __atomic_store_n(&guest_ram,
                     reinterpret_cast<std::uintptr_t>(world.vm().memory()->regions().front().host),
                     __ATOMIC_RELAXED);
  }

  void run() {
    const std::uint8_t how = input_.u8();
    Input other = (how & 1) != 0 ? input_.split() : Input({});
    if (!machine_.start()) broken("a machine does not start");
    std::thread second;
    if (!other.empty()) {
      second = std::thread([this, other]() mutable {
        Guest guest(shared_, 1);
        for (unsigned i = 0; i < kMaxSteps && !other.empty() && !guest.port().over(); ++i) {
          guest.step(other.u8(), other);
        }
      });
    }
    for (unsigned i = 0; i < kMaxSteps && !input_.empty(); ++i) {
      step();
      if (guest_.port().over() && !begin_anew()) break;
    }
    resume();
    if (second.joinable()) second.join();
    if (machine_.ended() && !begin_anew()) return;
    if (how >= 0xf0) {
      // vCPUs that run when the machine is destroyed.
      for (unsigned vcpu = 0; vcpu < 2; ++vcpu) {
        for (unsigned i = 0; i < 8; ++i) {
          shared_.vm.vcpu(vcpu)->push_exit({.reason = VcpuExit::Reason::kMmioWrite,
                                            .address = 0xe0003000 + 4 * i,
                                            .data = std::vector<std::byte>(2),
                                            .detail = 0});
        }
      }
      return;
    }
    check();
  }

 private:
  void step() {
    const std::uint8_t op = input_.u8();
    if (op < 192) {
      if (!paused_) guest_.step(op, input_);
      return;
    }
    switch (op % 16) {
      case 0:
        return pause();
      case 1:
        return resume();
      case 2:
        pause();
        return resume();
      case 3:
        pause();
        if (!machine_.reset()) broken("a machine is not reset");
        return resumed();
      case 4:
        (void)machine_.counters();
        return;
      case 5:
        if (input_.chance(16)) {
          machine_.stop();
          stopped_ = true;
        }
        return;
      case 6:
        (void)shared_.vm.deliver_interrupts();
        return;
      case 7:
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        return;
      default:
        return world_.happen(input_);
    }
  }

  void pause() {
    if (paused_) return;
    shared_.running.lock();
    machine_.pause();
    paused_ = true;
  }
  void resume() {
    if (!paused_) return;
    machine_.resume();
    resumed();
  }
  void resumed() {
    if (std::exchange(paused_, false)) shared_.running.unlock();
  }

  /// A machine that has ended runs again. False if it was stopped for good.
  bool begin_anew() {
    if (!machine_.ended()) return true;
    resume();
    (void)machine_.wait();
    if (stopped_) return false;
    if (!machine_.reset()) broken("an ended machine is not reset");
    guest_.port().begin_anew();
    return true;
  }

  void check() {
    world_.calm();
    // One who was not there: what a vCPU found while the other wrote registers may be wrong.
    Guest guest(shared_, 0);
    // The others are left as they are: whatever they do, the bystander works. But the guest may
    // have spoilt it by itself: memory that devices write to, a BAR at the same place.
    if (const auto fault = guest.check(0, kShort); !fault.empty()) {
      guest.calm();
      const auto still = guest.check(0, kLong);
      if (guest.port().over()) return;
      if (!still.empty()) broken(still);
    }
    guest.calm();
    for (unsigned i = 0; i < shared_.devices.size(); ++i) {
      if (const auto fault = guest.check(i, kLong); !fault.empty()) {
        if (guest.port().over()) return;
        broken(std::string(fault) + ": device " + std::to_string(i) + ", kind " +
               std::to_string(static_cast<int>(shared_.devices[i])));
      }
      guest.reset(i);
    }
  }

  World& world_;
  Machine& machine_;
  Shared shared_;
  Guest guest_;
  Input& input_;
  bool paused_ = false;
  bool stopped_ = false;
};

}  // namespace
}  // namespace bellhop::fuzz

/// Input: the machine, then the first vCPU's program with what happens outside, then the second's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bellhop::fuzz;
  static const bool once = [] {
    if (std::getenv("MACHINE_FUZZ_LOG") == nullptr) spdlog::set_level(spdlog::level::off);
    // What is made at the first use is no leak: files, the kernel's signals, the sanitizer's own.
    (void)bellhop::KernelSignal::get();
    Input input({});
    const World first(input);
    return true;
  }();
  (void)once;
  Input input(std::span(data, size));
  const std::size_t before = open_descriptors();
  {
    World world(input);
    if (world.machine() != nullptr) {
      Run(world, input).run();
      world.destroy_machine();
    }
  }
  if (const std::size_t after = open_descriptors(); after != before) {
    broken("descriptors before and after: " + std::to_string(before) + ", " +
           std::to_string(after));
  }
  return 0;
}

#ifdef BELLHOP_UNDER_TSAN
// Two devices that a guest points at one place do race there, and may: what is told of guest RAM is
// no fault of ours. The sanitizer asks here before it tells; what it asks is not instrumented, or
// it would ask about that.
// NOLINTBEGIN(readability-identifier-naming): the names are the sanitizer's
extern "C" int __tsan_get_report_mop(void* report, unsigned long index, int* tid, void** address,
                                     int* size, int* write, int* atomic, void** trace,
                                     unsigned long trace_size);
namespace __tsan {
class ReportDesc;
bool OnReport(const ReportDesc* report, bool suppressed);
__attribute__((no_sanitize_thread)) bool OnReport(const ReportDesc* report, bool suppressed) {
  int ignored = 0;
  void* address = nullptr;
  void* trace = nullptr;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the interface is C's
  (void)__tsan_get_report_mop(const_cast<ReportDesc*>(report), 0, &ignored, &address, &ignored,
                              &ignored, &ignored, &trace, 1);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t ram = __atomic_load_n(&bellhop::fuzz::guest_ram, __ATOMIC_RELAXED);
  return suppressed || at - ram < bellhop::fuzz::GuestRam::kBytes;
}
}  // namespace __tsan
// NOLINTEND(readability-identifier-naming)
#endif

#include "memory/fault_guard.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

namespace bellhop {

namespace {

/// Written under a mutex, read by the signal handler of any thread. What belongs to a slot that
/// changes is not the handler's: the pages that it asks for are guarded for as long as they are
/// touched.
struct Slot {
  std::atomic<std::uint32_t> version{0};  ///< odd: guards something
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uint64_t> size{0};
  std::atomic<std::uint64_t> page{0};
  std::atomic<int> event{-1};
};

std::array<Slot, FaultGuard::kMaxGuards> slots;
std::atomic<unsigned> slots_used{0};  ///< none behind these was ever taken
std::mutex changing;

/// Puts zeroes where the page at `address` was. False: nobody guards it, or the host has none.
bool replace_page(std::uintptr_t address) noexcept {
  const unsigned used = slots_used.load(std::memory_order_acquire);
  for (unsigned i = 0; i < used; ++i) {
    Slot& slot = slots[i];
    const std::uint32_t version = slot.version.load(std::memory_order_acquire);
    const std::uintptr_t begin = slot.begin.load(std::memory_order_relaxed);
    const std::uint64_t size = slot.size.load(std::memory_order_relaxed);
    const std::uint64_t page = slot.page.load(std::memory_order_relaxed);
    const int event = slot.event.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (version % 2 == 0 || slot.version.load(std::memory_order_relaxed) != version) continue;
    if (address - begin >= size) continue;
    const std::uintptr_t start = begin + (address - begin) / page * page;
    void* const at = reinterpret_cast<void*>(start);  // NOLINT: the fault's own address
    if (::mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED) {
      return false;
    }
    const std::uint64_t one = 1;
    (void)!::write(event, &one, sizeof one);  // one of ours: does not block
    return true;
  }
  return false;
}

/// Only what a signal handler may call.
void on_fault(int signal, siginfo_t* info, void* /*context*/) {
  const int saved = errno;
  const bool fault = info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR;
  if (!fault || !replace_page(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    // The access faults again, or who sent it does so once more, and that is the end.
    ::signal(signal, SIG_DFL);
    if (!fault) ::raise(signal);
  }
  errno = saved;
}

}  // namespace

Status FaultGuard::install() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, nullptr) != 0) return fail_errno("cannot catch SIGBUS");
  return {};
}

Result<FaultGuard> FaultGuard::guard(std::byte* begin, std::uint64_t size, std::uint64_t page,
                                     const EventFd& faulted) {
  const std::lock_guard<std::mutex> hold(changing);
  for (unsigned i = 0; i < kMaxGuards; ++i) {
    Slot& slot = slots[i];
    const std::uint32_t version = slot.version.load(std::memory_order_relaxed);
    if (version % 2 != 0) continue;
    slot.begin.store(reinterpret_cast<std::uintptr_t>(begin), std::memory_order_relaxed);
    slot.size.store(size, std::memory_order_relaxed);
    slot.page.store(page, std::memory_order_relaxed);
    slot.event.store(faulted.get(), std::memory_order_relaxed);
    slot.version.store(version + 1, std::memory_order_release);
    if (i >= slots_used.load(std::memory_order_relaxed)) {
      slots_used.store(i + 1, std::memory_order_release);
    }
    return FaultGuard(static_cast<int>(i));
  }
  return fail(fmt::format("more than {} regions of other processes' memory", kMaxGuards));
}

FaultGuard::~FaultGuard() {
  if (slot_ < 0) return;
  const std::lock_guard<std::mutex> hold(changing);
  slots[static_cast<unsigned>(slot_)].version.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace bellhop

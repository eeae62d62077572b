#include "testing/store_watch.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace bellhop::testing {

namespace {

StoreWatch* active_watch = nullptr;
constexpr greg_t kTrapFlag = 0x100;

struct sigaction replace(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(signal, &action, &before) != 0) std::abort();
  return before;
}

}  // namespace

struct StoreWatch::Handlers {
  static void on_fault(int /*signal*/, siginfo_t* info, void* context) {
    const auto* const at = static_cast<std::byte*>(info->si_addr);
    const bool ours = std::ranges::any_of(active_watch->memory_, [&](const auto& part) {
      return at >= part.data() && at < part.data() + part.size();
    });
    if (!ours) {
      ::signal(SIGSEGV, SIG_DFL);  // the same access faults again
      return;
    }
    active_watch->protect(false);
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
  }
  static void on_step(int /*signal*/, siginfo_t* /*info*/, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
    active_watch->stored_();
    active_watch->protect(true);
  }
};

StoreWatch::StoreWatch(std::vector<std::span<std::byte>> memory, std::function<void()> stored)
    : memory_(std::move(memory)), stored_(std::move(stored)) {}

StoreWatch::~StoreWatch() = default;

void StoreWatch::protect(bool on) const {
  for (const auto& part : memory_) {
    if (::mprotect(part.data(), part.size(), on ? PROT_READ : PROT_READ | PROT_WRITE) != 0) {
      std::abort();
    }
  }
}

void StoreWatch::run(const std::function<void()>& code) {
  active_watch = this;
  const auto fault = replace(SIGSEGV, Handlers::on_fault);
  const auto step = replace(SIGTRAP, Handlers::on_step);
  protect(true);
  code();
  protect(false);
  (void)::sigaction(SIGSEGV, &fault, nullptr);
  (void)::sigaction(SIGTRAP, &step, nullptr);
  active_watch = nullptr;
}

}  // namespace bellhop::testing

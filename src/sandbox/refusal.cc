#include "sandbox/refusal.h"

#include <poll.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "sandbox/system_calls.h"

namespace bellhop::sandbox {

namespace {

constexpr int kNumbers = 512;
constexpr std::size_t kLongestName = 32;
constexpr std::size_t kThreadName = 16;  // TASK_COMM_LEN

using Name = std::array<char, kLongestName>;

void (*before_end)() noexcept = nullptr;
thread_local std::array<char, kThreadName> thread_name{};
thread_local ThreadKind thread_kind = ThreadKind::kOther;

const std::array<Name, kNumbers>& call_names() noexcept {
  static const std::array<Name, kNumbers> made = [] {
    std::array<Name, kNumbers> names{};
    for (int number = 0; number < kNumbers; ++number) {
      char* const name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
      if (name == nullptr) continue;
      std::strncpy(names[static_cast<std::size_t>(number)].data(), name, kLongestName - 1);
      std::free(name);  // NOLINT(cppcoreguidelines-no-malloc): the library's way
    }
    return names;
  }();
  return made;
}

/// A line made without the help of anything that may allocate or lock.
class Line {
 public:
  Line& operator<<(std::string_view text) noexcept {
    const std::size_t taken = std::min(text.size(), text_.size() - size_);
    std::copy_n(text.data(), taken, text_.data() + size_);
    size_ += taken;
    return *this;
  }
  Line& operator<<(int number) noexcept {
    if (number >= 10) *this << number / 10;
    const char digit = static_cast<char>('0' + number % 10);
    return *this << std::string_view(&digit, 1);
  }
  Line& hex(unsigned long long number) noexcept {
    if (number >= 16) hex(number / 16);
    const char digit = "0123456789abcdef"[number % 16];
    return *this << std::string_view(&digit, 1);
  }
  /// Not if who reads is so slow that this thread would wait.
  void write() const noexcept {
    pollfd standard_error{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&standard_error, 1, 0) <= 0) return;
    (void)!::write(STDERR_FILENO, text_.data(), size_);
  }

 private:
  std::array<char, 256> text_{};
  std::size_t size_ = 0;
};

void on_refusal(int /*signal*/, siginfo_t* info, void* context) {
  if (before_end != nullptr) before_end();
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto argument = [&registers](int which) {
    return static_cast<unsigned long long>(registers[which]);
  };
  Line line;
  line << "bellhop: seccomp: thread \"" << thread_name.data() << "\" (" << name_of(thread_kind)
       << "): system call " << info->si_syscall << " (" << call_name(info->si_syscall) << ": 0x";
  line.hex(argument(REG_RDI)) << " 0x";
  line.hex(argument(REG_RSI)) << " 0x";
  line.hex(argument(REG_RDX)) << ") refused (--seccomp log tells and goes on)\n";
  line.write();
  // Once more: with the signal's default, which is the end.
  ::syscall(info->si_syscall, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
            registers[REG_R10], registers[REG_R8], registers[REG_R9]);
  // Who sent SIGSYS without a refused call gets what it wanted, too.
  ::raise(SIGSYS);
}

}  // namespace

Status tell_refusals(void (*before)() noexcept) {
  before_end = before;
  (void)call_names();
  struct sigaction action {};
  action.sa_sigaction = on_refusal;
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return fail_errno("cannot catch SIGSYS");
  return {};
}

void name_this_thread(ThreadKind kind) noexcept {
  thread_kind = kind;
  (void)::pthread_getname_np(::pthread_self(), thread_name.data(), thread_name.size());
}

const char* call_name(int number) noexcept {
  return number < 0 || number >= kNumbers ? ""
                                          : call_names()[static_cast<std::size_t>(number)].data();
}

}  // namespace bellhop::sandbox

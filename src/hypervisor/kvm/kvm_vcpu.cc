#include "hypervisor/kvm/kvm_vcpu.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

#include "hypervisor/kvm/kvm_abi.h"

namespace bellhop {
namespace {

constexpr int kKickSignal = SIGUSR1;
/// Of the host, one after the other and a millisecond apart, until a vCPU's run is given up.
constexpr unsigned kMaxRefusals = 200;

// The signal only has to make KVM_RUN return; what it means is in kicked_.
void install_kick_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigemptyset(&action.sa_mask);
    ::sigaction(kKickSignal, &action, nullptr);
  });
}

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type, bool long_mode) {
  kvm_segment segment{};
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = long_mode ? 1 : 0;
  segment.db = long_mode ? 0 : 1;
  return segment;
}

kvm_segment task_segment(std::uint16_t selector, std::uint64_t base, std::uint32_t limit) {
  kvm_segment segment{};
  segment.base = base;
  segment.limit = limit;
  segment.selector = selector;
  segment.type = 0xb;  // busy TSS
  segment.present = 1;
  return segment;
}

bool is_io(std::uint32_t exit_reason) {
  return exit_reason == KVM_EXIT_IO || exit_reason == KVM_EXIT_MMIO;
}

constexpr std::uint8_t kCodeType = 0xb;  // execute, read, accessed
constexpr std::uint8_t kDataType = 0x3;  // read, write, accessed
constexpr std::uint64_t kCr0Pe = 1U << 0U;
constexpr std::uint64_t kCr0Mp = 1U << 1U;
constexpr std::uint64_t kCr0Et = 1U << 4U;
constexpr std::uint64_t kCr0Pg = 1U << 31U;
constexpr std::uint64_t kCr4Pae = 1U << 5U;
constexpr std::uint64_t kCr4OsFxsr = 1U << 9U;
constexpr std::uint64_t kEferLme = 1U << 8U;
constexpr std::uint64_t kEferLma = 1U << 10U;

void set_segments(kvm_sregs& sregs, const BootRegisters& registers) {
  sregs.cs = flat_segment(registers.code_selector, kCodeType,
                          registers.mode == BootRegisters::Mode::kLong64);
  const kvm_segment data = flat_segment(registers.data_selector, kDataType, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
}

std::string segment_text(const char* name, const kvm_segment& segment) {
  return fmt::format("{} {:04x} base {:016x} limit {:08x} type {:x} dpl {} l {} db {}{}\n", name,
                     segment.selector, segment.base, segment.limit, segment.type, segment.dpl,
                     segment.l, segment.db, segment.present != 0 ? "" : " not present");
}

}  // namespace

KvmVcpu::KvmVcpu(UniqueFd fd, unsigned index, const GuestMemory* memory)
    : fd_(std::move(fd)), index_(index), memory_(memory) {}

KvmVcpu::~KvmVcpu() {
  if (run_ != nullptr) ::munmap(run_, run_size_);
}

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(UniqueFd fd, std::size_t run_size, unsigned index,
                                                 std::span<const kvm_cpuid_entry2> cpuid,
                                                 const GuestMemory* memory) {
  install_kick_handler();
  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(std::move(fd), index, memory));
  void* run = ::mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd_.get(), 0);
  if (run == MAP_FAILED) return fail_errno(fmt::format("cannot map the state of vCPU {}", index));
  vcpu->run_ = static_cast<kvm_run*>(run);
  vcpu->run_size_ = run_size;

  std::vector<std::byte> leaves = make_kvm_list(cpuid);
  if (::ioctl(vcpu->fd_.get(), kvm_request::kSetCpuid2, leaves.data()) < 0) {
    return fail_errno("KVM_SET_CPUID2");
  }
  write_back_memory_type(vcpu->fd_.get());
  auto state = VcpuState::capture(vcpu->fd_.get());
  if (!state) return forward(state);
  vcpu->power_on_ = *state;
  return vcpu;
}

// KVM finishes the instruction of an exit for I/O at the next KVM_RUN: in the midst of the guest's
// first one after the reset, if not before.
Status KvmVcpu::finish_io() {
  pio_done_ = pio_count_ = 0;
  // One access of more than 8 bytes, or one string instruction, exits again for each piece.
  constexpr unsigned kMaxPieces = 4096;
  for (unsigned piece = 0; io_pending_ && piece < kMaxPieces; ++piece) {
    std::atomic_ref<__u8>(run_->immediate_exit).store(1);
    const int code = ::ioctl(fd_.get(), KVM_RUN, 0) < 0 ? errno : 0;
    io_pending_ = code == 0 && is_io(run_->exit_reason);
    if (code != 0 && code != EINTR && code != EAGAIN) {
      return fail_errno(fmt::format("vCPU {} cannot finish its instruction", index_), code);
    }
  }
  io_pending_ = false;
  // Unless it is kicked: in the order of take_kick().
  std::atomic_ref<__u8>(run_->immediate_exit).store(0);
  if (kicked_.load()) std::atomic_ref<__u8>(run_->immediate_exit).store(1);
  return {};
}

Status KvmVcpu::reset() {
  if (auto finished = finish_io(); !finished) return finished;
  return power_on_.restore(fd_.get());
}

Status KvmVcpu::set_boot_registers(const BootRegisters& registers) {
  kvm_sregs sregs = power_on_.sregs();
  const bool long_mode = registers.mode == BootRegisters::Mode::kLong64;
  set_segments(sregs, registers);
  if (long_mode) {
    sregs.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Pg;
    sregs.cr3 = registers.cr3;
    sregs.cr4 = kCr4Pae | kCr4OsFxsr;
    sregs.efer = kEferLme | kEferLma;
    sregs.gdt.base = registers.gdt.base;
    sregs.gdt.limit = registers.gdt.limit;
    sregs.idt.base = registers.idt.base;
    sregs.idt.limit = registers.idt.limit;
    sregs.tr = task_segment(registers.task_selector, registers.tss.base, registers.tss.limit);
  } else {
    sregs.cr0 = kCr0Pe | kCr0Et;
    sregs.cr4 = 0;
    sregs.efer = 0;
    sregs.tr = task_segment(0x18, 0, 0x67);
  }
  if (::ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) return fail_errno("KVM_SET_SREGS");

  kvm_regs regs{};
  regs.rip = registers.rip;
  regs.rbx = registers.rbx;
  regs.rsi = registers.rsi;
  regs.rdi = registers.rdi;
  regs.rsp = registers.rsp;
  regs.rflags = 0x2;
  if (::ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) return fail_errno("KVM_SET_REGS");
  return {};
}

void KvmVcpu::note_thread() noexcept {
  static thread_local const pid_t this_thread = [] {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, kKickSignal);
    ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    return static_cast<pid_t>(::syscall(SYS_gettid));
  }();
  // Sequentially consistent, like kick(): either kick() sees this thread and signals it, or KVM_RUN
  // sees immediate_exit.
  if (thread_.load(std::memory_order_relaxed) != this_thread) thread_.store(this_thread);
}

void KvmVcpu::kick() noexcept {
  kicked_.store(true);
  std::atomic_ref<__u8>(run_->immediate_exit).store(1);
  if (const pid_t thread = thread_.load(); thread != 0) {
    ::syscall(SYS_tgkill, ::getpid(), thread, kKickSignal);
  }
}

// Clears immediate_exit before it looks at kicked_, in the opposite order of kick(): a kick that
// comes between the two leaves either kicked_ seen here, or immediate_exit set for the next run.
bool KvmVcpu::take_kick() noexcept {
  std::atomic_ref<__u8>(run_->immediate_exit).store(0);
  return kicked_.exchange(false);
}

Result<VcpuExit> KvmVcpu::run() noexcept {
  if (pio_done_ < pio_count_) return next_pio_element();
  note_thread();
  unsigned refusals = 0;
  while (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    const int code = errno;
    // EAGAIN, once: a secondary vCPU got its INIT or SIPI. Again and again: KVM has no thread of
    // its own to be had.
    if ((code != EINTR && code != EAGAIN) || (code == EAGAIN && ++refusals == kMaxRefusals)) {
      return fail_errno(fmt::format("vCPU {} cannot run{}", index_,
                                    code == EAGAIN ? " (pids.max leaves KVM no thread?)" : ""),
                        code);
    }
    if (take_kick()) {
      VcpuExit exit;
      exit.reason = VcpuExit::Reason::kInterrupted;
      return exit;
    }
    if (refusals > 1) ::usleep(1000);
  }
  io_pending_ = is_io(run_->exit_reason);
  return decode();
}

VcpuExit KvmVcpu::next_pio_element() noexcept {
  const auto& io = run_->io;
  auto* bytes = reinterpret_cast<std::byte*>(run_) + io.data_offset;
  VcpuExit exit;
  exit.reason =
      io.direction == KVM_EXIT_IO_IN ? VcpuExit::Reason::kPioIn : VcpuExit::Reason::kPioOut;
  exit.address = io.port;
  exit.data = {bytes + std::size_t{io.size} * pio_done_, io.size};
  ++pio_done_;
  exits_.store(exits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return exit;
}

Result<VcpuExit> KvmVcpu::decode() noexcept {
  using Reason = VcpuExit::Reason;
  if (run_->exit_reason == KVM_EXIT_IO) {
    pio_done_ = 0;
    pio_count_ = run_->io.count;
    return next_pio_element();
  }
  exits_.store(exits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  VcpuExit exit;
  switch (run_->exit_reason) {
    case KVM_EXIT_MMIO:
      exit.reason = run_->mmio.is_write != 0 ? Reason::kMmioWrite : Reason::kMmioRead;
      exit.address = run_->mmio.phys_addr;
      exit.data = {reinterpret_cast<std::byte*>(run_->mmio.data),
                   std::min<std::size_t>(run_->mmio.len, sizeof run_->mmio.data)};
      break;
    case KVM_EXIT_SHUTDOWN:
      exit.reason = Reason::kShutdown;
      break;
    case KVM_EXIT_HLT:
      exit.reason = Reason::kHalt;
      break;
    case KVM_EXIT_SYSTEM_EVENT:
      exit.reason = Reason::kSystemEvent;
      exit.detail = run_->system_event.type;
      break;
    case KVM_EXIT_INTERNAL_ERROR:
      exit.reason = Reason::kInternalError;
      exit.detail = run_->internal.suberror;
      break;
    case KVM_EXIT_FAIL_ENTRY:
      exit.reason = Reason::kInternalError;
      exit.detail = run_->fail_entry.hardware_entry_failure_reason;
      break;
    default:
      exit.reason = Reason::kOther;
      exit.detail = run_->exit_reason;
      break;
  }
  return exit;
}

Result<std::uint64_t> KvmVcpu::time_stamp_offset() {
  std::uint64_t offset = 0;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<std::uint64_t>(&offset);
  if (::ioctl(fd_.get(), KVM_GET_DEVICE_ATTR, &attribute) < 0) {
    return fail_errno("KVM_GET_DEVICE_ATTR of the time-stamp counter");
  }
  return offset;
}

std::string KvmVcpu::dump() {
  kvm_regs r{};
  kvm_sregs s{};
  if (::ioctl(fd_.get(), KVM_GET_REGS, &r) < 0 || ::ioctl(fd_.get(), KVM_GET_SREGS, &s) < 0) {
    return fmt::format("vCPU {}: registers cannot be read\n", index_);
  }
  std::string text = fmt::format(
      "vCPU {} after exit {}\n"
      "rip {:016x} rflags {:08x}\n"
      "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n"
      "rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n"
      "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\n"
      "r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\n"
      "cr0 {:x} cr2 {:x} cr3 {:x} cr4 {:x} efer {:x} apic base {:x}\n"
      "gdt {:x}+{:x} idt {:x}+{:x}\n",
      index_, run_->exit_reason, r.rip, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp,
      r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, s.cr0, s.cr2, s.cr3, s.cr4,
      s.efer, s.apic_base, s.gdt.base, s.gdt.limit, s.idt.base, s.idt.limit);
  text += segment_text("cs", s.cs) + segment_text("ss", s.ss) + segment_text("ds", s.ds) +
          segment_text("tr", s.tr);

  kvm_translation where{};
  where.linear_address = s.cs.base + r.rip;
  if (memory_ == nullptr || ::ioctl(fd_.get(), KVM_TRANSLATE, &where) < 0 || where.valid == 0) {
    return text + "code: not mapped\n";
  }
  // Up to the end of the page: what follows may be mapped elsewhere.
  constexpr std::uint64_t kPage = 4096;
  std::array<std::byte, 16> code{};
  const std::size_t length =
      std::min<std::uint64_t>(code.size(), kPage - where.physical_address % kPage);
  if (!memory_->read(GuestAddress(where.physical_address), std::span(code).first(length))) {
    return text + fmt::format("code: not in RAM ({:#x})\n", where.physical_address);
  }
  text += fmt::format("code at {:#x}:", where.physical_address);
  for (std::size_t i = 0; i < length; ++i) text += fmt::format(" {:02x}", code[i]);
  return text + "\n";
}

}  // namespace bellhop

#include "probe/floor_guest.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace bellhop {
namespace {

// The guest's 64 KiB, by offset. They are mapped at kVirtualBase.
constexpr std::uint64_t kPml4 = 0x0000;
constexpr std::uint64_t kPdpt = 0x1000;
constexpr std::uint64_t kPd = 0x2000;
constexpr std::uint64_t kPt = 0x3000;
constexpr std::uint64_t kGdt = 0x4000;
constexpr std::uint64_t kIdt = 0x5000;
constexpr std::uint64_t kKernelStackTop = 0x7000;
constexpr std::uint64_t kUserStackTop = 0x8000;
constexpr std::uint64_t kKernelCode = 0x8000;
constexpr std::uint64_t kHandler = 0x8400;
constexpr std::uint64_t kUserCode = 0x8800;
constexpr std::uint64_t kReadyCell = 0x9000;
constexpr std::uint64_t kInterruptCell = 0x9040;
constexpr std::uint64_t kTss = 0xa000;  // with a bit for each port behind it
constexpr std::uint64_t kResults = 0xd000;
static_assert(kResults + FloorGuest::kMaxWrites * 4 <= FloorGuest::kRamSize);

constexpr std::uint32_t kVirtualBase = 0x10000;
constexpr std::uint32_t kVirtualDevice = 0x40000;
constexpr std::uint32_t kVirtualLapic = 0x41000;
constexpr std::uint64_t kLapicPage = 0xfee00000;
constexpr std::uint32_t kLapicEoi = kVirtualLapic + 0xb0;
constexpr std::uint32_t kLapicSpurious = kVirtualLapic + 0xf0;
constexpr std::uint32_t kLapicEnable = 0x1ff;

constexpr std::uint64_t kPagePresent = 1U << 0U;
constexpr std::uint64_t kPageWrite = 1U << 1U;
constexpr std::uint64_t kPageUser = 1U << 2U;
constexpr std::uint64_t kPageUncached = 1U << 4U;
constexpr std::uint64_t kPageMask = 0xfff;

constexpr std::uint64_t kUserCodeSelector = 0x23;
constexpr std::uint64_t kUserDataSelector = 0x1b;
constexpr std::uint64_t kFlagsIopl3 = 0x3002;
constexpr std::uint64_t kFlagInterrupts = 0x200;

constexpr std::array<std::uint64_t, 5> kSegments{
    0,
    0x00af'9b00'0000'ffff,  // 0x08 kernel code, 64 bits
    0x00cf'9300'0000'ffff,  // 0x10 kernel data
    0x00cf'f300'0000'ffff,  // 0x18 user data
    0x00af'fb00'0000'ffff,  // 0x20 user code, 64 bits
};
// User mode may use every port: by the flags' IOPL, and by a bitmap of zeroes, since not every
// hypervisor that interprets IRETQ takes the IOPL over.
constexpr std::uint64_t kTssRsp0 = 4;
constexpr std::uint64_t kTssBitmapBase = 0x66;
constexpr std::uint16_t kTssSize = 0x68;
constexpr std::uint16_t kPortBytes = 0x2000;
constexpr std::uint16_t kTssLimit = kTssSize + kPortBytes;  // one byte of ones ends the bitmap

constexpr std::uint32_t virtual_address(std::uint64_t offset) {
  return kVirtualBase + static_cast<std::uint32_t>(offset);
}

// Writes past the end cannot happen: all offsets are constants within kRamSize.
void put64(const GuestSpan& ram, std::uint64_t offset, std::uint64_t value) {
  (void)ram.store(offset, value);
}

void put_code(const GuestSpan& ram, std::uint64_t offset, const MachineCode& code) {
  ram.part(offset).copy_in(code.bytes());
}

void put_page_tables(const GuestSpan& ram, std::uint64_t base, std::uint64_t device_page) {
  constexpr std::uint64_t kTable = kPagePresent | kPageWrite | kPageUser;
  put64(ram, kPml4, (base + kPdpt) | kTable);
  put64(ram, kPdpt, (base + kPd) | kTable);
  put64(ram, kPd, (base + kPt) | kTable);
  const auto map = [&](std::uint32_t address, std::uint64_t page, std::uint64_t flags) {
    put64(ram, kPt + std::uint64_t{address / 4096} * 8, page | kPagePresent | kPageWrite | flags);
  };
  for (std::uint64_t offset = 0; offset < FloorGuest::kRamSize; offset += 4096) {
    map(virtual_address(offset), base + offset, kPageUser);
  }
  map(kVirtualDevice, device_page, kPageUser | kPageUncached);
  map(kVirtualLapic, kLapicPage, kPageUncached);
}

void put_descriptors(const GuestSpan& ram) {
  for (std::size_t i = 0; i < kSegments.size(); ++i) put64(ram, kGdt + i * 8, kSegments[i]);
  const std::uint64_t tss = virtual_address(kTss);
  // A busy 64-bit TSS, 16 bytes: base and limit are cut into pieces.
  put64(ram, kGdt + 0x28,
        kTssLimit | (tss & 0xff'ffff) << 16U | std::uint64_t{0x8b} << 40U |
            (tss >> 24U & 0xff) << 56U);
  put64(ram, kGdt + 0x30, tss >> 32U);
  put64(ram, kTss + kTssRsp0, virtual_address(kKernelStackTop));
  (void)ram.store(kTss + kTssBitmapBase, kTssSize);
  (void)ram.store(kTss + kTssLimit, std::uint8_t{0xff});
}

void put_gate(const GuestSpan& ram, std::uint8_t vector, std::uint64_t handler) {
  constexpr std::uint64_t kInterruptGate = 0x8e00;
  put64(ram, kIdt + std::uint64_t{vector} * 16,
        (handler & 0xffff) | std::uint64_t{0x08} << 16U | kInterruptGate << 32U |
            (handler >> 16U & 0xffff) << 48U);
  put64(ram, kIdt + std::uint64_t{vector} * 16 + 8, handler >> 32U);
}

MachineCode done_code() {
  MachineCode code;
  code.out_byte(FloorGuest::kDonePort).spin_forever();
  return code;
}

void append(MachineCode& to, const MachineCode& from) {
  for (const std::byte byte : from.bytes()) to.raw({static_cast<std::uint8_t>(byte)});
}

MachineCode user_writes(const FloorGuest::Writes& writes) {
  MachineCode code;
  code.mov_esi(virtual_address(kResults));
  code.mov_edi(kVirtualDevice + static_cast<std::uint32_t>(writes.address & kPageMask));
  code.loop_begin(writes.count).begin_timing().mov_eax(writes.value);
  if (writes.space == IoSpace::kPio) {
    code.mov_edx(static_cast<std::uint32_t>(writes.address));
    if (writes.width == 2) code.raw({0x66});
    code.raw({static_cast<std::uint8_t>(writes.width == 1 ? 0xee : 0xef)});  // out dx, a
  } else {
    if (writes.width == 2) code.raw({0x66});
    code.raw({static_cast<std::uint8_t>(writes.width == 1 ? 0x88 : 0x89), 0x07});  // mov [rdi], a
  }
  code.end_timing().loop_back();
  append(code, done_code());
  return code;
}

MachineCode timed_loop(std::uint32_t iterations) {
  MachineCode code;
  code.mov_esi(virtual_address(kResults)).begin_timing().loop_begin(iterations).loop_back();
  code.end_timing();
  append(code, done_code());
  return code;
}

}  // namespace

Result<FloorGuest> FloorGuest::create(const GuestMemory& memory, GuestAddress base) {
  const auto ram = memory.span(base, kRamSize);
  if (!ram || (base.value() & kPageMask) != 0) {
    return fail(fmt::format("the measuring guest needs 64 KiB of RAM, not at {:#x}", base.value()));
  }
  return FloorGuest(*ram, base);
}

Status FloorGuest::load(Vcpu& vcpu, const MachineCode& kernel, const MachineCode& user,
                        std::uint64_t device_page, bool interrupts) {
  ram_.fill(std::byte{0});
  put_page_tables(ram_, base_.value(), device_page);
  put_descriptors(ram_);
  put_code(ram_, kKernelCode, kernel);
  put_code(ram_, kUserCode, user);
  // The frame that IRETQ takes to user mode.
  constexpr std::uint64_t kFrame = kKernelStackTop - 40;
  put64(ram_, kFrame, virtual_address(kUserCode));
  put64(ram_, kFrame + 8, kUserCodeSelector);
  put64(ram_, kFrame + 16, kFlagsIopl3 | (interrupts ? kFlagInterrupts : 0));
  put64(ram_, kFrame + 24, virtual_address(kUserStackTop));
  put64(ram_, kFrame + 32, kUserDataSelector);

  BootRegisters registers;
  registers.mode = BootRegisters::Mode::kLong64;
  registers.rip = virtual_address(kKernelCode);
  registers.rsp = virtual_address(kFrame);
  registers.cr3 = base_.value() + kPml4;
  registers.gdt = {virtual_address(kGdt), 0x37};
  registers.idt = {virtual_address(kIdt), 0xfff};
  registers.tss = {virtual_address(kTss), kTssLimit};
  return vcpu.set_boot_registers(registers);
}

Status FloorGuest::run_until_done(Vcpu& vcpu, const ExitHandler& handler) {
  using Reason = VcpuExit::Reason;
  for (;;) {
    auto exit = vcpu.run();
    if (!exit) return forward(exit);
    switch (exit->reason) {
      case Reason::kPioOut:
        if (exit->address == kDonePort) {
          // Lets the hypervisor finish the OUT, so that other registers can be set.
          vcpu.kick();
          auto finished = vcpu.run();
          if (!finished) return forward(finished);
          return {};
        }
        [[fallthrough]];
      case Reason::kPioIn:
      case Reason::kMmioRead:
      case Reason::kMmioWrite:
        if (handler) handler(*exit);
        break;
      case Reason::kInterrupted:
        return fail("the measuring guest was interrupted", kEndedByUser);
      default:
        return fail(fmt::format("the measuring guest crashed (exit {}, {}): {}",
                                static_cast<int>(exit->reason), exit->detail, vcpu.dump()));
    }
  }
}

Result<std::vector<std::uint32_t>> FloorGuest::measure_writes(Vcpu& vcpu, const Writes& writes,
                                                              const ExitHandler& handler) {
  if (writes.count == 0 || writes.count > kMaxWrites ||
      (writes.width != 1 && writes.width != 2 && writes.width != 4) ||
      writes.address % writes.width != 0) {
    return fail("writes that the measuring guest cannot make", EINVAL);
  }
  const std::uint64_t page = writes.space == IoSpace::kMmio ? writes.address & ~kPageMask : 0;
  MachineCode kernel;
  kernel.iretq();
  if (auto status = load(vcpu, kernel, user_writes(writes), page, false); !status) {
    return forward(status);
  }
  if (auto status = run_until_done(vcpu, handler); !status) return forward(status);
  std::vector<std::uint32_t> ticks(writes.count);
  ram_.part(kResults).copy_out(std::as_writable_bytes(std::span(ticks)));
  return ticks;
}

Result<std::uint32_t> FloorGuest::measure_loop(Vcpu& vcpu, Ring ring, std::uint32_t iterations) {
  MachineCode kernel;
  if (ring == Ring::kKernel) {
    kernel = timed_loop(iterations);
  } else {
    kernel.iretq();
  }
  if (auto status = load(vcpu, kernel, timed_loop(iterations), 0, false); !status) {
    return forward(status);
  }
  if (auto status = run_until_done(vcpu, {}); !status) return forward(status);
  std::uint32_t ticks = 0;
  (void)ram_.load(kResults, ticks);
  return ticks;
}

Status FloorGuest::prepare_interrupts(Vcpu& vcpu, std::uint8_t vector) {
  MachineCode kernel;
  kernel.store32(kLapicSpurious, kLapicEnable).iretq();
  MachineCode user;
  user.store32(virtual_address(kReadyCell), 1).spin_forever();
  if (auto status = load(vcpu, kernel, user, 0, true); !status) return status;
  MachineCode handler;
  handler.increment32(virtual_address(kInterruptCell)).store32(kLapicEoi, 0).iretq();
  put_code(ram_, kHandler, handler);
  put_gate(ram_, vector, virtual_address(kHandler));
  return {};
}

bool FloorGuest::ready() const noexcept {
  return ram_.atomic16(kReadyCell).load(std::memory_order_acquire) != 0;
}

std::uint16_t FloorGuest::interrupts() const noexcept {
  return ram_.atomic16(kInterruptCell).load(std::memory_order_acquire);
}

}  // namespace bellhop

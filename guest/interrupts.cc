#include "guest/interrupts.h"

#include "guest/clock.h"

extern "C" {
extern std::uint64_t interrupt_table[512];
extern volatile std::uint32_t interrupt_counts[];
extern const std::uint64_t exception_stubs_address;
extern char interrupt_stubs[];
extern char tick_stub[];
extern char spurious_stub[];
}

namespace bellhop::guest {
namespace {

constexpr std::uint64_t kLapic = 0xfee00000;
constexpr std::uint64_t kLapicSpurious = kLapic + 0xf0;
constexpr std::uint64_t kLapicTaskPriority = kLapic + 0x80;
constexpr std::uint64_t kLapicCommandLow = kLapic + 0x300;
constexpr std::uint64_t kLapicCommandHigh = kLapic + 0x310;
constexpr std::uint64_t kLapicTimer = kLapic + 0x320;
constexpr std::uint64_t kLapicTimerInitial = kLapic + 0x380;
constexpr std::uint64_t kLapicTimerDivide = kLapic + 0x3e0;
constexpr std::uint32_t kLapicEnable = 0x100;
constexpr std::uint32_t kTimerPeriodic = 1U << 17;
constexpr std::uint32_t kDivideBy128 = 0xa;
// KVM's LAPIC counts nanoseconds; elsewhere the tick is slower or faster, which only matters to
// how soon a lost interrupt is noticed.
constexpr std::uint32_t kTickCount = 250'000'000 / 128;
constexpr std::uint8_t kTickVector = 0x3f;
constexpr std::uint8_t kSpuriousVector = 0xff;
constexpr std::uint32_t kCommandPending = 1U << 12;
constexpr std::uint32_t kCommandInit = 0x4500;
constexpr std::uint32_t kCommandStartup = 0x4600;
constexpr std::uint32_t kCommandFixed = 0x4000;

constexpr std::uint64_t kIoapics[] = {0xfec00000, 0xfec10000};
constexpr std::uint32_t kIoapicInputs = 24;

constexpr std::uint64_t kGatePresent = 0x8e00;
constexpr std::uint64_t kKernelCode = 0x10;

void set_gate(unsigned vector, std::uint64_t handler) {
  interrupt_table[2 * vector] = (handler & 0xffff) | (kKernelCode << 16) | (kGatePresent << 32) |
                                ((handler >> 16) & 0xffff) << 48;
  interrupt_table[2 * vector + 1] = handler >> 32;
}

void wait_command_taken() {
  for (unsigned tries = 0; tries < 1000; ++tries) {
    if ((mmio_read32(kLapicCommandLow) & kCommandPending) == 0) return;
  }
}

void send_command(std::uint32_t id, std::uint32_t command) {
  mmio_write32(kLapicCommandHigh, id << 24);
  mmio_write32(kLapicCommandLow, command);
  wait_command_taken();
}

}  // namespace

const volatile std::uint32_t* interrupt_counter(unsigned index) {
  return &interrupt_counts[16 * index];
}

void interrupts_init() {
  for (unsigned i = 0; i < 32; ++i) set_gate(i, exception_stubs_address + 16 * i);
  const auto tick = reinterpret_cast<std::uint64_t>(tick_stub);
  for (unsigned i = 32; i < 256; ++i) set_gate(i, tick);
  const auto stubs = reinterpret_cast<std::uint64_t>(interrupt_stubs);
  for (unsigned i = 0; i < kCountedVectors; ++i) set_gate(kFirstVector + i, stubs + 32 * i);
  set_gate(kSpuriousVector, reinterpret_cast<std::uint64_t>(spurious_stub));
}

void lapic_init() {
  mmio_write32(kLapicTaskPriority, 0);
  mmio_write32(kLapicSpurious, kLapicEnable | kSpuriousVector);
  mmio_write32(kLapicTimerDivide, kDivideBy128);
  mmio_write32(kLapicTimer, kTimerPeriodic | kTickVector);
  mmio_write32(kLapicTimerInitial, kTickCount);
}

void lapic_start_processor(std::uint32_t id, std::uint8_t page) {
  send_command(id, kCommandInit);
  delay_us(200);
  send_command(id, kCommandStartup | page);
  delay_us(200);
  send_command(id, kCommandStartup | page);
}

void lapic_send(std::uint32_t id, std::uint8_t vector) { send_command(id, kCommandFixed | vector); }

bool ioapic_route(std::uint32_t gsi, std::uint8_t vector) {
  const std::uint32_t which = gsi / kIoapicInputs;
  if (which >= sizeof(kIoapics) / sizeof(kIoapics[0])) return false;
  const std::uint64_t select = kIoapics[which];
  const std::uint64_t window = select + 0x10;
  const std::uint32_t entry = 0x10 + 2 * (gsi % kIoapicInputs);
  mmio_write32(select, entry + 1);
  mmio_write32(window, 0);  // LAPIC id 0
  mmio_write32(select, entry);
  mmio_write32(window, vector);  // fixed, physical, active high, edge, not masked
  return true;
}

}  // namespace bellhop::guest

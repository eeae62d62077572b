#include "guest/clock.h"

#include "guest/cmdline.h"
#include "guest/cpu.h"

extern "C" {
extern volatile std::uint32_t kvm_clock[8];
extern const std::uint32_t cpuid_max_leaf;
extern const std::uint32_t cpuid_15[3];
extern const std::uint32_t cpuid_hypervisor_tsc_khz;
extern const std::uint32_t cpuid_hypervisor_max_leaf;
extern const std::uint32_t cpuid_hypervisor_signature;
}

namespace bellhop::guest {
namespace {

constinit std::uint64_t khz = 0;
constinit const char* source = "";

constexpr std::uint64_t kLowestKhz = 100'000;
constexpr std::uint64_t kHighestKhz = 20'000'000;

bool accept(std::uint64_t value, const char* from) {
  if (value < kLowestKhz || value > kHighestKhz) return false;
  khz = value;
  source = from;
  return true;
}

// KVM's clock: ns = ((tsc << shift) * multiplier) >> 32, so kHz = 10^6 * 2^32 / multiplier, shifted
// back.
std::uint64_t kvm_clock_khz() {
  const std::uint32_t multiplier = kvm_clock[6];
  const auto shift = static_cast<std::int8_t>(kvm_clock[7] & 0xff);
  if (multiplier == 0) return 0;
  std::uint64_t value = (std::uint64_t{1'000'000} << 32) / multiplier;
  return shift >= 0 ? value >> shift : value << -shift;
}

// Channel 2 of the PIT, gated by port 0x61, counts 1193182 Hz: 23864 ticks are 20 ms.
std::uint64_t measure_by_pit() {
  constexpr unsigned kTicks = 23864;
  const auto gate = static_cast<std::uint8_t>((in8(0x61) & 0xfc) | 1);
  out8(0x43, 0xb0);
  out8(0x42, kTicks & 0xff);
  out8(0x61, gate);
  out8(0x42, kTicks >> 8);
  const std::uint64_t begin = read_tsc();
  while ((in8(0x61) & 0x20) == 0) {
    if (read_tsc() - begin > 4'000'000'000) return 0;
  }
  return (read_tsc() - begin) / 20;
}

}  // namespace

void clock_init() {
  constexpr std::uint32_t kKvm = 0x4b4d564b;
  const std::uint64_t told = cmdline_number("tsc_khz", 0);
  if (told != 0 && accept(told, "cmdline")) return;
  if (cpuid_hypervisor_signature == kKvm && cpuid_hypervisor_max_leaf >= 0x40000010 &&
      accept(cpuid_hypervisor_tsc_khz, "cpuid 0x40000010")) {
    return;
  }
  if (accept(kvm_clock_khz(), "kvm clock")) return;
  if (cpuid_max_leaf >= 0x15 && cpuid_15[0] != 0 &&
      accept(std::uint64_t{cpuid_15[2]} * cpuid_15[1] / cpuid_15[0] / 1000, "cpuid 0x15")) {
    return;
  }
  if (accept(measure_by_pit(), "pit")) return;
  khz = 2'000'000;
  source = "guess";
}

std::uint64_t tsc_khz() { return khz; }
const char* tsc_source() { return source; }

std::uint64_t cycles_to_ns(std::uint64_t cycles) {
  // Split, so that hours do not overflow.
  return cycles / khz * 1'000'000 + cycles % khz * 1'000'000 / khz;
}

void delay_us(std::uint64_t us) {
  const std::uint64_t end = read_tsc() + us_to_cycles(us);
  while (read_tsc() < end) cpu_relax();
}

}  // namespace bellhop::guest

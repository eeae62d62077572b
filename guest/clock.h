#pragma once

#include <cstdint>

// Time by TSC.
namespace bellhop::guest {

/// Finds the TSC's frequency: cmdline tsc_khz=, CPUID 0x40000010, KVM's clock, CPUID 0x15, and a
/// measurement against the PIT at last.
void clock_init();

/// Cycles in a millisecond.
std::uint64_t tsc_khz();
/// Where `tsc_khz` comes from.
const char* tsc_source();

/// Microseconds in thousandths. Good for differences up to 2^40 cycles.
std::uint64_t cycles_to_ns(std::uint64_t cycles);

inline std::uint64_t us_to_cycles(std::uint64_t us) { return us * tsc_khz() / 1000; }

void delay_us(std::uint64_t us);

}  // namespace bellhop::guest

#pragma once

#include <cstdint>

#include "guest/cpu.h"

// Vectors, the IDT, the LAPIC of each vCPU and the IOAPIC. The handlers themselves are in boot.S;
// each counted vector has a counter of its own that only one vCPU's handler writes.
namespace bellhop::guest {

inline constexpr unsigned kCountedVectors = 32;
inline constexpr std::uint8_t kFirstVector = 0x40;

/// Counter of interrupts at vector kFirstVector + index.
const volatile std::uint32_t* interrupt_counter(unsigned index);

/// Fills the IDT. Boot processor, once.
void interrupts_init();

/// Enables this vCPU's LAPIC, and a tick of about 4 Hz that bounds every wait.
void lapic_init();

/// Starts the processor with LAPIC id `id` at the real-mode page `page` (address / 4096).
void lapic_start_processor(std::uint32_t id, std::uint8_t page);

/// Sends an interrupt with `vector` to the vCPU with LAPIC id `id`.
void lapic_send(std::uint32_t id, std::uint8_t vector);

/// Routes `gsi` to `vector` on the vCPU 0, edge triggered. False if no IOAPIC has that input.
bool ioapic_route(std::uint32_t gsi, std::uint8_t vector);

/// Message address and data that raise `vector` on the vCPU with LAPIC id `id`.
constexpr std::uint32_t msi_address(std::uint32_t id) { return 0xfee00000U | (id << 12); }
constexpr std::uint32_t msi_data(std::uint8_t vector) { return vector; }

}  // namespace bellhop::guest

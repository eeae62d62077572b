#pragma once

#include <cstdint>

// The instructions that C++ has no words for, and the symbols that boot.S shares.
namespace bellhop::guest {

inline constexpr unsigned kMaxCpus = 16;

inline void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline void out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline std::uint16_t in16(std::uint16_t port) {
  std::uint16_t value;
  asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline std::uint32_t in32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}

// Device registers. One plain MOV each, so that every KVM can decode the access.
inline void mmio_write8(std::uint64_t address, std::uint8_t value) {
  asm volatile("movb %0, (%1)" : : "q"(value), "r"(address) : "memory");
}
inline void mmio_write16(std::uint64_t address, std::uint16_t value) {
  asm volatile("movw %0, (%1)" : : "r"(value), "r"(address) : "memory");
}
inline void mmio_write32(std::uint64_t address, std::uint32_t value) {
  asm volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}
inline void mmio_write64(std::uint64_t address, std::uint64_t value) {
  asm volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
}
inline std::uint8_t mmio_read8(std::uint64_t address) {
  std::uint8_t value;
  asm volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
  return value;
}
inline std::uint16_t mmio_read16(std::uint64_t address) {
  std::uint16_t value;
  asm volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}
inline std::uint32_t mmio_read32(std::uint64_t address) {
  std::uint32_t value;
  asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}

inline std::uint64_t read_tsc() {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (std::uint64_t{high} << 32) | low;
}

inline void cpu_relax() { asm volatile("pause" ::: "memory"); }

/// Full barrier; cheaper than MFENCE and just as good for write-back memory.
inline void full_fence() { asm volatile("lock addl $0, (%%rsp)" ::: "memory", "cc"); }

template <typename T>
T load_acquire(const volatile T* address) {
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}
template <typename T>
T load_relaxed(const volatile T* address) {
  return __atomic_load_n(address, __ATOMIC_RELAXED);
}
template <typename T>
void store_release(volatile T* address, T value) {
  __atomic_store_n(address, value, __ATOMIC_RELEASE);
}
template <typename T>
void store_relaxed(volatile T* address, T value) {
  __atomic_store_n(address, value, __ATOMIC_RELAXED);
}

}  // namespace bellhop::guest

extern "C" {
/// Halts this vCPU unless `*counter` differs from `seen`; returns after any interrupt.
void wait_for_interrupt(const volatile std::uint32_t* counter, std::uint32_t seen);
[[noreturn]] void bsp_main(std::uint64_t cpu);
[[noreturn]] void ap_main(std::uint64_t cpu);
[[noreturn]] void panic_main();
}

#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace bellhop {

/// A few x86-64 instructions, put together byte by byte: all the assembler that the probe needs.
/// Virtual addresses are absolute and below 2 GiB.
class MachineCode {
 public:
  MachineCode& raw(std::initializer_list<std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) code_.push_back(std::byte{byte});
    return *this;
  }
  MachineCode& imm32(std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) code_.push_back(std::byte(value >> shift));
    return *this;
  }

  MachineCode& mov_eax(std::uint32_t value) { return raw({0xb8}).imm32(value); }
  MachineCode& mov_ecx(std::uint32_t value) { return raw({0xb9}).imm32(value); }
  MachineCode& mov_edx(std::uint32_t value) { return raw({0xba}).imm32(value); }
  MachineCode& mov_esi(std::uint32_t value) { return raw({0xbe}).imm32(value); }
  MachineCode& mov_edi(std::uint32_t value) { return raw({0xbf}).imm32(value); }
  MachineCode& store32(std::uint32_t address, std::uint32_t value) {
    return raw({0xc7, 0x04, 0x25}).imm32(address).imm32(value);
  }
  MachineCode& increment32(std::uint32_t address) { return raw({0xff, 0x04, 0x25}).imm32(address); }
  /// Time stamp into r9d (and edx).
  MachineCode& begin_timing() { return raw({0x0f, 0x31, 0x41, 0x89, 0xc1}); }
  /// Ticks since begin_timing() to [rsi], and rsi to the next place.
  MachineCode& end_timing() {
    return raw({0x0f, 0x31, 0x44, 0x29, 0xc8, 0x89, 0x06, 0x48, 0x83, 0xc6, 0x04});
  }
  /// Repeats what lies between here and loop_back() `count` times; counts down in ecx.
  MachineCode& loop_begin(std::uint32_t count) {
    mov_ecx(count);
    loop_start_ = code_.size();
    return *this;
  }
  MachineCode& loop_back() {
    raw({0xff, 0xc9, 0x0f, 0x85});  // dec ecx; jnz
    return imm32(static_cast<std::uint32_t>(loop_start_ - (code_.size() + 4)));
  }
  MachineCode& out_byte(std::uint16_t port) { return mov_edx(port).raw({0xee}); }
  MachineCode& spin_forever() { return raw({0xf3, 0x90, 0xeb, 0xfc}); }  // pause; jmp to it
  MachineCode& iretq() { return raw({0x48, 0xcf}); }

  [[nodiscard]] std::span<const std::byte> bytes() const { return code_; }

 private:
  std::vector<std::byte> code_;
  std::size_t loop_start_ = 0;
};

}  // namespace bellhop

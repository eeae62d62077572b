#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// A 16550A serial port at eight ports: enough for a console and for Linux' probing. What is sent
/// is gone at once, whatever the speed. Registers from any vCPU thread, input() from any thread.
class Serial16550 final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 8;
  static constexpr unsigned kCom1Irq = 4;

  /// Takes what the guest sends; on the vCPU thread that sent it, with the port's lock held. False
  /// if there is no room for more: the transmitter is busy until output_has_room().
  using Output = std::function<bool(std::span<const std::byte>)>;
  /// Told when the interrupt line rises or falls; on any of the threads, with the lock held.
  using Line = std::function<void(bool level)>;

  explicit Serial16550(Output output, Line line = nullptr);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

  /// What the guest will receive. Returns how many bytes there was room for.
  std::size_t input(std::span<const std::byte> bytes) noexcept;
  /// After an Output that said false. Any thread.
  void output_has_room() noexcept;
  /// Back to the state after power-on; input not yet read is dropped.
  void reset() noexcept;

 private:
  struct Registers {
    std::uint8_t interrupt_enable = 0;
    std::uint8_t line_control = 3;  // 8 bits, no parity
    std::uint8_t modem_control = 8;
    std::uint8_t scratch = 0;
    std::uint16_t divisor = 12;  // 9600 baud
    bool fifo = false;
    bool send_interrupt = false;  // the transmitter became empty and nobody has seen it
  };

  [[nodiscard]] std::uint8_t read_register(unsigned index) noexcept;
  void write_register(unsigned index, std::uint8_t value) noexcept;
  void send(std::uint8_t value) noexcept;
  bool receive(std::byte value) noexcept;
  [[nodiscard]] std::uint8_t interrupt_cause() const noexcept;
  void update_line() noexcept;

  std::mutex lock_;
  Output output_;
  Line line_;
  Registers registers_;
  bool busy_ = false;  ///< not the chip's alone: a reset leaves it
  bool level_ = false;
  std::array<std::byte, 1024> received_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace bellhop

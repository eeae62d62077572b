#include "machine/platform/serial_16550.h"

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

// Registers by port; the first two are the divisor's while DLAB is set.
enum : unsigned {
  kData = 0,
  kInterruptEnable = 1,
  kInterruptIdentity = 2,  // read; FIFO control when written
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr std::uint8_t kEnableReceived = 1;
constexpr std::uint8_t kEnableEmpty = 2;
constexpr std::uint8_t kEnableMask = 0x0f;

constexpr std::uint8_t kIdentityNone = 1;
constexpr std::uint8_t kIdentityEmpty = 2;
constexpr std::uint8_t kIdentityReceived = 4;
constexpr std::uint8_t kIdentityFifos = 0xc0;

constexpr std::uint8_t kFifoEnable = 1;
constexpr std::uint8_t kFifoClearReceived = 2;

constexpr std::uint8_t kDivisorLatch = 0x80;

constexpr std::uint8_t kModemDtr = 1;
constexpr std::uint8_t kModemRts = 2;
constexpr std::uint8_t kModemOut1 = 4;
constexpr std::uint8_t kModemOut2 = 8;
constexpr std::uint8_t kModemLoop = 0x10;
constexpr std::uint8_t kModemMask = 0x1f;

constexpr std::uint8_t kStatusReceived = 1;
constexpr std::uint8_t kStatusEmpty = 0x60;  // transmitter and its holding register

constexpr std::uint8_t kStatusCts = 0x10;
constexpr std::uint8_t kStatusDsr = 0x20;
constexpr std::uint8_t kStatusRi = 0x40;
constexpr std::uint8_t kStatusDcd = 0x80;

}  // namespace

Serial16550::Serial16550(Output output, Line line)
    : output_(std::move(output)), line_(std::move(line)) {}

void Serial16550::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  // A wider access is one of each register, as on the byte-wide bus that the chip was made for.
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = std::byte{read_register(static_cast<unsigned>((offset + i) % kPorts))};
  }
  update_line();
}

void Serial16550::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    write_register(static_cast<unsigned>((offset + i) % kPorts),
                   std::to_integer<std::uint8_t>(data[i]));
  }
  update_line();
}

std::uint8_t Serial16550::read_register(unsigned index) noexcept {
  const bool latch = (registers_.line_control & kDivisorLatch) != 0;
  switch (index) {
    case kData: {
      if (latch) return static_cast<std::uint8_t>(registers_.divisor);
      if (count_ == 0) return 0;
      const auto value = std::to_integer<std::uint8_t>(received_[first_]);
      first_ = (first_ + 1) % received_.size();
      --count_;
      return value;
    }
    case kInterruptEnable:
      return latch ? static_cast<std::uint8_t>(registers_.divisor >> 8)
                   : registers_.interrupt_enable;
    case kInterruptIdentity: {
      const std::uint8_t cause = interrupt_cause();
      // To be told is to have seen it.
      if (cause == kIdentityEmpty) registers_.send_interrupt = false;
      return registers_.fifo ? cause | kIdentityFifos : cause;
    }
    case kLineControl:
      return registers_.line_control;
    case kModemControl:
      return registers_.modem_control;
    case kLineStatus:
      return static_cast<std::uint8_t>((busy_ ? 0U : kStatusEmpty) |
                                       (count_ != 0 ? kStatusReceived : 0U));
    case kModemStatus: {
      const unsigned control = registers_.modem_control;
      if ((control & kModemLoop) == 0) return kStatusDcd | kStatusDsr | kStatusCts;
      unsigned status = 0;
      if ((control & kModemDtr) != 0) status |= kStatusDsr;
      if ((control & kModemRts) != 0) status |= kStatusCts;
      if ((control & kModemOut1) != 0) status |= kStatusRi;
      if ((control & kModemOut2) != 0) status |= kStatusDcd;
      return static_cast<std::uint8_t>(status);
    }
    default:
      return registers_.scratch;
  }
}

void Serial16550::write_register(unsigned index, std::uint8_t value) noexcept {
  const bool latch = (registers_.line_control & kDivisorLatch) != 0;
  switch (index) {
    case kData:
      if (latch) {
        registers_.divisor = static_cast<std::uint16_t>((registers_.divisor & 0xff00) | value);
      } else {
        send(value);
      }
      break;
    case kInterruptEnable:
      if (latch) {
        registers_.divisor =
            static_cast<std::uint16_t>((registers_.divisor & 0x00ff) | unsigned{value} << 8);
        break;
      }
      // An empty transmitter is worth an interrupt as soon as the driver wants it.
      if ((value & ~registers_.interrupt_enable & kEnableEmpty) != 0) {
        registers_.send_interrupt = !busy_;
      }
      registers_.interrupt_enable = value & kEnableMask;
      break;
    case kInterruptIdentity:
      registers_.fifo = (value & kFifoEnable) != 0;
      if ((value & kFifoClearReceived) != 0) count_ = 0;
      break;
    case kLineControl:
      registers_.line_control = value;
      break;
    case kModemControl:
      registers_.modem_control = value & kModemMask;
      break;
    case kScratch:
      registers_.scratch = value;
      break;
    default:
      break;  // the status registers are read-only
  }
}

void Serial16550::send(std::uint8_t value) noexcept {
  const std::byte byte{value};
  if ((registers_.modem_control & kModemLoop) != 0) {
    receive(byte);
  } else if (output_) {
    busy_ = !output_(std::span(&byte, 1));
  }
  registers_.send_interrupt = !busy_;
}

void Serial16550::output_has_room() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!std::exchange(busy_, false)) return;
  registers_.send_interrupt = true;
  update_line();
}

bool Serial16550::receive(std::byte value) noexcept {
  if (count_ == received_.size()) return false;
  received_[(first_ + count_) % received_.size()] = value;
  ++count_;
  return true;
}

std::uint8_t Serial16550::interrupt_cause() const noexcept {
  if ((registers_.interrupt_enable & kEnableReceived) != 0 && count_ != 0) return kIdentityReceived;
  if ((registers_.interrupt_enable & kEnableEmpty) != 0 && registers_.send_interrupt) {
    return kIdentityEmpty;
  }
  return kIdentityNone;
}

void Serial16550::update_line() noexcept {
  const bool level = interrupt_cause() != kIdentityNone;
  if (level == std::exchange(level_, level)) return;
  if (line_) line_(level);
}

std::size_t Serial16550::input(std::span<const std::byte> bytes) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  std::size_t taken = 0;
  while (taken < bytes.size() && receive(bytes[taken])) ++taken;
  update_line();
  return taken;
}

void Serial16550::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  registers_ = Registers{};
  count_ = 0;
  update_line();
}

}  // namespace bellhop

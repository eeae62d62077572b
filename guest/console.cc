#include "guest/console.h"

#include "guest/cpu.h"

namespace bellhop::guest {
namespace {

constexpr std::uint16_t kSerial = 0x3f8;
constexpr std::uint16_t kInterruptEnable = kSerial + 1;
constexpr std::uint16_t kFifoControl = kSerial + 2;
constexpr std::uint16_t kLineControl = kSerial + 3;
constexpr std::uint16_t kLineStatus = kSerial + 5;
constexpr std::uint8_t kTransmitEmpty = 0x20;
constexpr std::uint8_t kFifoEnable = 0x01;
constexpr std::uint8_t kEightBits = 0x03;
constexpr unsigned kFifoBytes = 16;

constexpr std::uint16_t kExitPort = 0xf4;
constexpr std::uint16_t kMarkPort = 0xf8;
constexpr std::uint16_t kResetPort = 0xcf9;

}  // namespace

void console_init() {
  out8(kInterruptEnable, 0);
  out8(kLineControl, kEightBits);
  out8(kFifoControl, kFifoEnable);
}

JsonLine::JsonLine(const char* event) {
  put("{\"bellhop_guest\":1");
  text("event", event);
}

void JsonLine::put(char c) {
  if (length_ < kCapacity) buffer_[length_++] = c;
}

void JsonLine::put(const char* text) {
  while (*text != '\0') put(*text++);
}

void JsonLine::put_number(std::uint64_t value) {
  char digits[20];
  std::size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) put(digits[--count]);
}

void JsonLine::put_key(const char* key) {
  if (!first_) put(',');
  first_ = false;
  put('"');
  put(key);
  put("\":");
}

JsonLine& JsonLine::text(const char* key, const char* value) {
  std::size_t length = 0;
  while (value[length] != '\0') ++length;
  return text(key, Text{value, length});
}

JsonLine& JsonLine::text(const char* key, Text value) {
  put_key(key);
  put('"');
  for (std::size_t i = 0; i < value.length && i < 200; ++i) {
    const char c = value.data[i];
    put(c < ' ' || c > '~' || c == '"' || c == '\\' ? '?' : c);
  }
  put('"');
  return *this;
}

JsonLine& JsonLine::number(const char* key, std::uint64_t value) {
  put_key(key);
  put_number(value);
  return *this;
}

JsonLine& JsonLine::thousandths(const char* key, std::uint64_t value) {
  number(key, value / 1000);
  put('.');
  put(static_cast<char>('0' + value / 100 % 10));
  put(static_cast<char>('0' + value / 10 % 10));
  put(static_cast<char>('0' + value % 10));
  return *this;
}

JsonLine& JsonLine::hex(const char* key, std::uint64_t value) {
  put_key(key);
  put("\"0x");
  for (int shift = 60; shift >= 0; shift -= 4) put("0123456789abcdef"[(value >> shift) & 15]);
  put('"');
  return *this;
}

JsonLine& JsonLine::boolean(const char* key, bool value) {
  put_key(key);
  put(value ? "true" : "false");
  return *this;
}

JsonLine& JsonLine::open(const char* key) {
  put_key(key);
  put('{');
  first_ = true;
  return *this;
}

JsonLine& JsonLine::close() {
  put('}');
  first_ = false;
  return *this;
}

void JsonLine::send() {
  put("}\n");
  for (std::size_t i = 0; i < length_; ++i) {
    // The FIFO takes 16 bytes once it is empty: one look for all of them.
    if (i % kFifoBytes == 0) {
      for (unsigned tries = 0; tries < 10000; ++tries) {
        if ((in8(kLineStatus) & kTransmitEmpty) != 0) break;
      }
    }
    out8(kSerial, static_cast<std::uint8_t>(buffer_[i]));
  }
  length_ = 0;
}

void write_mark(Mark mark) { out32(kMarkPort, static_cast<std::uint32_t>(mark)); }

void leave(std::uint32_t status) {
  JsonLine("bye").number("status", status).send();
  out32(kExitPort, status);
  // Still here: no exit port. Ask the chipset for a reset, which -no-reboot turns into an exit.
  out8(kResetPort, 0x02);
  out8(kResetPort, 0x06);
  static constinit volatile std::uint32_t never = 0;
  while (true) wait_for_interrupt(&never, 0);
}

void fail(std::uint32_t status, const char* what) {
  JsonLine("error").text("what", what).send();
  leave(status);
}

}  // namespace bellhop::guest

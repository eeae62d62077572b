#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/cmdline.h"

// What the guest tells the host: JSON lines on the first serial port, and two ports.
namespace bellhop::guest {

void console_init();

/// One line: {"bellhop_guest":1,"event":EVENT,...}, sent as a whole by `send`.
/// Text longer than the buffer is dropped at its end, the line stays well formed only if it fits;
/// every line here does by a wide margin.
class JsonLine {
 public:
  explicit JsonLine(const char* event);

  JsonLine& text(const char* key, const char* value);
  JsonLine& text(const char* key, Text value);
  JsonLine& number(const char* key, std::uint64_t value);
  /// `value` in thousandths, written with three decimals.
  JsonLine& thousandths(const char* key, std::uint64_t value);
  /// As a quoted 0x number: JSON numbers are not exact to 64 bits.
  JsonLine& hex(const char* key, std::uint64_t value);
  JsonLine& boolean(const char* key, bool value);
  JsonLine& open(const char* key);
  JsonLine& close();
  void send();

 private:
  static constexpr std::size_t kCapacity = 2000;

  void put(char c);
  void put(const char* text);
  void put_number(std::uint64_t value);
  void put_key(const char* key);

  char buffer_[kCapacity];
  std::size_t length_ = 0;
  bool first_ = false;
};

/// Marks of the measured time, by a port (and by the lines "begin" and "end").
enum class Mark : std::uint32_t { kBegin = 1, kEnd = 2 };
void write_mark(Mark mark);

/// Says "bye" and leaves through the exit port; halts for ever where nobody listens.
[[noreturn]] void leave(std::uint32_t status);

/// An "error" line and `leave(status)`.
[[noreturn]] void fail(std::uint32_t status, const char* what);

inline constexpr std::uint32_t kExitDone = 0;
inline constexpr std::uint32_t kExitFailed = 1;
inline constexpr std::uint32_t kExitUsage = 2;

}  // namespace bellhop::guest

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bellhop {

/// What a person at the terminal says to Bellhop rather than to the guest: Ctrl-A, then a letter,
/// as users of QEMU know it.
class EscapeKeys {
 public:
  enum class Order : std::uint8_t { kNone, kQuit, kPowerButton, kHelp };

  /// Takes what was typed, up to the first order; `taken` is how much that was. What is for the
  /// guest is appended to `out`: everything but orders, Ctrl-A twice being one Ctrl-A.
  Order take(std::span<const std::byte> typed, std::size_t& taken, std::vector<std::byte>& out);

  static constexpr const char* kHelp =
      "\r\nCtrl-A x  end the machine at once, as if its power was cut\r\n"
      "Ctrl-A p  press its power button: its guest shuts down\r\n"
      "Ctrl-A h  this help\r\n"
      "Ctrl-A Ctrl-A  one Ctrl-A for the guest\r\n";

 private:
  bool escaped_ = false;
};

}  // namespace bellhop

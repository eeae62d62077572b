#include "apps/bellhop/escape_keys.h"

namespace bellhop {

namespace {
constexpr std::byte kCtrlA{1};
}

EscapeKeys::Order EscapeKeys::take(std::span<const std::byte> typed, std::size_t& taken,
                                   std::vector<std::byte>& out) {
  for (taken = 0; taken < typed.size(); ++taken) {
    const std::byte key = typed[taken];
    if (!escaped_) {
      if (key == kCtrlA) {
        escaped_ = true;
      } else {
        out.push_back(key);
      }
      continue;
    }
    escaped_ = false;
    switch (std::to_integer<char>(key)) {
      case 'x':
      case 'X':
        ++taken;
        return Order::kQuit;
      case 'p':
      case 'P':
        ++taken;
        return Order::kPowerButton;
      case 'h':
      case 'H':
      case '?':
        ++taken;
        return Order::kHelp;
      case '\1':
        out.push_back(kCtrlA);
        break;
      default:  // nothing of ours: both keys were meant for the guest
        out.push_back(kCtrlA);
        out.push_back(key);
        break;
    }
  }
  return Order::kNone;
}

}  // namespace bellhop

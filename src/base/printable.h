#pragma once

#include <algorithm>
#include <string>

namespace bellhop {

/// What another program said, fit for a terminal: control characters are question marks.
inline std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f; }, '?');
  return text;
}

}  // namespace bellhop

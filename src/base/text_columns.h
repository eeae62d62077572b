#pragma once

#include <cstddef>
#include <string>

namespace bellhop {

/// Columns of a terminal that UTF-8 takes: one for each byte that begins a character.
std::size_t columns_of(const std::string& text);
/// Words in lines of at most so many columns; further lines are indented, and all but the last end
/// with `ending`, such as a shell's " \".
std::string wrap(const std::string& text, std::size_t columns, std::size_t indent,
                 const std::string& ending = "");

}  // namespace bellhop

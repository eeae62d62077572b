#pragma once

#include <string_view>
#include <vector>

namespace bellhop {

/// The parts of `text` between separators; views into it. One more than there are separators.
std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace bellhop

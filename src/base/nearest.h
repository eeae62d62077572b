#pragma once

#include <span>
#include <string_view>

namespace bellhop {

/// Which of `known` was meant by a misspelt `word`: the one that the fewest steps lead to, each a
/// letter left out, added, exchanged for another or with its neighbour; the first of several.
/// Empty: none is near enough, a step for every three letters of the longer and one at least.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace bellhop

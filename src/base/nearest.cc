#include "base/nearest.h"

#include <algorithm>
#include <vector>

namespace bellhop {

namespace {

constexpr std::size_t kMaxWord = 64;  // what is longer was not misspelt

/// Damerau and Levenshtein's distance, where no letter is changed twice.
std::size_t steps_between(std::string_view a, std::string_view b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> table((a.size() + 1) * width);
  const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
    return table[i * width + j];
  };
  for (std::size_t i = 0; i <= a.size(); ++i) at(i, 0) = i;
  for (std::size_t j = 0; j <= b.size(); ++j) at(0, j) = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t exchanged = at(i - 1, j - 1) + (a[i - 1] == b[j - 1] ? 0 : 1);
      at(i, j) = std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, exchanged});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
      }
    }
  }
  return table.back();
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  std::size_t fewest = 0;
  if (word.empty() || word.size() > kMaxWord) return best;
  for (const std::string_view one : known) {
    if (one.size() > kMaxWord) continue;
    const std::size_t steps = steps_between(word, one);
    const std::size_t longer = std::max(word.size(), one.size());
    if (steps > std::max<std::size_t>(longer / 3, 1) || steps >= longer) continue;
    if (best.empty() || steps < fewest) {
      best = one;
      fewest = steps;
    }
  }
  return best;
}

}  // namespace bellhop

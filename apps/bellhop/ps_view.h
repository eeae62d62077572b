#pragma once

#include <span>
#include <string>

#include "apps/bellhop/process_finder.h"

namespace bellhop {

/// A process, and what its API answered (the body of vm.info); empty: it has none, or gave no
/// answer in time. What comes from either is believed for what it says, and no more.
struct ListedProcess {
  FoundProcess found;
  std::string info;
};

/// A table with a heading, a line for each; fit for a terminal.
std::string ps_text(std::span<const ListedProcess> all);
/// A list with an object for each; null is what is not known.
std::string ps_json(std::span<const ListedProcess> all);

}  // namespace bellhop

#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// A pseudo terminal in raw mode: the master, which does not block, and where the other end is.
struct PseudoTerminal {
  UniqueFd master;
  std::string place;  ///< "/dev/pts/7"

  /// Nobody has the other end open then, and the master says so (POLLHUP). `option` begins the
  /// errors: the host gives none.
  static Result<PseudoTerminal> open(const std::string& option);
};

}  // namespace bellhop

#pragma once

#include <string>

#include "base/result.h"

namespace bellhop::bench {

/// All of a file of /proc. Errors: it cannot be read; the text has its path.
Result<std::string> read_proc_file(const std::string& path);

}  // namespace bellhop::bench

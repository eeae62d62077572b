#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// A file that is written at the end of a command, opened at its start: a path that is wrong is
/// told before anybody waits. What was in it stays until write_result(). "-" stands for `standard`,
/// a descriptor. Errors: name the option and the file.
Result<UniqueFd> open_result(std::string_view option, const std::string& path, int standard);
/// Replaces what was in the file.
Status write_result(std::string_view option, const std::string& path, const UniqueFd& file,
                    std::string_view text);

}  // namespace bellhop

#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace bellhop {

/// Whether `path` is a file or block device that can be read; which file it is, in `which` where
/// that is not null. Errors name the option.
Status check_input_file(std::string_view option, const std::string& path,
                        struct stat* which = nullptr);

/// All of a text that a user wrote, at most `most` bytes. Errors name the option: it cannot be
/// read, is no file (a device or a pipe may have no end), or is larger.
Result<std::string> read_input_file(std::string_view option, const std::string& path,
                                    std::size_t most);

}  // namespace bellhop

#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace bellhop {

/// Whether `path` is a file or block device that can be read; which file it is, in `which` where
/// that is not null. Errors name the option.
Status check_input_file(std::string_view option, const std::string& path,
                        struct stat* which = nullptr);

}  // namespace bellhop

#pragma once

#include <optional>

#include "base/property_list.h"
#include "base/result.h"

namespace bellhop {

inline constexpr const char* kLogFormats = "text|json";
inline constexpr const char* kLogFormatHelp =
    "How lines on standard error look: text (default), or a JSON object each";

/// Lines look as --log-format asks from here on, without it as text. Before there are other
/// threads. Errors: it is no format.
Status begin_log(const std::optional<OptionText>& format);

}  // namespace bellhop

#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>

namespace bellhop {

/// What to say of the first word of a command line that nothing takes: that it is no command, no
/// option or too much, and what was meant: the nearest name, or what does the same as the option of
/// QEMU or another VMM. `app` has parsed the line. Empty: there is no such word.
std::optional<std::string> explain_unknown(const CLI::App& app);

}  // namespace bellhop

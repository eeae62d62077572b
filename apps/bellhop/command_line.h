#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bellhop {

/// Parses `words` and runs the commands' callbacks. Returns the exit status if there is nothing
/// more to be done: --help, or what is wrong, which has been told.
std::optional<int> parse_command_line(CLI::App& app, std::vector<std::string> words);

/// Where the process's words are, as main() has got them.
void remember_command_line(std::span<char*> words);
/// From here on others see (in /proc/PID/cmdline) the program's name and the last `count` words.
void show_last_words(std::size_t count) noexcept;

/// Nothing of the environment is left in memory but the variables that a machine goes by: PATH,
/// TERM, TZ, and systemd's of sockets and the journal.
void clear_environment() noexcept;

}  // namespace bellhop

#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>
#include <utility>

namespace bellhop {

/// Adds an option of one value to a command. Given again it is refused: which of the two was meant
/// cannot be known. `take` gets the value before the command's callback runs.
void add_scalar(CLI::App& command, const std::string& name, const std::string& help,
                const std::string& type, std::function<void(std::string)> take);

/// The same into a variable, which outlives the command.
template <class Text>
void add_scalar(CLI::App& command, const std::string& name, Text& value, const std::string& help,
                const std::string& type) {
  add_scalar(command, name, help, type, [&value](const std::string& text) { value = text; });
}

}  // namespace bellhop

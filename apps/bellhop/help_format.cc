#include "apps/bellhop/help_format.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "base/split.h"

namespace bellhop {

namespace {

constexpr std::string_view kFold = "    ";  // before the rest of a long line
constexpr std::size_t kNames = 30;          // columns of names, blanks included

std::string entry(std::string_view name, std::string_view description) {
  std::string text = "  " + std::string(name);
  std::size_t column = text.size();
  const auto new_line = [&] {
    text += '\n';
    text.append(kNames, ' ');
    column = kNames;
  };
  if (column >= kNames) {
    new_line();
  } else {
    text.append(kNames - column, ' ');
    column = kNames;
  }
  while (!description.empty()) {
    const std::size_t length = std::min(description.find(' '), description.size());
    if (column > kNames) {
      if (column + 1 + length > HelpFormat::kColumns) {
        new_line();
      } else {
        text += ' ';
        ++column;
      }
    }
    text += description.substr(0, length);
    column += length;
    description.remove_prefix(std::min(length + 1, description.size()));
  }
  return text + '\n';
}

}  // namespace

std::string HelpFormat::make_option(const CLI::Option* option, bool positional) const {
  return entry(make_option_name(option, positional) + make_option_opts(option),
               make_option_desc(option));
}

std::string HelpFormat::make_subcommand(const CLI::App* command) const {
  return entry(command->get_name(), command->get_description());
}

std::string HelpFormat::make_footer(const CLI::App* command) const {
  const std::string footer = CLI::Formatter::make_footer(command);
  std::string text;
  for (std::string_view line : split(footer, '\n')) {
    for (std::size_t room = kColumns; line.size() > room; room = kColumns - kFold.size()) {
      const auto blank = line.rfind(' ', room);
      if (blank == line.npos || blank <= kFold.size()) break;
      text += std::string(line.substr(0, blank)) + '\n' + std::string(kFold);
      line.remove_prefix(blank + 1);
    }
    text += std::string(line) + '\n';
  }
  text.pop_back();
  return text;
}

}  // namespace bellhop

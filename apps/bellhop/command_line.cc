#include "apps/bellhop/command_line.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <utility>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/suggestion.h"

namespace bellhop {

namespace {

std::span<char*> command_line;

constexpr std::string_view kKept[] = {"PATH=", "TERM=", "TZ=", "LISTEN_", "JOURNAL_STREAM="};

}  // namespace

std::optional<int> parse_command_line(CLI::App& app, std::vector<std::string> words) {
  try {
    std::ranges::reverse(words);  // as CLI11 takes them
    app.parse(std::move(words));
  } catch (const CLI::Success& shown) {  // --help, --version
    return app.exit(shown);
  } catch (const CLI::ExtrasError& error) {
    const auto unknown = explain_unknown(app);
    return report({unknown.value_or(one_line(error.what()) + " (see --help)")}, kUsedWrongly);
  } catch (const CLI::ParseError& error) {
    return report({one_line(error.what()) + " (see --help)"}, kUsedWrongly);
  }
  return std::nullopt;
}

void remember_command_line(std::span<char*> words) { command_line = words; }

void show_last_words(std::size_t count) noexcept {
  if (count == 0 || command_line.size() <= count + 1) return;
  // The words lie one behind the other (execve(2)).
  char* const to = command_line[1];
  char* const from = command_line[command_line.size() - count];
  char* const end = command_line.back() + std::strlen(command_line.back()) + 1;
  if (to >= from || from >= end) return;
  const auto size = static_cast<std::size_t>(end - from);
  std::memmove(to, from, size);
  std::memset(to + size, 0, static_cast<std::size_t>(end - to) - size);
}

void clear_environment() noexcept {
  char** kept = environ;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string_view text(*one);
    if (std::ranges::any_of(kKept, [&](auto name) { return text.starts_with(name); })) {
      *kept++ = *one;
    } else {
      std::memset(*one, 0, text.size());
    }
  }
  *kept = nullptr;
}

}  // namespace bellhop

#pragma once

#include <CLI/App.hpp>
#include <CLI/Formatter.hpp>
#include <string>

namespace bellhop {

/// --help within 100 columns: descriptions of options and commands go on below themselves, and so
/// do long lines of a footer.
class HelpFormat final : public CLI::Formatter {
 public:
  static constexpr std::size_t kColumns = 100;

  [[nodiscard]] std::string make_option(const CLI::Option* option, bool positional) const override;
  [[nodiscard]] std::string make_subcommand(const CLI::App* command) const override;
  [[nodiscard]] std::string make_footer(const CLI::App* command) const override;
};

}  // namespace bellhop

#include <CLI/CLI.hpp>
#include <cstdio>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/completion.h"

namespace bellhop {

void add_completion_command(CLI::App& app, int& exit_status) {
  CLI::App* command =
      app.add_subcommand("completion", "Print a script with which a shell completes this command");
  command->require_subcommand(0, 1);  // as of the program: CLI11 would name no unknown one
  command->footer(
      "Examples:\n"
      "  source <(bellhop completion bash)          for this shell; in ~/.bashrc for all\n"
      "  bellhop completion zsh > ~/.zfunc/_bellhop       a folder of $fpath\n"
      "  bellhop completion fish > ~/.config/fish/completions/bellhop.fish");
  const auto add = [&](const char* shell, auto make) {
    command->add_subcommand(shell, std::string("For ") + shell)->callback([&app, make] {
      print(stdout, make(completion_commands(app)));
    });
  };
  add("bash", bash_completion);
  add("zsh", zsh_completion);
  add("fish", fish_completion);
  command->callback([command, &exit_status] {
    if (command->get_subcommands().empty()) {
      exit_status =
          report({"completion: a shell is missing: bash, zsh or fish (see --help)"}, kUsedWrongly);
    }
  });
}

}  // namespace bellhop

#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace bellhop {

/// What a shell has to know to complete a command line, as the commands' definitions have it.
struct CompletionCommand {
  struct Word {
    enum class Value : std::uint8_t { kNone, kFile, kFolder, kChoice, kOther };

    std::string name;  ///< "--kernel", "run"
    std::string help;
    Value value = Value::kNone;        ///< of an option
    std::vector<std::string> choices;  ///< of kChoice
  };

  std::string path;  ///< "bench blk"; empty: the program
  std::vector<Word> commands;
  std::vector<Word> options;  ///< `--json` and other long ones
};

/// Of the program and all of its commands; what --help does not show is not there.
std::vector<CompletionCommand> completion_commands(const CLI::App& app);

/// Scripts that complete `bellhop`.
std::string bash_completion(const std::vector<CompletionCommand>& commands);
std::string zsh_completion(const std::vector<CompletionCommand>& commands);
std::string fish_completion(const std::vector<CompletionCommand>& commands);

}  // namespace bellhop

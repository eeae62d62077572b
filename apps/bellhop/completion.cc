#include "apps/bellhop/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string_view>

#include "base/split.h"

namespace bellhop {

namespace {

using Word = CompletionCommand::Word;

/// What --help says that an option takes: "FILE", "DIR", "exit|restart", "tty|null|file=PATH".
void read_type(const std::string& type, Word& word) {
  word.value = Word::Value::kOther;
  if (type.starts_with("FILE")) word.value = Word::Value::kFile;
  if (type.starts_with("DIR") || type.starts_with("FOLDER")) word.value = Word::Value::kFolder;
  if (type.find('|') == std::string::npos) return;
  for (const std::string_view part : split(type, '|')) {
    const auto equals = part.find('=');
    const std::string_view name = part.substr(0, equals);
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_-0123456789") != name.npos) return;
    word.choices.emplace_back(part.substr(0, equals == part.npos ? equals : equals + 1));
  }
  word.value = Word::Value::kChoice;
}

void add_command(const CLI::App& app, const std::string& path,
                 std::vector<CompletionCommand>& all) {
  CompletionCommand command;
  command.path = path;
  const auto shown = [](const CLI::App* one) { return !one->get_group().empty(); };
  const auto below = app.get_subcommands(shown);
  for (const CLI::App* one : below) {
    command.commands.push_back(Word{one->get_name(), one->get_description(), {}, {}});
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) {
      Word word{"--" + name, option->get_description(), {}, {}};
      if (option->get_items_expected_max() > 0) read_type(option->get_type_name(), word);
      command.options.push_back(std::move(word));
    }
  }
  all.push_back(std::move(command));
  for (const CLI::App* one : below) {
    add_command(*one, path.empty() ? one->get_name() : path + " " + one->get_name(), all);
  }
}

/// 'It''s' as a shell's word of one kind.
std::string quoted(std::string_view text, std::string_view quote_within) {
  std::string word = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      word += quote_within;
    } else {
      word += letter;
    }
  }
  return word + "'";
}
constexpr std::string_view kShellQuote = R"('\'')";  // bash, zsh
constexpr std::string_view kFishQuote = R"(\')";

/// "'/run'|'bench/blk'": a command and the word that leads to one of its own.
std::string steps(const std::vector<CompletionCommand>& all, std::string_view between) {
  std::string text;
  for (const CompletionCommand& command : all) {
    for (const Word& word : command.commands) {
      text += fmt::format("{}'{}/{}'", text.empty() ? "" : between, command.path, word.name);
    }
  }
  return text;
}

/// The same of options whose values are of a kind: "'run:--kernel'|'run:--initrd'".
std::string options_of(const std::vector<CompletionCommand>& all, Word::Value value) {
  std::string text;
  for (const CompletionCommand& command : all) {
    for (const Word& word : command.options) {
      if (word.value != value) continue;
      text += fmt::format("{}'{}:{}'", text.empty() ? "" : "|", command.path, word.name);
    }
  }
  return text.empty() ? "''" : text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// A case of bash or zsh for each option that takes one of a few words.
template <class Line>
std::string cases_of_choices(const std::vector<CompletionCommand>& all, const Line& line) {
  std::string text;
  for (const CompletionCommand& command : all) {
    for (const Word& word : command.options) {
      if (word.value != Word::Value::kChoice) continue;
      text += fmt::format("    '{}:{}') {}; return ;;\n", command.path, word.name,
                          line(joined(word.choices)));
    }
  }
  return text;
}

constexpr std::string_view kMade = "# Made by `bellhop completion {}`.\n";

}  // namespace

std::vector<CompletionCommand> completion_commands(const CLI::App& app) {
  std::vector<CompletionCommand> all;
  add_command(app, "", all);
  return all;
}

// Bash splits words at '=' and ':' as well.
std::string bash_completion(const std::vector<CompletionCommand>& commands) {
  std::string text = fmt::format(fmt::runtime(kMade), "bash");
  text += fmt::format(
      R"(_bellhop() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command/${{COMP_WORDS[i]}}" in
      {}) command="${{command:+$command }}${{COMP_WORDS[i]}}" ;;
    esac
  done
  COMPREPLY=()
  if [[ $word == = ]]; then
    word=''
  elif [[ $previous == = ]]; then
    previous=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  case "$command:$previous" in
    {})
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    {})
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
{}    {}) return ;;
  esac
  if [[ ${{COMP_WORDS[COMP_CWORD-1]}} == = || ${{COMP_WORDS[COMP_CWORD]}} == = ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$word"); return
  fi
  case "$command" in
)",
      steps(commands, "|"), options_of(commands, Word::Value::kFile),
      options_of(commands, Word::Value::kFolder),
      cases_of_choices(commands,
                       [](const std::string& choices) {
                         return fmt::format(
                             "mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")", choices);
                       }),
      options_of(commands, Word::Value::kOther));
  for (const CompletionCommand& command : commands) {
    text += fmt::format("    '{}') words='", command.path);
    for (const Word& word : command.commands) text += word.name + " ";
    for (const Word& word : command.options) text += word.name + " ";
    text += "' ;;\n";
  }
  text += R"(  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _bellhop bellhop
)";
  return text;
}

std::string zsh_completion(const std::vector<CompletionCommand>& commands) {
  std::string text = "#compdef bellhop\n" + fmt::format(fmt::runtime(kMade), "zsh");
  text += fmt::format(R"(_bellhop() {{
  local command='' i
  local -a names
  for ((i = 2; i < CURRENT; i++)); do
    case "$command/${{words[i]}}" in
      ({}) command="${{command:+$command }}${{words[i]}}" ;;
    esac
  done
  case "$command:${{words[CURRENT-1]}}" in
    ({}) _files; return ;;
    ({}) _files -/; return ;;
{}    ({}) _message value; return ;;
  esac
  case "$command" in
)",
                      steps(commands, "|"), options_of(commands, Word::Value::kFile),
                      options_of(commands, Word::Value::kFolder),
                      cases_of_choices(commands,
                                       [](const std::string& choices) {
                                         return fmt::format("compadd -- {}", choices);
                                       }),
                      options_of(commands, Word::Value::kOther));
  const auto described = [](const Word& word) {
    std::string help;
    for (const char letter : word.help) help += letter == ':' ? "\\:" : std::string(1, letter);
    return quoted(fmt::format("{}:{}", word.name, help), kShellQuote) + " ";
  };
  for (const CompletionCommand& command : commands) {
    text += fmt::format("    ('{}') names=(", command.path);
    for (const Word& word : command.commands) text += described(word);
    for (const Word& word : command.options) text += described(word);
    text += ") ;;\n";
  }
  text += R"(  esac
  _describe bellhop names
}
if [[ ${funcstack[1]} == _bellhop ]]; then
  _bellhop "$@"
else
  compdef _bellhop bellhop
fi
)";
  return text;
}

std::string fish_completion(const std::vector<CompletionCommand>& commands) {
  std::string text = fmt::format(fmt::runtime(kMade), "fish");
  text += fmt::format(R"(function __bellhop_at
    set -l command ''
    for word in (commandline -opc)[2..-1]
        switch "$command/$word"
            case {}
                set command (string trim "$command $word")
        end
    end
    test "$command" = "$argv[1]"
end
complete -c bellhop -f
)",
                      steps(commands, " "));
  for (const CompletionCommand& command : commands) {
    const std::string where =
        fmt::format("complete -c bellhop -n '__bellhop_at \"{}\"'", command.path);
    for (const Word& word : command.commands) {
      text += fmt::format("{} -a {} -d {}\n", where, word.name, quoted(word.help, kFishQuote));
    }
    for (const Word& word : command.options) {
      std::string value;
      if (word.value == Word::Value::kFile) value = " -r -F";
      if (word.value == Word::Value::kFolder) value = " -x -a '(__fish_complete_directories)'";
      if (word.value == Word::Value::kChoice)
        value = fmt::format(" -x -a '{}'", joined(word.choices));
      if (word.value == Word::Value::kOther) value = " -x";
      text += fmt::format("{} -l {}{} -d {}\n", where, word.name.substr(2), value,
                          quoted(word.help, kFishQuote));
    }
  }
  return text;
}

}  // namespace bellhop

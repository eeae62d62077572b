#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/bellhop/ch_arguments.h"
#include "apps/bellhop/command_line.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/help_format.h"
#include "apps/bellhop/terminal_input.h"
#include "base/unique_fd.h"
#include "bellhop_version.h"

namespace {

using namespace bellhop;

/// What is opened next must not become a standard input, output or error.
Status open_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    if (::open("/dev/null", O_RDWR) < 0) return fail_errno("/dev/null: cannot be opened");
  }
  return {};
}

/// Of an exception that nobody catches, on any thread: the host's memory is used up, or a bug.
[[noreturn]] void give_up() {
  TerminalInput::put_terminal_back();
  const char* what = "an error that nobody expected";
  try {
    if (const auto current = std::current_exception()) std::rethrow_exception(current);
  } catch (const std::bad_alloc&) {
    std::fputs("bellhop: the host has no memory left for it\n", stderr);
    ::_exit(kFailed);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "bellhop: %s\n", problem.what());
    std::abort();
  } catch (...) {
  }
  std::fprintf(stderr, "bellhop: %s\n", what);
  std::abort();
}

/// Whoever reads what we print wants all of it: a full disk is a failure.
int finish(int status) {
  errno = 0;
  const bool printed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (printed) return status;
  const Error error = errno != 0 ? fail_errno("standard output: cannot be written").value()
                                 : Error{"standard output: cannot be written"};
  return report(error, status == kDone ? kFailed : status);
}

/// As clients of Cloud Hypervisor's API start it. Nothing: `arguments` is a command line of ours.
std::optional<int> begin_as_ch(std::vector<std::string>& arguments) {
  const auto given = read_ch_arguments(std::span(arguments).subspan(1));
  if (!given) return report(given.error(), kUsedWrongly);
  if (given->words.front() == "--version") {
    print(stdout, fmt::format("{}\n", kChVersion));
    return kDone;
  }
  if (!given->log_file.empty()) {
    const UniqueFd log(::open(given->log_file.c_str(),
                              O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600));
    if (!log.valid() || ::dup2(log.get(), STDERR_FILENO) < 0) {
      return report(fail_errno("--log-file: " + given->log_file).value());
    }
  }
  arguments.resize(1);
  arguments.insert(arguments.end(), given->words.begin(), given->words.end());
  return std::nullopt;
}

int parse_and_run(std::vector<std::string> arguments) {
  if (arguments.empty()) arguments.emplace_back("bellhop");  // execve(2) allows it
  if (is_ch_name(arguments.front())) {
    if (const auto ended = begin_as_ch(arguments)) return *ended;
  }
  CLI::App app{
      "Bellhop: a virtual machine monitor for Linux/KVM, and the measure of its doorbells"};
  app.name("bellhop");
  app.formatter(std::make_shared<HelpFormat>());  // before the commands, which inherit it
  app.set_version_flag("--version", "bellhop " BELLHOP_VERSION);
  app.require_subcommand(0, 1);  // none is found out below: CLI11 would name no unknown one
  app.footer(kExitStatusHelp);

  int exit_status = kDone;
  add_run_command(app, exit_status);
  add_serve_command(app, exit_status);
  add_jail_command(app, exit_status);
  add_ctl_command(app, exit_status);
  add_top_command(app, exit_status);
  add_ps_command(app, exit_status);
  add_probe_command(app, exit_status);
  add_bench_command(app, exit_status);
  add_explain_command(app, exit_status);
  add_completion_command(app, exit_status);
  arguments.erase(arguments.begin());
  if (const auto ended = parse_command_line(app, std::move(arguments))) return *ended;
  if (app.get_subcommands().empty()) {
    return report({"a subcommand is missing: run, serve, jail, ctl, top, ps, probe, bench or "
                   "explain (see --help)"},
                  kUsedWrongly);
  }
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  remember_command_line({argv, static_cast<std::size_t>(argc)});
  std::set_terminate(give_up);
  ::signal(SIGXFSZ, SIG_IGN);  // a disk at the limit of file sizes is an I/O error of its guest's
  if (auto opened = open_standard_descriptors(); !opened) return report(opened.error(), kFailed);
  try {
    return finish(parse_and_run({argv, argv + argc}));
  } catch (const std::bad_alloc&) {
    return report({"the host has no memory left for it"}, kFailed);
  } catch (const std::exception& problem) {  // of a library: what it tried is in its text
    return report({problem.what()}, kFailed);
  }
}

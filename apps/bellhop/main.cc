#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/help_format.h"
#include "apps/bellhop/suggestion.h"
#include "apps/bellhop/terminal_input.h"
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

int parse_and_run(int argc, char** argv) {
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
  add_ctl_command(app, exit_status);
  add_top_command(app, exit_status);
  add_ps_command(app, exit_status);
  add_probe_command(app, exit_status);
  add_bench_command(app, exit_status);
  add_explain_command(app, exit_status);
  add_completion_command(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& shown) {  // --help, --version
    return app.exit(shown);
  } catch (const CLI::ExtrasError& error) {
    const auto unknown = explain_unknown(app);
    return report({unknown.value_or(one_line(error.what()) + " (see --help)")}, kUsedWrongly);
  } catch (const CLI::ParseError& error) {
    return report({one_line(error.what()) + " (see --help)"}, kUsedWrongly);
  }
  if (app.get_subcommands().empty()) {
    return report(
        {"a subcommand is missing: run, serve, ctl, top, ps, probe, bench or explain (see --help)"},
        kUsedWrongly);
  }
  return exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  std::set_terminate(give_up);
  ::signal(SIGXFSZ, SIG_IGN);  // a disk at the limit of file sizes is an I/O error of its guest's
  if (auto opened = open_standard_descriptors(); !opened) return report(opened.error(), kFailed);
  try {
    return finish(parse_and_run(argc, argv));
  } catch (const std::bad_alloc&) {
    return report({"the host has no memory left for it"}, kFailed);
  } catch (const std::exception& problem) {  // of a library: what it tried is in its text
    return report({problem.what()}, kFailed);
  }
}

#include <CLI/CLI.hpp>

#include <cstdio>

#include "apps/bellhop/commands.h"
#include "bellhop_version.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Bellhop: a virtual machine monitor for Linux/KVM, and the measure of its doorbells"};
  app.name("bellhop");
  app.set_version_flag("--version", "bellhop " BELLHOP_VERSION);
  app.require_subcommand(0, 1);  // none is found out below: CLI11 would name no unknown one
  app.footer(bellhop::kExitStatusHelp);

  int exit_status = bellhop::kDone;
  bellhop::add_run_command(app, exit_status);
  bellhop::add_probe_command(app, exit_status);
  bellhop::add_bench_command(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& shown) {  // --help, --version
    return app.exit(shown);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "bellhop: %s (see --help)\n", bellhop::one_line(error.what()).c_str());
    return bellhop::kUsedWrongly;
  }
  if (app.get_subcommands().empty()) {
    return bellhop::report({"a subcommand is missing: run, probe or bench (see --help)"},
                           bellhop::kUsedWrongly);
  }
  return exit_status;
}

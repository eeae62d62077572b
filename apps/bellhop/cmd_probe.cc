#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bellhop/commands.h"
#include "bellhop_version.h"
#include "probe/probe.h"

namespace bellhop {
namespace {

struct ProbeArguments {
  std::string json;
  std::string cpus;
  bool quick = false;
};

int write_json(const ProbeReport& report, const std::string& path) {
  const std::string text = to_json(report).dump(2) + "\n";
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return kDone;
  }
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) return bellhop::report({"--json " + path + ": cannot be written"}, kFailed);
  return kDone;
}

int probe(const ProbeArguments& arguments) {
  ProbeOptions options;
  options.version = BELLHOP_VERSION;
  options.floors = !arguments.quick;
  if (!arguments.cpus.empty()) {
    auto cpus = parse_cpu_list(arguments.cpus);
    if (!cpus)
      return report({"--cpus " + arguments.cpus + ": " + cpus.error().message}, kUsedWrongly);
    options.cpus = std::move(*cpus);
  }
  const ProbeReport result = probe_host(options);
  if (arguments.json != "-") std::fputs(to_text(result).c_str(), stdout);
  return arguments.json.empty() ? kDone : write_json(result, arguments.json);
}

}  // namespace

void add_probe_command(CLI::App& app, int& exit_status) {
  auto arguments = std::make_shared<ProbeArguments>();
  CLI::App* command = app.add_subcommand(
      "probe", "What this host offers: KVM, ioeventfds, irqfd, io_uring, and what a kick costs");
  command->add_option("--json", arguments->json, "Write the figures to FILE, - for standard output")
      ->type_name("FILE");
  command->add_option("--cpus", arguments->cpus, "Measure on these CPUs, as 0,2-3 (default: all)")
      ->type_name("LIST");
  command->add_flag("--quick", arguments->quick, "Look, but measure nothing");
  command->footer(
      "Examples:\n"
      "  bellhop probe                 a table\n"
      "  bellhop probe --json -        the same figures for a program\n"
      "  bellhop probe --cpus 2,3      measured on two CPUs that are kept free\n"
      "What the host lacks is part of the answer: the exit status is 0 all the same.");
  command->callback([arguments, &exit_status] { exit_status = probe(*arguments); });
}

}  // namespace bellhop

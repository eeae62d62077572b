#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/result_file.h"
#include "apps/bellhop/scalar_option.h"
#include "bellhop_version.h"
#include "probe/probe.h"

namespace bellhop {
namespace {

struct ProbeArguments {
  std::string json;
  std::string cpus;
  bool quick = false;
};

int probe(const ProbeArguments& arguments) {
  ProbeOptions options;
  options.version = BELLHOP_VERSION;
  options.floors = !arguments.quick;
  if (!arguments.cpus.empty()) {
    auto cpus = parse_cpu_list(arguments.cpus);
    if (!cpus) return report({"--cpus: " + cpus.error().message});
    options.cpus = std::move(*cpus);
  }
  UniqueFd json;
  if (!arguments.json.empty()) {
    auto opened = open_result("--json", arguments.json, STDOUT_FILENO);
    if (!opened) return report(opened.error());
    json = std::move(*opened);
  }
  const ProbeReport result = probe_host(options);
  if (arguments.json != "-") print(stdout, to_text(result));
  if (!json.valid()) return kDone;
  auto written = write_result("--json", arguments.json, json, to_json(result).dump(2) + "\n");
  return written ? kDone : report(written.error(), kFailed);
}

}  // namespace

void add_probe_command(CLI::App& app, int& exit_status) {
  auto arguments = std::make_shared<ProbeArguments>();
  CLI::App* command = app.add_subcommand(
      "probe", "What this host offers: KVM, ioeventfds, irqfd, io_uring, and what a kick costs");
  add_scalar(*command, "--json", arguments->json,
             "Write the results to FILE, - for standard output", "FILE");
  add_scalar(*command, "--cpus", arguments->cpus, "Measure on these CPUs, as 0,2-3 (default: all)",
             "LIST");
  command->add_flag("--quick", arguments->quick, "Look, but measure nothing");
  command->footer(
      "Examples:\n"
      "  bellhop probe                 a table\n"
      "  bellhop probe --json -        the same for a program\n"
      "  bellhop probe --cpus 2,3      measured on two CPUs that are kept free\n"
      "What the host lacks is part of the answer: the exit status is 0 all the same.");
  command->callback([arguments, &exit_status] { exit_status = probe(*arguments); });
}

}  // namespace bellhop

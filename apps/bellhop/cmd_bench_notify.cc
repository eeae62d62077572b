#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_output.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/signal_waiter.h"
#include "bellhop_version.h"
#include "vmm/bench/notify_bench.h"
#include "vmm/probe/host_facts.h"

namespace bellhop {

namespace {

struct NotifyArguments {
  std::string kicks;
  std::string repeats;
  std::string guest;
  std::string json;
  bool quick = false;
};

Result<bench::NotifyOptions> read_options(const NotifyArguments& arguments) {
  bench::NotifyOptions options;
  if (arguments.quick) options.repeats = 1;
  OptionLists lists;
  lists.number("--kicks", arguments.kicks, options.kicks, 100, 10'000'000);
  lists.number("--repeat", arguments.repeats, options.repeats, 1, 1000);
  if (auto status = lists.status(); !status) return forward(status);
  auto guest = find_bench_guest(arguments.guest);
  if (!guest) return forward(guest);
  options.guest = *guest;
  return options;
}

int run_notify(const NotifyArguments& arguments) {
  const auto options = read_options(arguments);
  if (!options) return report(options.error(), kUsedWrongly);
  auto interrupt = EventFd::create();
  if (!interrupt) return report(interrupt.error(), kFailed);
  SignalWaiter::block_signals();
  SignalWaiter signals([&] { interrupt->signal(); });
  const auto result = bench::run_notify_bench(*options, *interrupt);
  if (const int signal = signals.finish(); signal != 0) return kSignalBase + signal;
  if (!result) return report(result.error(), kFailed);
  if (arguments.json != "-") fmt::print("{}", bench::to_text(*result));
  if (arguments.json.empty()) return kDone;
  nlohmann::ordered_json json{{"schema", 1}, {"host", to_json(read_host_facts(BELLHOP_VERSION))}};
  json.update(bench::to_json(*result));
  if (auto written = write_file("--json", arguments.json, json.dump(2) + "\n"); !written) {
    return report(written.error(), kFailed);
  }
  return kDone;
}

}  // namespace

void add_bench_notify_command(CLI::App& bench, int& exit_status) {
  CLI::App* notify = bench.add_subcommand(
      "notify", "What a kick costs the guest: through Bellhop's doorbells, and the bare floor");
  auto arguments = std::make_shared<NotifyArguments>();
  const auto text = [notify](const char* name, std::string& value, const char* help,
                             const char* type) {
    notify->add_option(name, value, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->type_name(type);
  };
  text("--kicks", arguments->kicks, "Kicks in each repeat (5000)", "N");
  text("--repeat", arguments->repeats, "Repeats, all kinds in turn (5)", "N");
  notify->add_flag("--quick", arguments->quick, "One repeat, for a first look");
  text("--guest", arguments->guest, "The bench guest (found beside this program)", "FILE");
  text("--json", arguments->json, "Write the figures as JSON (-: standard output)", "FILE");
  notify->footer(
      "Examples:\n"
      "  bellhop bench notify\n"
      "  bellhop bench notify --repeat 9 --json notify.json\n"
      "The queue is empty: what is timed is the notification alone, by the guest's TSC.");
  notify->callback([arguments, &exit_status] { exit_status = run_notify(*arguments); });
}

}  // namespace bellhop

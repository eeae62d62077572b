#include <CLI/CLI.hpp>
#include <memory>

#include "apps/bellhop/bench_options.h"
#include "apps/bellhop/bench_session.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/scalar_option.h"
#include "bench/notify/notify_page.h"

namespace bellhop {

namespace {

struct NotifyArguments {
  std::string kicks;
  std::string repeats;
  std::string guest;
  bool quick = false;
  BenchOutput output;
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
  if (!options) return report(options.error());
  auto session = BenchSession::start(arguments.output, {options->guest});
  if (!session) return report(session.error());
  constexpr double kRepeat_s = 0.2;
  bench::NotifyReport result;
  const auto measured = bench::run_notify_bench(*options, (*session)->interrupt(),
                                                (*session)->hooks(kRepeat_s), result);
  return (*session)->write(measured, result);
}

}  // namespace

void add_bench_notify_command(CLI::App& bench, int& exit_status) {
  CLI::App* notify = bench.add_subcommand(
      "notify", "What a kick costs the guest: through Bellhop's doorbells, and the bare floor");
  auto arguments = std::make_shared<NotifyArguments>();
  const auto text = [notify](const char* name, std::string& value, const char* help,
                             const char* type) { add_scalar(*notify, name, value, help, type); };
  text("--kicks", arguments->kicks, "Kicks in each repeat (5000)", "N");
  text("--repeat", arguments->repeats, "Repeats, all kinds in turn (5)", "N");
  notify->add_flag("--quick", arguments->quick, "One repeat, for a first look");
  text("--guest", arguments->guest, "The bench guest (found beside this program)", "FILE");
  add_output_options(*notify, arguments->output);
  notify->footer(
      "Examples:\n"
      "  bellhop bench notify\n"
      "  bellhop bench notify --repeat 9 --json notify.json --html notify.html\n"
      "The queue is empty: what is timed is the notification alone, by the guest's TSC.");
  notify->callback([arguments, &exit_status] { exit_status = run_notify(*arguments); });
}

}  // namespace bellhop

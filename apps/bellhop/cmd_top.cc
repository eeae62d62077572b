#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/process_finder.h"
#include "apps/bellhop/scalar_option.h"
#include "apps/bellhop/top_view.h"
#include "base/printable.h"
#include "base/units.h"
#include "control/api/api_client.h"

namespace bellhop {

namespace {

constexpr const char* kTopExamples = R"(Examples:
  bellhop top
  bellhop top /run/vm/api.sock
  bellhop top /run/vm/*.sock --interval 5s
  bellhop top /run/vm/api.sock --count 1 --json

SOCKET is what `bellhop run --api-socket` was given; without one it is those of all machines that
`bellhop ps` shows. Queues that the kernel or another process serves
show who, in place of figures.

Exit status: 0 done, 1 no machine answers, 2 used wrongly.)";

constexpr std::chrono::seconds kAnswerPatience{5};
constexpr std::chrono::milliseconds kShortestInterval{50};
constexpr std::chrono::hours kLongestInterval{24};

struct TopArguments {
  std::vector<std::string> sockets;
  std::string interval = "1s";
  std::string count;
  bool json = false;
};

/// A machine that is looked at, and what it said last.
struct Watched {
  std::string socket;
  std::string way;  ///< by which it is reached
  std::optional<control::MetricsSample> last;
  std::string fault;  ///< empty: it answers
};

Result<std::string> ask_metrics(const Watched& machine) {
  auto response = control::ask_api(machine.way, "GET", "vm.metrics", {}, kAnswerPatience);
  if (!response) return forward(response);
  if (response->status != 200) return fail(control::error_text(*response));
  return std::move(response->body);
}

/// What is to be shown of it; a machine's first answer has nothing to be compared with.
std::string look_at(Watched& machine, bool as_json) {
  auto body = ask_metrics(machine);
  machine.fault.clear();
  if (!body) {
    std::string message = body.error().message;
    if (message.starts_with(machine.way)) message.replace(0, machine.way.size(), machine.socket);
    machine.fault = printable(std::move(message));
    machine.last.reset();
    return as_json ? "" : fmt::format("{}\n", machine.fault);
  }
  auto sample = control::MetricsSample::read(*body);
  if (!sample) {
    machine.fault =
        fmt::format("{}: what it answers are no metrics of ours", printable(machine.socket));
    return as_json ? "" : fmt::format("{}\n", machine.fault);
  }
  std::string text;
  if (as_json) {
    text = *body + "\n";
  } else if (machine.last) {
    text = fmt::format("{}: {}", printable(machine.socket), top_text(*machine.last, *sample));
  }
  machine.last = std::move(*sample);
  return text;
}

/// Those that were named, or else all that there are.
Result<std::vector<Watched>> choose(const std::vector<std::string>& sockets) {
  std::vector<Watched> machines;
  machines.reserve(sockets.size());
  for (const std::string& socket : sockets) machines.push_back({socket, socket, {}, {}});
  if (!machines.empty()) return machines;
  auto found = find_my_processes();
  if (!found) return forward(found);
  for (FoundProcess& one : *found) {
    if (one.api_way.empty()) continue;
    machines.push_back({std::move(one.api_socket), std::move(one.api_way), {}, {}});
  }
  if (machines.empty()) return fail("no machine with an API socket runs here (bellhop ps)");
  return machines;
}

int watch(const TopArguments& arguments) {
  const auto interval = parse_duration(arguments.interval);
  if (!interval || *interval < kShortestInterval || *interval > kLongestInterval) {
    return report(
        {fmt::format("--interval: '{}' is wrong; it must be a time of 50ms or more, such as 1s",
                     arguments.interval)},
        kUsedWrongly);
  }
  std::optional<std::uint64_t> count;
  if (!arguments.count.empty()) {
    const auto number = parse_size(arguments.count);
    if (!number || *number == 0 ||
        arguments.count.find_first_not_of("0123456789") != std::string::npos) {
      return report({fmt::format("--count: '{}' is wrong; it must be a number of 1 or more",
                                 arguments.count)},
                    kUsedWrongly);
    }
    count = *number;
  }
  auto chosen = choose(arguments.sockets);
  if (!chosen) return report(chosen.error(), kFailed);
  std::vector<Watched>& machines = *chosen;
  const bool clears = !arguments.json && ::isatty(STDOUT_FILENO) == 1;
  bool first = !arguments.json;  // rates need two looks
  for (std::uint64_t printed = 0; !count || printed < *count;) {
    std::string screen;
    bool answers = false;
    for (Watched& machine : machines) {
      screen += look_at(machine, arguments.json);
      answers = answers || machine.fault.empty();
    }
    if (!answers) return report({machines.front().fault}, kFailed);
    if (!std::exchange(first, false)) {
      print(stdout, (clears ? "\x1b[H\x1b[J" : "") + screen);
      if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return kDone;  // main() says so
      ++printed;
    }
    if (!count || printed < *count) std::this_thread::sleep_for(*interval);
  }
  return kDone;
}

}  // namespace

void add_top_command(CLI::App& app, int& exit_status) {
  CLI::App* const top =
      app.add_subcommand("top", "Watch the queues and threads of running machines");
  auto arguments = std::make_shared<TopArguments>();
  top->add_option("SOCKET", arguments->sockets, "Where the machines' APIs are (all that run)")
      ->type_name("");
  add_scalar(*top, "--interval", arguments->interval, "How often to look (1s)", "TIME");
  add_scalar(*top, "--count", arguments->count, "How often to print, and end then (for ever)", "N");
  top->add_flag("--json", arguments->json, "Print what vm.metrics answers, one line each time");
  top->footer(kTopExamples);
  top->callback([arguments, &exit_status] { exit_status = watch(*arguments); });
}

}  // namespace bellhop

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/process_finder.h"
#include "apps/bellhop/ps_view.h"
#include "base/thread.h"
#include "control/api/api_client.h"

namespace bellhop {

namespace {

constexpr const char* kPsExamples = R"(Examples:
  bellhop ps
  bellhop ps --json

Shown are this user's processes of `bellhop run` and `bellhop serve`; root sees everybody's. What a
machine does not tell is "-": one without --api-socket tells its process alone. A machine that does not
answer within a second is shown without an answer.

Exit status: 0 done, even if there are none, 1 failed, 2 used wrongly.)";

constexpr std::chrono::milliseconds kPsPatience{1000};
constexpr std::size_t kAskedAtOnce = 32;  // those that hang are waited for together

void ask(ListedProcess& one) {
  if (one.found.api_way.empty()) return;
  auto response = control::ask_api(one.found.api_way, "GET", "vm.info", {}, kPsPatience);
  if (response && response->status == 200) one.info = std::move(response->body);
}

/// Errors: the host allows no thread.
Status ask_all(std::vector<ListedProcess>& all) {
  Status able;
  for (std::size_t begin = 0; able && begin < all.size(); begin += kAskedAtOnce) {
    const std::size_t end = std::min(all.size(), begin + kAskedAtOnce);
    std::vector<std::thread> threads;
    for (std::size_t i = begin; able && i < end; ++i) {
      if (all[i].found.api_way.empty()) continue;
      auto thread = start_thread(ThreadKind::kOther, "ps", [&one = all[i]] { ask(one); });
      if (thread) {
        threads.push_back(std::move(*thread));
      } else {
        able = forward(thread);
      }
    }
    for (std::thread& thread : threads) thread.join();
  }
  return able;
}

int list_processes(bool as_json) {
  auto found = find_my_processes();
  if (!found) return report(found.error(), kFailed);
  std::vector<ListedProcess> all;
  for (FoundProcess& one : *found) all.push_back({std::move(one), {}});
  if (auto asked = ask_all(all); !asked) return report(asked.error(), kFailed);
  print(stdout, as_json ? ps_json(all) : ps_text(all));
  return kDone;
}

}  // namespace

void add_ps_command(CLI::App& app, int& exit_status) {
  CLI::App* const ps = app.add_subcommand("ps", "List the machines and servers that run here");
  auto as_json = std::make_shared<bool>(false);
  ps->add_flag("--json", *as_json, "Print a list of objects");
  ps->footer(kPsExamples);
  ps->callback([as_json, &exit_status] { exit_status = list_processes(*as_json); });
}

}  // namespace bellhop

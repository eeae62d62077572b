#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <thread>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/device_arguments.h"
#include "apps/bellhop/scalar_option.h"
#include "base/printable.h"
#include "base/property_list.h"
#include "base/shallow_json.h"
#include "base/units.h"
#include "control/api/api_client.h"

namespace bellhop {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kExamples = R"(Examples:
  bellhop ctl /run/vm/api.sock info
  bellhop ctl /run/vm/api.sock counters --json
  bellhop ctl /run/vm/api.sock pause
  bellhop ctl /run/vm/api.sock resize-disk disk0 20G
  bellhop ctl /run/vm/api.sock rates disk0 iops=5000,bps=100M
  bellhop ctl /run/vm/api.sock notify disk0 adaptive,optimize=efficiency
  bellhop ctl /run/vm/api.sock pin vcpu0 2
  bellhop ctl /run/vm/api.sock balloon 512M
  bellhop ctl /run/vm/api.sock add disk data.img,id=data
  bellhop ctl /run/vm/api.sock remove data

SOCKET is what `bellhop run --api-socket` was given.

Exit status: 0 done, 1 the machine refused it or does not answer, 2 used wrongly.)";

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::hours kLongestPatience{24};

struct CtlArguments {
  std::string socket;
  std::string timeout;
  bool json = false;
  std::string id;
  std::string size;
  std::string thread;
  std::string cpus;
  std::string kind;
  std::string options;
};

/// One line for each value, with what it belongs to before it: "cpus.boot_vcpus  2".
void print_values(const Json& json, const std::string& prefix, std::size_t width) {
  for (const auto& [name, value] : json.items()) {
    const std::string path = prefix.empty() ? name : fmt::format("{}.{}", prefix, name);
    if (value.is_structured() && !value.empty()) {
      print_values(value, path, width);
    } else {
      print(stdout,
            fmt::format("{:<{}}  {}\n", printable(path), width,
                        printable(value.is_string() ? value.get<std::string>() : value.dump())));
    }
  }
}

std::size_t widest(const Json& json, const std::string& prefix) {
  std::size_t width = 0;
  for (const auto& [name, value] : json.items()) {
    const std::string path = prefix.empty() ? name : fmt::format("{}.{}", prefix, name);
    width = std::max(width,
                     value.is_structured() && !value.empty() ? widest(value, path) : path.size());
  }
  return width;
}

Result<std::chrono::milliseconds> find_patience(const std::string& text) {
  if (text.empty()) return std::chrono::milliseconds(kPatience);
  const auto time = parse_duration(text);
  if (!time || *time <= std::chrono::nanoseconds(0) || *time > kLongestPatience) {
    return fail(fmt::format("--timeout: '{}' is wrong; it must be a time such as 5s", text));
  }
  return std::chrono::ceil<std::chrono::milliseconds>(*time);
}

std::string text_of(const Json& body) {
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What it answers; null if that is nothing. Errors: it refuses, or cannot be understood.
Result<Json> answer_of(const CtlArguments& arguments, std::chrono::milliseconds patience,
                       const char* method, const char* name, const std::string& body) {
  const auto response = control::ask_api(arguments.socket, method, name, body, patience);
  if (!response) return forward(response);
  if (response->status < 200 || response->status > 299) {
    return fail(control::error_text(*response));
  }
  if (response->body.empty()) return Json();
  Json json = parse_shallow_json<Json>(response->body);
  if (json.is_discarded()) {
    return fail(fmt::format("{}: what it answers is no JSON of ours", arguments.socket));
  }
  return json;
}

int ask(const CtlArguments& arguments, const char* method, const char* name,
        const std::string& body = {}) {
  const auto patience = find_patience(arguments.timeout);
  if (!patience) return report(patience.error(), kUsedWrongly);
  const auto json = answer_of(arguments, *patience, method, name, body);
  if (!json) return report({json.error().message}, kFailed);
  if (json->is_null()) return kDone;
  if (arguments.json) {
    print(stdout, json->dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print_values(*json, "", widest(*json, ""));
  }
  return kDone;
}

/// The options are those of `bellhop run`, their paths those of whoever asks.
int add_device(const CtlArguments& arguments) {
  const auto kind = std::ranges::find(device_kinds(), arguments.kind, [](const DeviceKind& one) {
    return std::string(one.option.name);
  });
  if (kind == device_kinds().end()) {
    std::string kinds;
    for (const DeviceKind& one : device_kinds()) {
      kinds += (kinds.empty() ? "" : ", ") + std::string(one.option.name);
    }
    return report({fmt::format("add: '{}' is no kind of device; it must be one of {}",
                               arguments.kind, kinds)},
                  kUsedWrongly);
  }
  auto options =
      parse_option(fmt::format("add {}", arguments.kind), arguments.options, kind->option.bare_key);
  if (!options) return report(options.error(), kUsedWrongly);
  std::error_code unknown;
  place_paths(*options, std::filesystem::current_path(unknown));
  return ask(arguments, "PUT", "vm.add",
             text_of({{"device", arguments.kind}, {"options", options->text()}}));
}

int set_notify(const CtlArguments& arguments) {
  const auto keys = parse_option("notify", arguments.options, "mode");
  if (!keys) return report(keys.error(), kUsedWrongly);
  PropertyReader reader("notify", *keys);
  std::string mode;
  std::string optimize;
  unsigned queue = 0;
  reader.text("mode", mode);
  reader.text("optimize", optimize);
  reader.number("queue", queue, 0, UINT16_MAX);
  if (auto right = reader.finish(); !right) return report(right.error(), kUsedWrongly);
  Json body = {{"id", arguments.id}, {"mode", mode}};
  if (!optimize.empty()) body["optimize"] = optimize;
  if (reader.has("queue")) body["queue"] = queue;
  return ask(arguments, "PUT", "vm.set-notify", text_of(body));
}

/// Waits until the guest has let it go.
int remove_device(const CtlArguments& arguments) {
  constexpr std::chrono::milliseconds kBetween{50};
  const auto patience = find_patience(arguments.timeout);
  if (!patience) return report(patience.error(), kUsedWrongly);
  const auto deadline = std::chrono::steady_clock::now() + *patience;
  const auto asked =
      answer_of(arguments, *patience, "PUT", "vm.remove-device", text_of({{"id", arguments.id}}));
  if (!asked) return report({asked.error().message}, kFailed);
  while (true) {
    const auto counters = answer_of(arguments, *patience, "GET", "vm.counters", {});
    if (!counters) return report({counters.error().message}, kFailed);
    if (!counters->is_object() || !counters->contains(arguments.id)) return kDone;
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(kBetween);
  }
  return report({fmt::format("{}: the guest has not let it go in time; it was asked, and may do so "
                             "later (does it use it, or has it no driver for hotplug?)",
                             printable(arguments.id))},
                kFailed);
}

int resize(const CtlArguments& arguments, const char* option, const char* name, Json body,
           const char* field) {
  const auto bytes = parse_size(arguments.size);
  if (!bytes) {
    return report(
        {fmt::format("{}: '{}' is wrong; it must be a size such as 512M", option, arguments.size)},
        kUsedWrongly);
  }
  body[field] = *bytes;
  return ask(arguments, "PUT", name, text_of(body));
}

struct PlainCommand {
  const char* name;
  const char* help;
  const char* method;
  const char* endpoint;
};
constexpr PlainCommand kPlain[] = {
    {"ping", "Whether it answers, and which version it is", "GET", "vmm.ping"},
    {"info", "Its state and what it was made of", "GET", "vm.info"},
    {"counters", "What the machine and its devices have counted", "GET", "vm.counters"},
    {"pause", "Let its guest stand still", "PUT", "vm.pause"},
    {"resume", "Let a paused guest go on", "PUT", "vm.resume"},
    {"power-button", "Ask the guest to switch itself off", "PUT", "vm.power-button"},
    {"reboot", "Start the guest anew, as if the reset button was pressed", "PUT", "vm.reboot"},
    {"shutdown", "Cut its power; the program stays, and boot starts it again", "PUT",
     "vm.shutdown"},
    {"boot", "Start it again after shutdown", "PUT", "vm.boot"},
    {"shutdown-vmm", "Cut its power and end the program", "PUT", "vmm.shutdown"},
};

}  // namespace

void add_ctl_command(CLI::App& app, int& exit_status) {
  CLI::App* const ctl = app.add_subcommand("ctl", "Look at a running machine, and change it");
  auto arguments = std::make_shared<CtlArguments>();
  ctl->require_subcommand(0, 1);  // as of the program: CLI11 would name no unknown one
  ctl->add_option("SOCKET", arguments->socket, "Where the machine's API is")->type_name("");
  add_scalar(*ctl, "--timeout", arguments->timeout, "How long to wait for the answer (30s)",
             "TIME");
  ctl->add_flag("--json", arguments->json, "Print what it answers as JSON");
  ctl->footer(kExamples);
  const auto chosen = std::make_shared<bool>(false);
  const auto add = [&](const char* name, const char* help, auto run) {
    CLI::App* const command = ctl->add_subcommand(name, help);
    command->fallthrough();  // options of ctl may come last
    command->callback([arguments, chosen, run, &exit_status] {
      *chosen = true;
      exit_status = arguments->socket.empty()
                        ? report({"ctl: SOCKET is missing (see --help)"}, kUsedWrongly)
                        : run(*arguments);
    });
    return command;
  };
  for (const PlainCommand& one : kPlain) {
    add(one.name, one.help,
        [one](const CtlArguments& with) { return ask(with, one.method, one.endpoint); });
  }
  CLI::App* const disk = add(
      "resize-disk", "Let a disk's file grow, and tell the guest", [](const CtlArguments& with) {
        return resize(with, "SIZE", "vm.resize-disk", {{"id", with.id}}, "desired_size");
      });
  disk->add_option("ID", arguments->id, "The disk's")->required()->type_name("");
  disk->add_option("SIZE", arguments->size, "Its new size, such as 20G")->required()->type_name("");
  CLI::App* const rates = add("rates", "Have a disk, a NIC or a group keep to other rates",
                              [](const CtlArguments& with) {
                                return ask(with, "PUT", "vm.set-rates",
                                           text_of({{"id", with.id}, {"options", with.options}}));
                              });
  rates->add_option("ID", arguments->id, "The disk's, the NIC's or the group's")
      ->required()
      ->type_name("");
  rates
      ->add_option("RATES", arguments->options,
                   "iops= (of a NIC pps=), bps= and burst=, as run has them; 0: none")
      ->required()
      ->type_name("");
  CLI::App* const notified =
      add("notify", "Have a device's queues notified in another way", set_notify);
  notified->add_option("ID", arguments->id, "The device's")->required()->type_name("");
  notified
      ->add_option("MODE", arguments->options,
                   "sync, ioeventfd, poll or adaptive; with optimize= as run has it, and queue=N "
                   "for one queue alone")
      ->required()
      ->type_name("");
  CLI::App* const pinned =
      add("pin", "Have a vCPU or an I/O thread run on other CPUs", [](const CtlArguments& with) {
        return ask(with, "PUT", "vm.pin", text_of({{"thread", with.thread}, {"cpus", with.cpus}}));
      });
  pinned->add_option("THREAD", arguments->thread, "vcpu0, ..., or the I/O thread's name")
      ->required()
      ->type_name("");
  pinned->add_option("CPUS", arguments->cpus, "Such as 0,2-3")->required()->type_name("");
  CLI::App* const balloon =
      add("balloon", "Ask the guest to give memory back", [](const CtlArguments& with) {
        return resize(with, "SIZE", "vm.resize", Json::object(), "desired_balloon");
      });
  balloon->add_option("SIZE", arguments->size, "How much, such as 512M")->required()->type_name("");
  CLI::App* const added =
      add("add", "Give it one more device: the options are those of run", add_device);
  added->add_option("KIND", arguments->kind, "disk, net, rng, ...")->required()->type_name("");
  added->add_option("OPTIONS", arguments->options, "As run --KIND has them")->type_name("");
  CLI::App* const removed =
      add("remove", "Have the guest let a device go, and wait until it has", remove_device);
  removed->add_option("ID", arguments->id, "The device's")->required()->type_name("");
  ctl->callback([chosen, &exit_status] {
    if (!*chosen) {
      exit_status =
          report({"ctl: a command is missing: info, pause, ... (see --help)"}, kUsedWrongly);
    }
  });
}

}  // namespace bellhop

#include "apps/bellhop/device_arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "apps/bellhop/scalar_option.h"

namespace bellhop {

void add_device_option(CLI::App& command, DeviceArguments& arguments, std::size_t kind) {
  const DeviceOption& option = device_kinds()[kind].option;
  auto* const added = command.add_option(fmt::format("--{}", option.name), arguments.devices[kind],
                                         std::string(option.summary));
  if (option.may_be_bare) added->expected(0, 1);
  added->allow_extra_args(false)->type_name(std::string(option.value));
}

std::string device_help(std::size_t kind) {
  const DeviceOption& option = device_kinds()[kind].option;
  return fmt::format("\nKeys of --{}{}:{}", option.name,
                     option.may_be_bare ? ", which may be without any" : "", option.keys);
}

void add_iothread_option(CLI::App& command, DeviceArguments& arguments) {
  command.add_option("--iothread", arguments.iothreads, "An I/O thread; may be given again")
      ->allow_extra_args(false)
      ->type_name("NAME[,cpus=LIST][,loop=epoll]");
}

void add_landlock_options(CLI::App& command, DeviceArguments& arguments,
                          std::optional<OptionText>& landlock) {
  add_scalar(command, "--landlock", landlock,
             "Let it reach the files alone that its options name (off); auto: where the kernel can",
             "on|off|auto");
  command
      .add_option("--landlock-rules", arguments.landlock_rules,
                  "... and these, with all that is in a folder: for devices that are added later")
      ->allow_extra_args(false)
      ->type_name("path=PATH,access=r|w|rw");
}

void add_rate_group_option(CLI::App& command, DeviceArguments& arguments) {
  command
      .add_option(std::string(RateGroupConfig::kOption), arguments.rate_groups,
                  "Rates that several devices share; may be given again")
      ->allow_extra_args(false)
      ->type_name(std::string(RateGroupConfig::kValue));
}

Result<PropertyList> parse_option(std::string_view option, std::string_view text,
                                  std::string_view bare_key) {
  if (text.empty()) return PropertyList();  // an option without a value, where that is allowed
  auto list = PropertyList::parse(text, bare_key);
  if (!list) return fail(fmt::format("{}: {}", option, list.error().message));
  return list;
}

Status take_device_arguments(const DeviceArguments& arguments, MachineOptions& options) {
  for (std::size_t i = 0; i < arguments.devices.size(); ++i) {
    const DeviceKind& kind = device_kinds()[i];
    for (const std::string& text : arguments.devices[i]) {
      auto device = parse_option(fmt::format("--{}", kind.option.name), text, kind.option.bare_key);
      if (!device) return forward(device);
      (options.*kind.list).push_back(std::move(*device));
    }
  }
  for (const std::string& text : arguments.landlock_rules) {
    auto rule = parse_option("--landlock-rules", text, "path");
    if (!rule) return forward(rule);
    options.landlock_rules.push_back(std::move(*rule));
  }
  for (const std::string& text : arguments.iothreads) {
    auto thread = parse_option("--iothread", text, "name");
    if (!thread) return forward(thread);
    options.iothreads.push_back(std::move(*thread));
  }
  for (const std::string& text : arguments.rate_groups) {
    auto group = parse_option(RateGroupConfig::kOption, text, "id");
    if (!group) return forward(group);
    options.rate_groups.push_back(std::move(*group));
  }
  return {};
}

}  // namespace bellhop

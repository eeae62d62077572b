#include "apps/bellhop/ch_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/property_list.h"

namespace bellhop {

namespace {

/// A key of an option's value, and what becomes of it.
struct Key {
  std::string_view name;
  std::string_view ours;        ///< empty: nothing
  std::string_view value = {};  ///< what it is where the option says on; empty: the same value
};

/// An option. Its value is a list of keys, or a word.
struct Option {
  std::string_view name;
  std::string_view ours;  ///< empty: nothing
  bool takes_value = true;
  std::vector<Key> keys = {};
  std::string_view bare_key = {};
  std::string_view only_key = {};  ///< what `ours` takes is the value of this key alone
  std::vector<std::pair<std::string_view, std::string_view>> words = {};  ///< other names of values
};

const std::vector<Option>& options() {
  static const std::vector<Option> kAll = {
      {.name = "--api-socket", .ours = "--api-socket"},
      {.name = "--event-monitor", .ours = "--event-monitor"},
      {.name = "--seccomp", .ours = "--seccomp", .words = {{"true", "kill"}, {"false", "off"}}},
      {.name = "--landlock", .ours = "--landlock", .takes_value = false},
      {.name = "--landlock-rules",
       .ours = "--landlock-rules",
       .keys = {{"path", "path"}, {"access", "access"}}},
      {.name = "-v", .ours = {}, .takes_value = false},
      {.name = "-vv", .ours = {}, .takes_value = false},
      {.name = "-vvv", .ours = {}, .takes_value = false},
      {.name = "--kernel", .ours = "--kernel"},
      {.name = "--initramfs", .ours = "--initrd"},
      {.name = "--cmdline", .ours = "--cmdline"},
      {.name = "--cpus",
       .ours = "--cpus",
       .keys = {{"boot", "boot"}, {"max", {}}, {"topology", {}}},
       .bare_key = "boot",
       .only_key = "boot"},
      {.name = "--memory",
       .ours = "--memory",
       .keys = {{"size", "size"}, {"shared", "shared"}, {"hugepages", "hugepages"}},
       .bare_key = "size"},
      {.name = "--disk",
       .ours = "--disk",
       .keys = {{"path", "path"},
                {"id", "id"},
                {"readonly", "readonly"},
                {"direct", "cache", "none"},
                {"num_queues", "queues"},
                {"queue_size", "queue-size"},
                {"image_type", "format"}}},
      {.name = "--net",
       .ours = "--net",
       .keys = {{"tap", "tap"},
                {"fd", "fd"},
                {"id", "id"},
                {"mac", "mac"},
                {"mtu", "mtu"},
                {"num_queues", "queues"},
                {"queue_size", "queue-size"}}},
      {.name = "--fs",
       .ours = "--fs",
       .keys = {{"tag", "tag"},
                {"socket", "socket"},
                {"id", "id"},
                {"num_queues", "num-queues"},
                {"queue_size", "queue-size"}}},
      {.name = "--vsock",
       .ours = "--vsock",
       .keys = {{"cid", "cid"}, {"socket", "uds"}, {"id", "id"}}},
      {.name = "--rng", .ours = "--rng", .keys = {{"src", "src"}}},
      {.name = "--balloon",
       .ours = "--balloon",
       .keys = {{"size", "size"},
                {"deflate_on_oom", "deflate-on-oom"},
                {"free_page_reporting", "free-page-reporting"}}},
      {.name = "--serial", .ours = "--serial", .words = {{"off", "null"}}},
      {.name = "--console", .ours = "--console", .words = {{"off", "null"}}},
  };
  return kAll;
}

/// Queues of a NIC come in pairs.
std::string half(const std::string& number) {
  unsigned value = 0;
  const char* const last = number.data() + number.size();
  const auto [end, error] = std::from_chars(number.data(), last, value);
  if (error != std::errc() || end != last || value % 2 != 0) return number;
  return std::to_string(value / 2);
}

Result<std::string> translate(const Option& option, const std::string& text) {
  for (const auto& [theirs, ours] : option.words) {
    if (text == theirs) return std::string(ours);
  }
  if (option.keys.empty()) return text;
  const auto list = PropertyList::parse(text, option.bare_key);
  if (!list) return fail(fmt::format("{}: {}", option.name, list.error().message));
  PropertyList ours;
  for (const Property& item : list->items()) {
    const auto key = std::ranges::find(option.keys, item.key, &Key::name);
    if (key == option.keys.end()) {
      return fail(fmt::format("{}: {} is not supported", option.name, item.key));
    }
    if (key->ours.empty()) continue;
    std::string value = item.value.value_or("on");
    if (!key->value.empty()) {
      if (value != "on" && value != "true") continue;
      value = key->value;
    }
    if (option.name == "--net" && key->name == "num_queues") value = half(value);
    if (value == "true") value = "on";
    if (value == "false") value = "off";
    if (key->name == "image_type" && value == "Raw") value = "raw";
    if (option.only_key == key->ours) return value;
    ours.set({std::string(key->ours), std::move(value)});
  }
  return ours.text();
}

bool may_repeat(const Option& option) {
  return option.name == "--disk" || option.name == "--net" || option.name == "--fs" ||
         option.name == "--landlock-rules";
}

}  // namespace

bool is_ch_name(std::string_view program) {
  return program.substr(program.find_last_of('/') + 1) == "cloud-hypervisor";
}

Result<ChArguments> read_ch_arguments(std::span<const std::string> given) {
  ChArguments arguments{.words = {"run"}, .log_file = {}};
  const auto value_at = [&](std::size_t i) -> Result<std::string> {
    if (i < given.size()) return given[i];
    return fail(fmt::format("{}: a value is missing", given[i - 1]));
  };
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] == "--version" || given[i] == "-V") {
      arguments.words = {"--version"};
      return arguments;
    }
    if (given[i] == "--log-file") {
      auto file = value_at(++i);
      if (!file) return forward(file);
      arguments.log_file = std::move(*file);
      continue;
    }
    const auto option = std::ranges::find(options(), given[i], &Option::name);
    if (option == options().end()) {
      return fail(fmt::format("{}: this option is not supported under the name cloud-hypervisor",
                              given[i]));
    }
    if (!option->takes_value && !option->ours.empty()) {
      arguments.words.insert(arguments.words.end(), {std::string(option->ours), "on"});
    }
    if (!option->takes_value) continue;
    // Several values may follow one option.
    do {
      const auto value = value_at(++i);
      if (!value) return forward(value);
      auto ours = translate(*option, *value);
      if (!ours) return forward(ours);
      constexpr std::string_view kPath = "path=";
      if (option->name == "--api-socket" && ours->starts_with(kPath)) ours->erase(0, kPath.size());
      arguments.words.emplace_back(option->ours);
      arguments.words.push_back(std::move(*ours));
    } while (may_repeat(*option) && i + 1 < given.size() && !given[i + 1].starts_with('-'));
  }
  return arguments;
}

}  // namespace bellhop

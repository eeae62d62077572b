// Some assertions of this parser do not hold for hostile texts, and with NDEBUG it takes them for
// promises to the compiler. Without them it goes on to the check that reports the same as an error.
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <toml++/impl/forward_declarations.h>
// The same with what the tables of characters take for unreachable: U+010A outside of a string gets
// there (found by machine_options_fuzz). "No" is the right answer.
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE __builtin_unreachable()
#include <toml++/toml.h>
#pragma GCC diagnostic pop

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "config/machine_options.h"

namespace bellhop {

namespace {

/// A scalar as it would be written on the command line; nothing for tables, dates and the like.
std::optional<std::string> scalar(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "on" : "off";
  return std::nullopt;
}

class OptionsReader {
 public:
  explicit OptionsReader(std::string name) : name_(std::move(name)) {}

  Result<MachineOptions> read(const toml::table& table) {
    MachineOptions options;
    const std::pair<std::string_view, std::optional<std::string>*> scalars[] = {
        {"kernel", &options.kernel},
        {"initrd", &options.initrd},
        {"cmdline", &options.cmdline},
        {"cpus", &options.cpus},
        {"vcpu-affinity", &options.vcpu_affinity},
        {"transport", &options.transport},
        {"serial", &options.serial},
        {"on-reset", &options.on_reset},
        {"max-ioeventfds", &options.max_ioeventfds},
        {"reserve-ioeventfds", &options.reserve_ioeventfds},
        {"stats", &options.stats},
    };
    for (const auto& [toml_key, node] : table) {
      const std::string key(toml_key.str());
      const auto* slot = std::ranges::find(scalars, key, [](const auto& s) { return s.first; });
      Status taken;
      if (slot != std::end(scalars)) {
        *slot->second = scalar(node);
        if (!*slot->second) taken = wrong(node, key, "a string or a number");
      } else if (key == "memory") {
        taken = properties(node, key, "size", options.memory);
      } else if (key == "iothread") {
        taken = list(node, key, "name", options.iothreads);
      } else if (const auto kind = std::ranges::find(
                     device_kinds(), key, [](const DeviceKind& one) { return one.option.name; });
                 kind != device_kinds().end()) {
        taken = list(node, key, kind->option.bare_key, options.*kind->list);
      } else {
        taken = fail(fmt::format("{}:{}: unknown name '{}'", name_, line(node), key));
      }
      if (!taken) return forward(taken);
    }
    return options;
  }

 private:
  static unsigned line(const toml::node& node) {
    return static_cast<unsigned>(node.source().begin.line);
  }
  Status wrong(const toml::node& node, std::string_view key, std::string_view right) const {
    return fail(fmt::format("{}:{}: {} must be {}", name_, line(node), key, right));
  }

  Status properties(const toml::node& node, const std::string& key, std::string_view bare_key,
                    PropertyList& out) const {
    if (const auto* table = node.as_table()) {
      for (const auto& [name, value] : *table) {
        if (const auto* several = value.as_array();
            several != nullptr && PropertyList::may_repeat(name.str())) {
          for (const toml::node& one : *several) {
            auto text = scalar(one);
            if (!text) return wrong(one, name.str(), "a list of strings");
            out.set({std::string(name.str()), std::move(text)});
          }
          continue;
        }
        auto text = scalar(value);
        if (!text) return wrong(value, name.str(), "a string, a number or a boolean");
        out.set({std::string(name.str()), std::move(text)});
      }
      return {};
    }
    const auto text = scalar(node);
    if (!text) return wrong(node, key, "a table or a string of key=value,...");
    auto parsed = PropertyList::parse(*text, bare_key);
    if (!parsed) {
      return fail(fmt::format("{}:{}: {}: {}", name_, line(node), key, parsed.error().message));
    }
    out = std::move(*parsed);
    return {};
  }

  Status list(const toml::node& node, const std::string& key, std::string_view bare_key,
              std::vector<PropertyList>& out) const {
    const auto* array = node.as_array();
    if (array == nullptr) return properties(node, key, bare_key, out.emplace_back());
    for (const toml::node& item : *array) {
      if (auto taken = properties(item, key, bare_key, out.emplace_back()); !taken) return taken;
    }
    return {};
  }

  std::string name_;
};

}  // namespace

Result<MachineOptions> parse_options_text(std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return fail(fmt::format("{}:{}: {}", name, parsed.error().source().begin.line,
                            parsed.error().description()));
  }
  return OptionsReader(name).read(parsed.table());
}

Result<MachineOptions> read_options_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // Copying nothing counts as a failure there.
  const bool empty = file && file.peek() == std::ifstream::traits_type::eof() && !file.bad();
  if (!empty && (!file || !(text << file.rdbuf()))) {
    return fail_errno(fmt::format("--config: cannot read {}", path), errno != 0 ? errno : EIO);
  }
  return parse_options_text(text.str(), "--config: " + path);
}

}  // namespace bellhop

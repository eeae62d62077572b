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

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/input_file.h"
#include "base/nearest.h"
#include "config/machine_options.h"

namespace bellhop {

namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20;

/// A string or a number as it would be written on the command line; nothing for all others.
std::optional<std::string> scalar(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  return std::nullopt;
}

void place_path(std::string& path, const std::filesystem::path& folder) {
  if (!path.empty() && path.front() != '/') path = (folder / path).string();
}

class OptionsReader {
 public:
  explicit OptionsReader(std::string name)
      : name_(std::move(name)), folder_(std::filesystem::path(name_).parent_path()) {}

  Result<MachineOptions> read(const toml::table& table) {
    MachineOptions options;
    for (const auto& [toml_key, node] : table) {
      const std::string key(toml_key.str());
      const auto of_one_value = std::ranges::find(
          scalar_options(), key, [](const ScalarOption& one) { return one.name.substr(2); });
      const auto kind = std::ranges::find(device_kinds(), key,
                                          [](const DeviceKind& one) { return one.option.name; });
      Status taken;
      if (of_one_value != scalar_options().end()) {
        auto text = scalar(node);
        if (text) {
          place_paths(key, *text);
          options.*of_one_value->value = OptionText(std::move(*text), place(node));
        } else {
          taken = wrong(node, key, "a string or a number");
        }
      } else if (key == "memory") {
        taken = properties(node, key, "size", options.memory);
      } else if (key == "landlock-rules") {
        taken = list(node, key, "path", false, options.landlock_rules);
      } else if (key == "iothread") {
        taken = list(node, key, "name", false, options.iothreads);
      } else if (key == RateGroupConfig::kOption.substr(2)) {
        taken = list(node, key, "id", false, options.rate_groups);
      } else if (kind != device_kinds().end()) {
        taken =
            list(node, key, kind->option.bare_key, kind->option.may_be_bare, options.*kind->list);
      } else {
        taken = unknown(node, key);
      }
      if (!taken) return forward(taken);
    }
    return options;
  }

 private:
  [[nodiscard]] std::string place(const toml::node& node) const {
    return fmt::format("{}:{}", name_, node.source().begin.line);
  }
  Status wrong(const toml::node& node, std::string_view key, std::string_view right) const {
    return fail(fmt::format("{}: {} must be {}", place(node), key, right));
  }

  Status property(const toml::node& node, std::string_view key, PropertyList& out) const {
    const auto* const boolean = node.as_boolean();
    auto text = scalar(node);
    if (boolean != nullptr) text = boolean->get() ? "on" : "off";
    if (!text) return wrong(node, key, "a string, a number or a boolean");
    out.set({std::string(key), std::move(text), place(node), boolean != nullptr});
    return {};
  }

  Status properties(const toml::node& node, const std::string& key, std::string_view bare_key,
                    PropertyList& out) const {
    out.set_place(place(node));
    if (const auto* table = node.as_table()) {
      for (const auto& [name, value] : *table) {
        const auto* several = value.as_array();
        if (several == nullptr || !PropertyList::may_repeat(name.str())) {
          if (auto taken = property(value, name.str(), out); !taken) return taken;
          continue;
        }
        for (const toml::node& one : *several) {
          if (!scalar(one)) return wrong(one, name.str(), "a list of strings");
          if (auto taken = property(one, name.str(), out); !taken) return taken;
        }
      }
      bellhop::place_paths(out, folder_);
      return {};
    }
    const auto text = scalar(node);
    if (!text) return wrong(node, key, "a table or a string of key=value,...");
    auto parsed = PropertyList::parse(*text, bare_key);
    if (!parsed) return fail(fmt::format("{}: {}: {}", place(node), key, parsed.error().message));
    out = std::move(*parsed);
    out.set_place(place(node));
    bellhop::place_paths(out, folder_);
    return {};
  }

  /// One or an array of them. Where an option may be bare, true is it, and false is none.
  Status list(const toml::node& node, const std::string& key, std::string_view bare_key,
              bool may_be_bare, std::vector<PropertyList>& out) const {
    if (const auto* array = node.as_array()) {
      for (const toml::node& item : *array) {
        if (item.is_array()) return wrong(item, key, "a table or a string of key=value,...");
        if (auto taken = list(item, key, bare_key, may_be_bare, out); !taken) return taken;
      }
      return {};
    }
    const auto* const wanted = node.as_boolean();
    if (wanted == nullptr || !may_be_bare) {
      return properties(node, key, bare_key, out.emplace_back());
    }
    if (wanted->get()) out.emplace_back().set_place(place(node));
    return {};
  }

  [[nodiscard]] Status unknown(const toml::node& node, std::string_view key) const {
    std::vector<std::string_view> known = {"memory", "iothread", "landlock-rules",
                                           RateGroupConfig::kOption.substr(2)};
    for (const ScalarOption& one : scalar_options()) known.push_back(one.name.substr(2));
    for (const DeviceKind& one : device_kinds()) known.push_back(one.option.name);
    const std::string_view meant = nearest(key, known);
    return fail(fmt::format("{}: unknown name '{}'{}", place(node), key,
                            meant.empty() ? "" : fmt::format(": {}?", meant)));
  }

  /// A relative path is meant from the file's folder.
  void place_path(std::string& path) const { bellhop::place_path(path, folder_); }
  void place_path_after(std::string_view word, std::string& value) const {
    if (!value.starts_with(word) || value.size() == word.size()) return;
    std::string path = value.substr(word.size());
    place_path(path);
    value = std::string(word) + path;
  }
  void place_paths(std::string_view option, std::string& value) const {
    if (option == "kernel" || option == "initrd") place_path(value);
    if (option == "api-socket" && !value.starts_with("fd=")) place_path(value);
    if ((option == "stats" || option == "explain") && value != "-") place_path(value);
    if (option == "serial") place_path_after("file=", value);
    if (option == "event-monitor") place_path_after("path=", value);
  }
  std::string name_;
  std::filesystem::path folder_;
};

}  // namespace

void place_paths(PropertyList& list, const std::filesystem::path& folder) {
  for (const std::string_view key : kPathKeys) {
    const Property* const found = list.find(key);
    if (found == nullptr || !found->value || found->boolean) continue;
    Property placed = *found;
    place_path(*placed.value, folder);
    list.set(std::move(placed));
  }
}

Result<MachineOptions> parse_options_text(std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return fail(fmt::format("{}:{}: {}", name, parsed.error().source().begin.line,
                            parsed.error().description()));
  }
  return OptionsReader(name).read(parsed.table());
}

Result<MachineOptions> read_options_file(const std::string& path) {
  const auto text = read_input_file("--config", path, kMaxFile);
  if (!text) return forward(text);
  return parse_options_text(*text, path);
}

}  // namespace bellhop

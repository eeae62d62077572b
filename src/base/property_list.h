#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"

namespace bellhop {

/// One `key=value` of an option. Without `=` there is no value: `readonly`.
struct Property {
  std::string key;
  std::optional<std::string> value;
  std::string place = {};  ///< where it was written: "machine.toml:7"; empty: the command line
  bool boolean = false;    ///< a file's true or false, here "on" or "off": nobody's name or number
  friend bool operator==(const Property&, const Property&) = default;
};

/// The `key=value,key=value` of an option such as `--disk`. A comma inside of a value is written
/// twice; in lists of CPUs (`cpus=0,2-3`) single commas do, since no key begins with a digit that
/// is not followed by `=`.
class PropertyList {
 public:
  PropertyList() = default;
  /// `bare_key` is the key that a first item without `=` stands for: `--memory 512M` is
  /// `size=512M`. Where that key comes later as well, the item is a key like the others:
  /// `readonly,path=FILE`. Errors: an empty item or key, a key given twice that may not
  /// repeat.
  static Result<PropertyList> parse(std::string_view text, std::string_view bare_key = {});

  [[nodiscard]] const std::vector<Property>& items() const noexcept { return items_; }
  [[nodiscard]] const Property* find(std::string_view key) const noexcept;
  /// All values of a key that may be given several times.
  [[nodiscard]] std::vector<std::string> all(std::string_view key) const;
  /// Whether it may: `hostfwd=tcp::2222-:22,hostfwd=udp::53-:53`.
  [[nodiscard]] static bool may_repeat(std::string_view key) noexcept;
  /// Replaces or appends; appends always if the key may repeat.
  void set(Property property);
  /// Everything in `later` wins over what is here.
  void merge(const PropertyList& later);

  /// As parse() would read it again.
  [[nodiscard]] std::string text() const;

  /// Where the list begins: "machine.toml:5"; empty: on the command line.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// Says so of the list and of all that is in it.
  void set_place(const std::string& place);

 private:
  std::vector<Property> items_;
  std::string place_;
};

/// An option of one value as it was written.
struct OptionText {
  OptionText(std::string what) : text(std::move(what)) {}  // NOLINT(google-explicit-constructor)
  OptionText(const char* what) : text(what) {}             // NOLINT(google-explicit-constructor)
  OptionText(std::string what, std::string where)
      : text(std::move(what)), place(std::move(where)) {}

  std::string text;
  std::string place = {};  ///< as Property has it
  friend bool operator==(const OptionText&, const OptionText&) = default;
};

/// An option as messages begin with it, and what may follow: "--disk", or as a file has it,
/// "machine.toml:5: disk".
std::string named_at(std::string_view place, std::string_view option);

/// Takes the values of a PropertyList one by one and keeps the first thing that is wrong with them.
/// Every message names the option and the key, where it was written if that was in a file, and says
/// what would be right. Variables whose key is absent stay as they are.
class PropertyReader {
 public:
  PropertyReader(std::string option, const PropertyList& list)
      : option_(std::move(option)), list_(list) {}

  void text(std::string_view key, std::string& out);
  void texts(std::string_view key, std::vector<std::string>& out);
  void size(std::string_view key, std::uint64_t& out, std::uint64_t least, std::uint64_t most);
  void number(std::string_view key, unsigned& out, unsigned least, unsigned most);
  void duration(std::string_view key, std::chrono::nanoseconds& out, std::chrono::nanoseconds most);
  void cpus(std::string_view key, CpuList& out);
  /// `key`, `key=on`, `key=off`.
  void flag(std::string_view key, bool& out);
  template <class T>
  void choice(std::string_view key, T& out,
              std::initializer_list<std::pair<std::string_view, T>> choices) {
    std::string names;
    bool has_on = false;
    for (const auto& [name, meaning] : choices) {
      has_on = has_on || name == "on";
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    const std::string* value = need_value(key, has_on);
    if (value == nullptr) return;
    for (const auto& [name, meaning] : choices) {
      if (*value == name) {
        out = meaning;
        return;
      }
    }
    wrong(key, *value, "one of " + names);
  }
  /// Notes a fault that the caller found itself.
  void wrong(std::string_view key, std::string_view value, std::string_view right);
  /// The same in the caller's own words, which come behind the option.
  void refuse(std::string_view key, std::string_view message);
  /// Notes that the option as a whole lacks something, or has too much of it: told if nothing else
  /// is wrong.
  void incomplete(std::string_view what);

  [[nodiscard]] bool has(std::string_view key) const { return list_.find(key) != nullptr; }
  /// A key that is read elsewhere.
  void know(std::string_view key) { known_.emplace_back(key); }
  /// The first fault; else a key that nobody asked for; else what incomplete() said; else success.
  Status finish();

 private:
  const std::string* need_value(std::string_view key, bool boolean_will_do = false);

  std::string option_;
  const PropertyList& list_;
  std::vector<std::string> known_;
  std::optional<Error> error_;
  std::optional<Error> incomplete_;
};

/// A whole decimal number within bounds, for options of one number. Errors begin with `option`.
Result<unsigned> parse_count(std::string_view option, std::string_view text, unsigned least,
                             unsigned most);

}  // namespace bellhop

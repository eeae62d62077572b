#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bellhop::control {

/// What the body of a request says, field by field. Keeps the first thing that is wrong with it.
class Body {
 public:
  using Json = nlohmann::json;

  explicit Body(const std::string& text)
      : Body(text.empty() ? Json::object() : Json::parse(text, nullptr, false), {}) {
    if (json_.is_discarded()) {
      refuse("the body is no JSON");
    } else if (!json_.is_object()) {
      refuse("the body must be a JSON object");
    }
  }

  /// Reads the object in a field, if there is one, by `read(Body&)`.
  template <class Read>
  void object(const char* name, Read&& read) {
    const Json* const value = find(name);
    if (value != nullptr) inner(*value, name, read);
  }
  /// The same of each object of a list.
  template <class Read>
  void objects(const char* name, Read&& read) {
    const Json* const value = find(name);
    if (value == nullptr) return;
    if (!value->is_array()) return refuse(fmt::format("{} must be a list", name));
    for (std::size_t i = 0; i < value->size() && ok(); ++i) {
      inner((*value)[i], fmt::format("{}[{}]", name, i), read);
    }
  }

  std::optional<std::uint64_t> number(const char* name) {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_number_unsigned()) return value->get<std::uint64_t>();
    refuse(fmt::format("{} must be a number of 0 or more", name));
    return std::nullopt;
  }
  std::optional<std::string> text(const char* name) {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->get<std::string>();
    refuse(fmt::format("{} must be a text", name));
    return std::nullopt;
  }
  std::optional<bool> flag(const char* name) {
    const Json* const value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_boolean()) return value->get<bool>();
    refuse(fmt::format("{} must be true or false", name));
    return std::nullopt;
  }
  /// Whether the field is there and not null, whatever it is.
  bool has(const char* name) { return find(name) != nullptr; }
  template <class T>
  T needed(const char* name, std::optional<T> value) {
    if (!value && ok()) refuse(fmt::format("{} is missing", name));
    return std::move(value).value_or(T());
  }
  void refuse(std::string_view fault) {
    if (fault_.empty()) fault_ = place_ + std::string(fault);
  }
  [[nodiscard]] bool ok() const noexcept { return fault_.empty(); }
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

  /// Fields that nobody has asked for, fit for a line of the log.
  [[nodiscard]] std::vector<std::string> ignored() const {
    constexpr std::size_t kLongest = 40;
    std::vector<std::string> names = ignored_within_;
    if (!ok()) return names;
    for (const auto& [name, value] : json_.items()) {
      if (names.size() >= kNames) break;
      if (std::ranges::find(known_, name) != known_.end()) continue;
      names.push_back(Json((place_ + name).substr(0, kLongest))
                          .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    }
    return names;
  }

 private:
  static constexpr std::size_t kNames = 8;  ///< that are told

  /// `place`: of the object in the body, "disks[0]."
  Body(Json json, std::string place) : json_(std::move(json)), place_(std::move(place)) {}

  template <class Read>
  void inner(const Json& value, std::string_view name, Read& read) {
    if (!value.is_object()) return refuse(fmt::format("{} must be an object", name));
    Body part(value, fmt::format("{}{}.", place_, name));
    read(part);
    if (!part.ok() && ok()) fault_ = part.fault_;
    for (std::string& unknown : part.ignored()) {
      if (ignored_within_.size() < kNames) ignored_within_.push_back(std::move(unknown));
    }
  }

  const Json* find(const char* name) {
    known_.emplace_back(name);
    if (!ok()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  Json json_;
  std::string place_;
  std::string fault_;
  std::vector<std::string> ignored_within_;
  std::vector<std::string> known_;
};

}  // namespace bellhop::control

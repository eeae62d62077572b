#include "base/property_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/nearest.h"
#include "base/units.h"

namespace bellhop {

namespace {

/// Cuts the next item off `rest`; a doubled comma is one comma of the item.
std::string next_item(std::string_view& rest) {
  std::string item;
  std::size_t i = 0;
  for (; i < rest.size(); ++i) {
    if (rest[i] == ',') {
      if (i + 1 == rest.size() || rest[i + 1] != ',') break;
      ++i;
    }
    item += rest[i];
  }
  rest.remove_prefix(std::min(i, rest.size()));
  return item;
}

bool is_cpu_range(std::string_view item) {
  return !item.empty() && item.find_first_not_of("0123456789-") == std::string_view::npos;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Result<PropertyList> PropertyList::parse(std::string_view text, std::string_view bare_key) {
  PropertyList list;
  std::string_view rest = text;
  bool bare = false;  // the first item stands for the bare key's value
  for (bool first = true;; first = false) {
    const std::string item = next_item(rest);
    const auto equals = item.find('=');
    if (item.empty()) return fail("an item is empty; write key=value,key=value");
    if (equals == 0) return fail(fmt::format("'{}' has no key before the '='", item));
    if (equals != std::string::npos) {
      Property property{item.substr(0, equals), item.substr(equals + 1)};
      if (bare && property.key == bare_key) {
        Property& key_alone = list.items_.front();  // what stood for a value is a key without one
        key_alone.key.swap(*key_alone.value);
        key_alone.value.reset();
        bare = false;
      }
      if (!may_repeat(property.key) && list.find(property.key) != nullptr) {
        return fail(fmt::format("{} is given twice", property.key));
      }
      list.items_.push_back(std::move(property));
    } else if (first && !bare_key.empty()) {
      bare = true;
      list.items_.push_back({std::string(bare_key), item});
    } else if (!first && is_cpu_range(item) && list.items_.back().value) {
      *list.items_.back().value += ',' + item;
    } else if (list.find(item) != nullptr) {
      return fail(fmt::format("{} is given twice", item));
    } else {
      list.items_.push_back({item, std::nullopt});
    }
    if (rest.empty()) return list;
    rest.remove_prefix(1);
  }
}

std::string PropertyList::text() const {
  std::string text;
  for (const Property& item : items_) {
    if (!text.empty()) text += ',';
    text += item.key;
    if (!item.value) continue;
    text += '=';
    for (const char c : *item.value) text += c == ',' ? ",," : std::string(1, c);
  }
  return text;
}

const Property* PropertyList::find(std::string_view key) const noexcept {
  const auto found = std::ranges::find(items_, key, &Property::key);
  return found == items_.end() ? nullptr : &*found;
}

std::vector<std::string> PropertyList::all(std::string_view key) const {
  std::vector<std::string> values;
  for (const Property& property : items_) {
    if (property.key == key) values.push_back(property.value.value_or(""));
  }
  return values;
}

bool PropertyList::may_repeat(std::string_view key) noexcept { return key == "hostfwd"; }

void PropertyList::set(Property property) {
  if (may_repeat(property.key)) return items_.push_back(std::move(property));
  const auto found = std::ranges::find(items_, property.key, &Property::key);
  if (found == items_.end()) {
    items_.push_back(std::move(property));
  } else {
    *found = std::move(property);
  }
}

void PropertyList::merge(const PropertyList& later) {
  std::erase_if(items_, [&](const Property& property) {
    return may_repeat(property.key) && later.find(property.key) != nullptr;
  });
  for (const Property& property : later.items_) set(property);
}

void PropertyList::set_place(const std::string& place) {
  place_ = place;
  for (Property& property : items_) property.place = place;
}

std::string named_at(std::string_view place, std::string_view option) {
  if (place.empty()) return std::string(option);
  return fmt::format("{}: {}", place, option.substr(option.starts_with("--") ? 2 : 0));
}

void PropertyReader::refuse(std::string_view key, std::string_view message) {
  if (error_) return;
  const Property* property = list_.find(key);
  const std::string& place = property == nullptr ? list_.place() : property->place;
  error_ = Error{fmt::format("{}: {}", named_at(place, option_), message), 0};
}

void PropertyReader::wrong(std::string_view key, std::string_view value, std::string_view right) {
  refuse(key, fmt::format("{}={} is wrong; it must be {}", key, value, right));
}

void PropertyReader::incomplete(std::string_view what) {
  if (!incomplete_)
    incomplete_ = Error{fmt::format("{}: {}", named_at(list_.place(), option_), what), 0};
}

const std::string* PropertyReader::need_value(std::string_view key, bool boolean_will_do) {
  known_.emplace_back(key);
  const Property* property = list_.find(key);
  if (property == nullptr) return nullptr;
  if (!property->value || property->value->empty()) {
    refuse(key, fmt::format("{} needs a value: {}=...", key, key));
    return nullptr;
  }
  if (property->boolean && !boolean_will_do) {
    wrong(key, *property->value == "on" ? "true" : "false", "a string or a number");
    return nullptr;
  }
  return &*property->value;
}

void PropertyReader::text(std::string_view key, std::string& out) {
  if (const std::string* value = need_value(key)) out = *value;
}

void PropertyReader::texts(std::string_view key, std::vector<std::string>& out) {
  if (need_value(key) != nullptr) out = list_.all(key);
}

void PropertyReader::size(std::string_view key, std::uint64_t& out, std::uint64_t least,
                          std::uint64_t most) {
  const std::string* value = need_value(key);
  if (value == nullptr) return;
  const auto parsed = parse_size(*value);
  if (!parsed || *parsed < least || *parsed > most) {
    std::string right = fmt::format("a size from {} to {}, such as 4K, 512M or 2G",
                                    format_size(least), format_size(most));
    // Other programs count in megabytes.
    const bool bare = parsed && value->find_first_not_of("0123456789") == std::string::npos;
    constexpr std::uint64_t kMega = std::uint64_t{1} << 20;
    if (bare && *parsed <= most / kMega && *parsed >= (least + kMega - 1) / kMega) {
      right += fmt::format(": {}M?", *value);
    }
    wrong(key, *value, right);
    return;
  }
  out = *parsed;
}

void PropertyReader::duration(std::string_view key, std::chrono::nanoseconds& out,
                              std::chrono::nanoseconds most) {
  const std::string* value = need_value(key);
  if (value == nullptr) return;
  const auto parsed = parse_duration(*value);
  if (!parsed || *parsed > most) {
    wrong(key, *value,
          fmt::format("a time up to {} us, such as 50us or 0",
                      std::chrono::duration_cast<std::chrono::microseconds>(most).count()));
    return;
  }
  out = *parsed;
}

void PropertyReader::number(std::string_view key, unsigned& out, unsigned least, unsigned most) {
  const std::string* value = need_value(key);
  if (value == nullptr) return;
  if (const auto parsed = parse_count("", *value, least, most)) {
    out = *parsed;
  } else {
    wrong(key, *value, fmt::format("a number from {} to {}", least, most));
  }
}

void PropertyReader::cpus(std::string_view key, CpuList& out) {
  const std::string* value = need_value(key);
  if (value == nullptr) return;
  if (auto parsed = parse_cpu_list(*value)) {
    out = std::move(*parsed);
  } else {
    refuse(key, fmt::format("{}: {}", key, parsed.error().message));
  }
}

void PropertyReader::flag(std::string_view key, bool& out) {
  known_.emplace_back(key);
  const Property* property = list_.find(key);
  if (property == nullptr) return;
  if (!property->value || *property->value == "on") {
    out = true;
  } else if (*property->value == "off") {
    out = false;
  } else {
    wrong(key, *property->value, "on or off");
  }
}

Status PropertyReader::finish() {
  if (error_) return tl::unexpected<Error>(*error_);
  for (const Property& property : list_.items()) {
    if (std::ranges::find(known_, property.key) == known_.end()) {
      const std::vector<std::string_view> known(known_.begin(), known_.end());
      const std::string_view meant = nearest(property.key, known);
      return fail(fmt::format("{}: unknown key '{}'{}; known are {}",
                              named_at(property.place, option_), property.key,
                              meant.empty() ? "" : fmt::format(": {}?", meant), join(known_)));
    }
  }
  if (incomplete_) return tl::unexpected<Error>(*incomplete_);
  return {};
}

Result<unsigned> parse_count(std::string_view option, std::string_view text, unsigned least,
                             unsigned most) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value);
  if (problem != std::errc{} || stop != end || value < least || value > most) {
    return fail(fmt::format("{}: '{}' is wrong; it must be a number from {} to {}", option, text,
                            least, most));
  }
  return value;
}

}  // namespace bellhop

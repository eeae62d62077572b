#include "bench/harness/resume.h"

#include <fmt/format.h>

#include "base/shallow_json.h"

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

/// A string without its quotes.
std::string in_words(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string words;
  for (const Json& one : value) words += (words.empty() ? "" : ",") + in_words(one);
  return words;
}

const Json* find(const Json& json, const std::string& name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() ? nullptr : &*found;
}

/// Of the values of `now`, the first that is another one in `then`. `before` stands before its
/// name.
Status same_values(const Json* then, const Json& now, const char* before) {
  for (const auto& [name, value] : now.items()) {
    const Json* const old = then == nullptr ? nullptr : find(*then, name);
    if (old != nullptr && *old == value) continue;
    constexpr std::size_t kLongest = 120;
    std::string was = old == nullptr ? "unknown" : in_words(*old);
    if (was.size() > kLongest) was.resize(kLongest);
    return fail(
        fmt::format("it was measured with {}{} {}, not {}", before, name, was, in_words(value)));
  }
  return {};
}

}  // namespace

Result<Json> parse_report(std::string_view text) {
  Json report = parse_shallow_json<Json>(text);
  const Json* const schema = find(report, "schema");
  if (schema == nullptr || !schema->is_number_integer()) return fail("it is no report of bench");
  if (*schema != kSchema) {
    return fail(fmt::format("it has schema {}, and not {}", in_words(*schema), kSchema));
  }
  return report;
}

Status check_same(const Json& report, const Json& options, const Json& host) {
  if (auto same = same_values(find(report, "options"), options, "--"); !same) return same;
  return same_values(find(report, "host"), host, "");
}

Result<std::uint64_t> seed_in(const Json& report) {
  const Json* const seed = find(report, "seed");
  if (seed == nullptr || !seed->is_number_unsigned()) return fail("it has no seed");
  return seed->get<std::uint64_t>();
}

Result<std::string> cell_in(const Json& run) {
  const Json* const cell = find(run, "cell");
  if (cell == nullptr || !cell->is_string()) return fail("a run does not say which cell it is of");
  return cell->get<std::string>();
}

Result<Json> list_in(const Json& json, const char* name) {
  const Json* const list = find(json, name);
  if (list == nullptr || !list->is_array()) return fail(fmt::format("it has no '{}'", name));
  return *list;
}

}  // namespace bellhop::bench

#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace bellhop {

/// Parses what others have written. Discarded (`is_discarded()`) if it is no JSON, or nested deeper
/// than anything of ours: copying, comparing and printing call themselves for each level.
template <class Json = nlohmann::json>
Json parse_shallow_json(std::string_view text) {
  constexpr int kDeepest = 16;
  bool too_deep = false;
  const auto shallow = [&too_deep](int depth, typename Json::parse_event_t /*event*/,
                                   Json& /*value*/) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  Json parsed = Json::parse(text, shallow, false);
  return too_deep ? Json(Json::value_t::discarded) : parsed;
}

}  // namespace bellhop

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/throttle.h"

namespace bellhop {

/// Rates that several devices keep to together.
struct RateGroup final : RateLimited {
  RateGroup(std::string name, const Rates& rates) : id(std::move(name)), throttle(rates) {}
  void set_rates(const Rates& rates) noexcept override { throttle.change(rates); }

  const std::string id;
  Throttle throttle;  ///< counts the waits of all of them
};
using RateGroups = std::vector<std::unique_ptr<RateGroup>>;

/// Null: there is none of that name.
inline Throttle* find_throttle(const RateGroups* groups, std::string_view id) noexcept {
  if (groups == nullptr || id.empty()) return nullptr;
  for (const auto& group : *groups) {
    if (group->id == id) return &group->throttle;
  }
  return nullptr;
}

}  // namespace bellhop

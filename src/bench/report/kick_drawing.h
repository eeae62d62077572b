#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace bellhop::bench {

/// <svg>...</svg>: a kick that exits beside one by ioeventfd, with the microseconds of `floors`.
/// Empty where they were not measured.
std::string draw_kicks(const nlohmann::ordered_json& floors);

}  // namespace bellhop::bench

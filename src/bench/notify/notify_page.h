#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/notify/notify_bench.h"
#include "bench/report/html_report.h"

namespace bellhop::bench {

/// The table, and what was found.
Page make_page(const NotifyReport& report);
/// Under "notify": each kind with its median, spread and its ratio to the floor.
nlohmann::ordered_json to_json(const NotifyReport& report);
/// One line for each kind.
std::string to_csv(const NotifyReport& report);

}  // namespace bellhop::bench

#pragma once

#include <string>
#include <string_view>

#include "control/command.h"

namespace bellhop::control {

/// What a Prometheus server is told that the body is.
inline constexpr const char* kMetricsTextType = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted, in Prometheus' text format 0.0.4, names and units by its rules:
/// each family once, with its help, counts with the ending _total, seconds and bytes.
std::string metrics_text(const MachineMetrics& metrics, std::string_view version);

}  // namespace bellhop::control

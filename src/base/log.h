#pragma once

#include <spdlog/spdlog.h>

namespace bellhop {

/// Lines for the operator, on standard error. Never called on the data path.
namespace log {
using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;
}  // namespace log

}  // namespace bellhop

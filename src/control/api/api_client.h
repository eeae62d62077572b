#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/api/http_message.h"

namespace bellhop::control {

/// Asks the API at `socket` once, on a connection of its own, and waits for the answer. `name` is
/// the endpoint's, such as "vm.info". Errors: nobody listens there, no whole answer within
/// `patience`, or what comes is none.
Result<HttpResponse> ask_api(const std::string& socket, std::string_view method,
                             std::string_view name, std::string_view body,
                             std::chrono::milliseconds patience);

/// The messages of an answer that is an error, in one line, fit for a terminal.
std::string error_text(const HttpResponse& response);

}  // namespace bellhop::control

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace bellhop::control {

/// An HTTP request, whole.
struct HttpRequest {
  std::string method;  ///< "GET"
  std::string target;  ///< as it was sent: "/api/v1/vm.info"
  std::string body;
  bool keep_alive = true;     ///< the client means to send more
  std::vector<UniqueFd> fds;  ///< that came beside it (SCM_RIGHTS)
};

/// An answer.
struct HttpResponse {
  unsigned status = 204;
  std::string body = {};
  const char* type = "application/json";  ///< the body's
  std::string allow = {};                 ///< with 405: the method that would be right
  bool close = false;                     ///< the connection ends with it
};

/// The bytes of an answer. `keep_alive`: the connection stays.
std::string to_bytes(const HttpResponse& response, bool keep_alive);

/// What the API says of an error: a list of messages.
HttpResponse error_response(unsigned status, std::string_view message);

}  // namespace bellhop::control

#include "control/api/http_message.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace bellhop::control {

namespace {

const char* reason_of(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

}  // namespace

std::string to_bytes(const HttpResponse& response, bool keep_alive) {
  std::string bytes =
      fmt::format("HTTP/1.1 {} {}\r\nServer: Bellhop\r\nConnection: {}\r\n", response.status,
                  reason_of(response.status), keep_alive ? "keep-alive" : "close");
  if (!response.allow.empty()) bytes += fmt::format("Allow: {}\r\n", response.allow);
  if (response.status != 204) {  // RFC 9110, 8.6: it has no length
    bytes += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", response.type,
                         response.body.size());
  }
  return bytes + "\r\n" + response.body;
}

HttpResponse error_response(unsigned status, std::string_view message) {
  // Messages quote what clients have sent, in whatever bytes.
  return {.status = status,
          .body = nlohmann::json(std::vector<std::string>{std::string(message)})
                      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

}  // namespace bellhop::control

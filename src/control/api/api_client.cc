#include "control/api/api_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/poll.h"
#include "base/printable.h"
#include "base/unix_socket.h"
#include "control/api/http_parser.h"

namespace bellhop::control {

namespace {

using Clock = std::chrono::steady_clock;

/// Larger ones come from no Bellhop.
constexpr HttpLimits kAnswerLimits{.head = 8 * 1024, .body = std::uint64_t{16} << 20};

/// False: the time is over.
bool wait_until(int socket, short events, Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  if (left <= 0) return false;
  std::array fds{pollfd{.fd = socket, .events = events, .revents = 0}};
  wait_ready(fds, static_cast<int>(left));
  return true;
}

Status send_all(int socket, std::string_view bytes, Clock::time_point end) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // it may have answered before that
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail_errno("cannot write to it");
    } else if (!wait_until(socket, POLLOUT, end)) {
      return fail("it does not read what is asked of it", ETIMEDOUT);
    }
  }
  return {};
}

Result<HttpResponse> receive(int socket, Clock::time_point end) {
  HttpResponseParser parser(kAnswerLimits);
  std::string in;
  while (true) {
    std::array<char, 16 * 1024> bytes;
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!wait_until(socket, POLLIN, end)) return fail("it does not answer in time", ETIMEDOUT);
      continue;
    }
    HttpProgress progress = HttpProgress::kNeedsMore;
    if (got > 0) {
      in.append(bytes.data(), static_cast<std::size_t>(got));
      const HttpStep step = parser.put(in);
      in.erase(0, step.taken);
      progress = step.progress;
    } else {
      progress = parser.end();
    }
    if (progress == HttpProgress::kComplete) return parser.take();
    if (progress != HttpProgress::kNeedsMore) return fail("it does not answer as the API does");
  }
}

}  // namespace

Result<HttpResponse> ask_api(const std::string& socket, std::string_view method,
                             std::string_view name, std::string_view body,
                             std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  const auto named = [&](const Error& error) {
    return fail(fmt::format("{}: {}", socket, error.message), error.code);
  };
  UniqueFd connection = make_unix_socket();
  if (!connection.valid()) return fail_errno(fmt::format("{}: cannot make a socket", socket));
  while (const int fault = connect_unix(connection.get(), socket)) {
    // EAGAIN: others wait in front of us, and nobody is told when there is room.
    if ((fault != EAGAIN && fault != EINTR) || Clock::now() >= end) {
      return fail_errno(fmt::format("{}: no machine answers there", socket), fault);
    }
    wait_ready({}, 5);
  }
  const std::string request = fmt::format(
      "{} /api/v1/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
      "application/json\r\nContent-Length: {}\r\n\r\n{}",
      method, name, body.size(), body);
  if (auto sent = send_all(connection.get(), request, end); !sent) return named(sent.error());
  auto response = receive(connection.get(), end);
  if (!response) return named(response.error());
  return response;
}

std::string error_text(const HttpResponse& response) {
  const auto json = nlohmann::json::parse(response.body, nullptr, false);
  std::string text;
  if (json.is_array()) {
    for (const auto& one : json) {
      if (one.is_string()) text += (text.empty() ? "" : ": ") + one.get<std::string>();
    }
  }
  return text.empty() ? fmt::format("status {}", response.status) : printable(std::move(text));
}

}  // namespace bellhop::control

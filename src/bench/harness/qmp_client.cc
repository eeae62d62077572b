#include "bench/harness/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace bellhop::bench {

namespace {

using Clock = std::chrono::steady_clock;

std::vector<int> thread_ids(const nlohmann::json& answer) {
  std::vector<int> tids;
  if (!answer.is_array()) return tids;
  for (const auto& item : answer) {
    if (item.is_object() && item.contains("thread-id") && item["thread-id"].is_number_integer()) {
      tids.push_back(item["thread-id"].get<int>());
    }
  }
  return tids;
}

}  // namespace

Result<nlohmann::json> QmpClient::read_object() {
  while (true) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      auto object = nlohmann::json::parse(buffer_.substr(0, end), nullptr, false);
      buffer_.erase(0, end + 1);
      if (!object.is_object()) return fail("QEMU's control socket sent no JSON");
      if (object.contains("event")) continue;
      return object;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now());
    pollfd fd{socket_.get(), POLLIN, 0};
    if (::poll(&fd, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0))) <= 0) {
      return fail("QEMU's control socket does not answer", ETIMEDOUT);
    }
    std::array<char, 4096> chunk;
    const ssize_t got = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (got <= 0) return fail("QEMU ended at its start");
    buffer_.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

Result<nlohmann::json> QmpClient::execute(const std::string& command) {
  const std::string text = "{\"execute\":\"" + command + "\"}\n";
  if (::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size())) {
    return fail_errno("cannot write to QEMU's control socket");
  }
  auto answer = read_object();
  if (!answer) return answer;
  if (!answer->contains("return")) return fail("QEMU refused " + command);
  return (*answer)["return"];
}

Status QmpClient::greet(std::chrono::milliseconds patience) {
  deadline_ = Clock::now() + patience;
  if (auto greeting = read_object(); !greeting) return forward(greeting);
  if (auto done = execute("qmp_capabilities"); !done) return forward(done);
  return {};
}

Result<std::vector<int>> QmpClient::vcpu_tids() {
  auto answer = execute("query-cpus-fast");
  if (!answer) return forward(answer);
  return thread_ids(*answer);
}

Result<std::vector<int>> QmpClient::iothread_tids() {
  auto answer = execute("query-iothreads");
  if (!answer) return forward(answer);
  return thread_ids(*answer);
}

Status QmpClient::resume() {
  auto done = execute("cont");
  if (!done) return forward(done);
  return {};
}

}  // namespace bellhop::bench

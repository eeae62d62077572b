#include "control/api/api_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "control/api/api_v1.h"

namespace bellhop::control {

namespace {

/// Connections taken in one turn.
constexpr int kInOneTurn = 16;
/// Where the process has no descriptor for another client.
constexpr std::chrono::milliseconds kAcceptAgain{100};

void send_at_once(int socket, const std::string& bytes) {
  (void)::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::start(Setup setup) {
  std::unique_ptr<ApiServer> server(new ApiServer(std::move(setup)));
  // An io_uring would cost more memory than all the rest of it.
  auto thread =
      IoThread::start({.name = "api", .cpus = {}, .prefer_epoll = true, .kind = ThreadKind::kApi});
  if (!thread) return forward(thread);
  server->thread_ = std::move(*thread);
  Status listening;
  server->thread_->run_sync([&] { listening = server->listen(); });
  if (!listening) return forward(listening);
  return server;
}

ApiServer::~ApiServer() {
  if (!thread_) return;
  // Comes after the answers that were posted.
  thread_->run_sync([this] {
    EventLoop& loop = thread_->loop();
    can_accept_.reset();
    loop.stop_timer(*this);
    connections_.clear();
    loop.cancel_deferred(*this);
  });
}

Status ApiServer::listen() {
  auto watch = thread_->loop().watch_fd(setup_.listener.fd(), Readiness::kReadable, *this);
  if (!watch) return forward(watch);
  can_accept_ = std::move(*watch);
  can_accept_->arm();
  return {};
}

void ApiServer::on_ready() noexcept {
  for (int count = 0; count < kInOneTurn; ++count) {
    if (!accept_one()) return;
  }
  can_accept_->arm();
}

bool ApiServer::accept_one() {
  UniqueFd socket = setup_.listener.accept();
  if (!socket.valid()) {
    if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) {
      can_accept_->arm();
    } else {
      thread_->loop().start_timer(*this, kAcceptAgain);
    }
    return false;
  }
  if (!make_room()) {
    send_at_once(
        socket.get(),
        to_bytes(error_response(429, "Too Many Requests: all connections are at work"), false));
    return true;
  }
  const std::uint64_t id = next_id_++;
  auto made = ApiConnection::create(id, std::move(socket), thread_->loop(), setup_.limits, *this);
  if (!made) {
    log_.warn("API: a client's connection ends: {}", made.error().message);
    return true;
  }
  connections_.emplace(id, std::move(*made));
  return true;
}

bool ApiServer::make_room() {
  std::erase_if(connections_, [](const auto& one) { return one.second->over(); });
  if (connections_.size() < setup_.limits.connections) return true;
  // A client that has nothing to say may connect again.
  auto oldest = connections_.end();
  for (auto one = connections_.begin(); one != connections_.end(); ++one) {
    if (!one->second->idle()) continue;
    if (oldest == connections_.end() || one->second->last_used() < oldest->second->last_used()) {
      oldest = one;
    }
  }
  if (oldest == connections_.end()) return false;
  connections_.erase(oldest);
  return true;
}

void ApiServer::run() noexcept {
  std::erase_if(connections_, [](const auto& one) { return one.second->over(); });
}

void ApiServer::take_request(std::uint64_t connection, HttpRequest request) {
  ApiRequest read = read_request(request, std::move(request.fds));
  if (const auto* refused = std::get_if<HttpResponse>(&read.result)) {
    return answer(connection, *refused);
  }
  if (!read.ignored.empty()) {
    log_.info("API: {}: fields that mean nothing here are ignored: {}", request.target,
              fmt::join(read.ignored, ", "));
  }
  Command command = std::get<Command>(std::move(read.result));
  setup_.control->submit(command, [this, connection, command](const Result<Answer>& done) {
    HttpResponse response = write_answer(command, done, setup_.version);
    if (thread_->is_current()) return answer(connection, response);
    thread_->loop().post(
        [this, connection, response = std::move(response)] { answer(connection, response); });
  });
}

void ApiServer::answer(std::uint64_t connection, const HttpResponse& response) {
  const auto found = connections_.find(connection);
  if (found != connections_.end() && !found->second->over()) found->second->answer(response);
}

}  // namespace bellhop::control

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "control/api/http_message.h"
#include "control/api/http_parser.h"
#include "event/event_loop.h"

struct msghdr;

namespace bellhop::control {

/// What a client may take of us.
struct ApiLimits {
  HttpLimits http = {};
  std::size_t connections = 64;
  std::size_t descriptors = 32;  ///< beside one request
  /// For a request from its first byte to its last, and for its client to read the answer.
  std::chrono::milliseconds patience{5000};
};

/// Where the requests of a connection go. On the loop's thread.
class ApiRequestSink {
 public:
  /// The answer is given by ApiConnection::answer(), now or later; until then no other request of
  /// this connection comes.
  virtual void take_request(std::uint64_t connection, HttpRequest request) = 0;
  /// The connection is over, and may be destroyed once this call has returned to the loop.
  virtual void connection_over() = 0;

 protected:
  ~ApiRequestSink() = default;
};

/// One client's connection: HTTP/1.1 requests, pipelined or not, each answered in its turn. It
/// reads nothing while a request waits for its answer or the client does not read.
///
/// On its loop's thread.
class ApiConnection final : private Task, private TimerHandler {
 public:
  /// Errors: the host refuses to watch the socket.
  static Result<std::unique_ptr<ApiConnection>> create(std::uint64_t id, UniqueFd socket,
                                                       EventLoop& loop, const ApiLimits& limits,
                                                       ApiRequestSink& sink);
  ~ApiConnection() override;
  ApiConnection(const ApiConnection&) = delete;
  ApiConnection& operator=(const ApiConnection&) = delete;

  /// Of the request that take_request() has got.
  void answer(const HttpResponse& response);

  /// No request is begun or unanswered, and no answer is unread.
  [[nodiscard]] bool idle() const noexcept;
  [[nodiscard]] bool over() const noexcept { return over_; }
  /// When the last answer was given, or the connection made.
  [[nodiscard]] std::chrono::steady_clock::time_point last_used() const noexcept {
    return last_used_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  ApiConnection(std::uint64_t id, UniqueFd socket, EventLoop& loop, const ApiLimits& limits,
                ApiRequestSink& sink)
      : id_(id),
        socket_(std::move(socket)),
        loop_(loop),
        limits_(limits),
        sink_(sink),
        parser_(limits.http) {}

  void run() noexcept override { go_on(); }
  void on_timer() noexcept override;
  void readable() noexcept;
  /// Serves what has been read, writes what can be written, and waits for what comes next.
  void go_on() noexcept;
  void serve_some();
  void refuse(unsigned status, std::string_view message);
  [[nodiscard]] bool take_descriptors(::msghdr& head);
  bool flush() noexcept;
  void watch_the_time() noexcept;
  void finish() noexcept;

  const std::uint64_t id_;
  UniqueFd socket_;
  EventLoop& loop_;
  const ApiLimits& limits_;
  ApiRequestSink& sink_;
  ReadyCall<ApiConnection, &ApiConnection::readable> reader_{*this};
  ReadyCall<ApiConnection, &ApiConnection::go_on> writer_{*this};
  std::unique_ptr<FdWatch> can_read_;
  std::unique_ptr<FdWatch> can_write_;
  HttpRequestParser parser_;
  std::string in_;   ///< read, and not parsed
  std::string out_;  ///< not written yet
  std::vector<UniqueFd> fds_;
  std::size_t drained_ = 0;  ///< bytes that were read and thrown away
  bool waiting_ = false;     ///< for an answer
  bool serving_ = false;     ///< take_request() has not returned
  bool keep_alive_ = true;   ///< what the request that is answered next asks for
  bool continued_ = false;   ///< the client has leave to send its body
  bool input_over_ = false;  ///< the client sends no more
  bool closing_ = false;     ///< no more requests are served
  bool shut_ = false;        ///< all is written; what the client sends is thrown away
  bool over_ = false;
  bool timed_ = false;
  Clock::time_point last_used_ = Clock::now();
};

}  // namespace bellhop::control

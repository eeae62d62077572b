// Whatever a client of the API sends, in whatever pieces, with or without descriptors: what comes
// back is a row of HTTP answers, nothing is left of it, and the next client is served.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "control/api/api_connection.h"
#include "control/api/api_v1.h"
#include "testing/control_fixture.h"

namespace {

using namespace bellhop;
using namespace bellhop::control;
using bellhop::testing::ControlledMachine;
using bellhop::testing::must;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

/// Has commands executed by the control of a machine that has come to its end: all is answered at
/// once, and nothing of one input is left for the next.
class Backend final : public ApiRequestSink {
 public:
  Backend() {
    machine.run();
    machine.machine->stop();
    machine.finish();
  }
  void take_request(std::uint64_t /*connection*/, HttpRequest request) override {
    ApiRequest read = read_request(request);
    if (const auto* refused = std::get_if<HttpResponse>(&read.result)) {
      return connection->answer(*refused);
    }
    const auto command = std::get<Command>(read.result);
    machine.control->submit(command, [&](const Result<Answer>& done) {
      connection->answer(write_answer(command, done, "fuzz"));
    });
  }
  void connection_over() override {}

  ControlledMachine machine;
  ApiLimits limits;
  std::unique_ptr<EventLoop> loop = must(EventLoop::create(LoopKind::kEpoll));
  ApiConnection* connection = nullptr;
};

class Client {
 public:
  explicit Client(Backend& server) : server_(server) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      std::abort();
    }
    socket_ = UniqueFd(ends[0]);
    connection_ =
        must(ApiConnection::create(0, UniqueFd(ends[1]), *server.loop, server.limits, server));
    server_.connection = connection_.get();
  }

  void send(std::string_view bytes, bool with_descriptor) {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    if (with_descriptor) {
      head.msg_control = control.data();
      head.msg_controllen = control.size();
      cmsghdr* const rights = CMSG_FIRSTHDR(&head);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      const int fd = socket_.get();
      std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    (void)::sendmsg(socket_.get(), &head, MSG_NOSIGNAL);
    turn();
  }
  /// No more comes from here.
  void end() {
    ::shutdown(socket_.get(), SHUT_WR);
    for (int i = 0; i < 100 && !connection_->over(); ++i) turn();
    if (!connection_->over()) std::abort();
  }
  /// What has come back, as statuses; it must be answers and nothing else.
  std::size_t answers() {
    std::size_t count = 0;
    std::string_view left = text_;
    while (!left.empty()) {
      if (left.starts_with(kContinue)) {
        left.remove_prefix(kContinue.size());
        continue;
      }
      HttpResponseParser parser({.head = 8192, .body = 1 << 20});
      const HttpStep step = parser.put(left);
      if (step.progress != HttpProgress::kComplete) std::abort();
      left.remove_prefix(step.taken);
      ++count;
    }
    return count;
  }

 private:
  void turn() {
    server_.loop->run_once(std::chrono::nanoseconds(0));
    std::array<char, 16384> bytes;
    ssize_t got = 0;
    while ((got = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0) {
      text_.append(bytes.data(), static_cast<std::size_t>(got));
    }
  }

  Backend& server_;
  UniqueFd socket_;
  std::unique_ptr<ApiConnection> connection_;
  std::string text_;
};

}  // namespace

/// Input: a byte that says how it is cut into pieces, and what is sent.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Backend& server = *new Backend;  // its log lines must not outlive the log
  if (size == 0) return 0;
  const std::size_t piece = (data[0] & 0x7fU) == 0 ? size : data[0] & 0x7fU;
  const bool descriptors = (data[0] & 0x80U) != 0;
  std::string_view left(reinterpret_cast<const char*>(data) + 1, size - 1);
  Client client(server);
  while (!left.empty()) {
    client.send(left.substr(0, piece), descriptors);
    left.remove_prefix(std::min(piece, left.size()));
  }
  client.end();
  (void)client.answers();

  Client next(server);
  next.send("GET /api/v1/vm.info HTTP/1.1\r\n\r\n", false);
  next.end();
  if (next.answers() != 1) std::abort();
  return 0;
}

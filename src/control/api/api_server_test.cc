#include "control/api/api_server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/unix_socket.h"
#include "control/api/api_client.h"
#include "control/api/api_socket.h"
#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::eventually;
using bellhop::testing::must;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kPing = "GET /api/v1/vmm.ping HTTP/1.1\r\nHost: x\r\n\r\n";

std::size_t open_descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// A client that says what it likes.
class Client {
 public:
  explicit Client(const std::string& path) : socket_(make_unix_socket()) {
    EXPECT_EQ(connect_unix(socket_.get(), path), 0);
  }
  /// How much was taken before it would have waited.
  std::size_t send(std::string_view bytes) const {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  void send_fd(std::string_view bytes, int fd, std::size_t count) const {
    const std::vector<int> fds(count, fd);
    std::vector<std::byte> control(CMSG_SPACE(count * sizeof fd));
    iovec part{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control.data();
    head.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof fd);
    std::memcpy(CMSG_DATA(rights), fds.data(), count * sizeof fd);
    ASSERT_EQ(::sendmsg(socket_.get(), &head, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  /// Reads until `enough` bytes of text are there, or the other end has closed.
  std::string read(const std::function<bool(const std::string&)>& enough) {
    while (!enough(text_) && wait()) {
      char bytes[4096];
      const ssize_t got = ::recv(socket_.get(), bytes, sizeof bytes, 0);
      if (got <= 0) break;
      text_.append(bytes, static_cast<std::size_t>(got));
    }
    return text_;
  }
  std::string read_until(const std::string& what) {
    return read([&](const std::string& text) { return text.find(what) != std::string::npos; });
  }
  std::string read_all() {
    return read([](const std::string&) { return false; });
  }
  [[nodiscard]] bool closed() const {
    char byte = 0;
    return wait() && ::recv(socket_.get(), &byte, 1, MSG_PEEK) <= 0;
  }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  [[nodiscard]] bool wait() const {
    pollfd wanted{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&wanted, 1, 20'000) > 0;
  }
  UniqueFd socket_;
  std::string text_;
};

class ApiServerTest : public ::testing::Test {
 protected:
  void start(ApiLimits limits = {}) {
    server_ = must(ApiServer::start({.listener = must(open_api_socket(path_)),
                                     .control = machine_.control.get(),
                                     .version = "1.2.3",
                                     .limits = limits}));
    machine_.run();
  }
  ~ApiServerTest() override {
    machine_.machine->stop();
    if (!machine_.owner.joinable()) machine_.run();
    machine_.finish();
    server_.reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  HttpResponse ask(std::string_view method, std::string_view name, std::string_view body = {}) {
    return must(ask_api(path_, method, name, body, bellhop::testing::kPatience));
  }
  /// Others are served.
  void expect_served() { EXPECT_EQ(ask("GET", "vmm.ping").status, 200U); }

  std::string path_ = fmt::format("{}/api-{}", ::testing::TempDir(), ::getpid());
  ControlledMachine machine_;
  std::unique_ptr<ApiServer> server_;
};

TEST_F(ApiServerTest, IsTheOwnersAlone) {
  start();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_THAT(open_api_socket(path_).error().message, HasSubstr("in use by another program"));
}

TEST_F(ApiServerTest, AnswersEachCommand) {
  start();
  EXPECT_THAT(ask("GET", "vmm.ping").body, HasSubstr(R"("version":"1.2.3")"));
  EXPECT_EQ(ask("PUT", "vm.pause").status, 204U);
  EXPECT_THAT(ask("GET", "vm.info").body, HasSubstr(R"("state":"Paused")"));
  const HttpResponse again = ask("PUT", "vm.pause");
  EXPECT_EQ(again.status, 409U);
  EXPECT_EQ(error_text(again), "the machine is paused: only a running one pauses");
  EXPECT_EQ(ask("PUT", "vm.resume").status, 204U);
  EXPECT_EQ(ask("PUT", "vm.resize", R"({"desired_balloon": 4096})").status, 204U);
  EXPECT_THAT(ask("GET", "vm.counters").body, HasSubstr(R"("wanted_bytes":4096)"));
  EXPECT_EQ(ask("PUT", "vm.shutdown").status, 204U);
  EXPECT_THAT(ask("GET", "vm.info").body, HasSubstr(R"("state":"Shutdown")"));
  EXPECT_EQ(ask("PUT", "vm.boot").status, 204U);
  EXPECT_EQ(ask("PUT", "vmm.shutdown").status, 204U) << "its answer comes before the end";
  machine_.finish();
  EXPECT_EQ(ask("PUT", "vm.pause").status, 503U);
}

TEST_F(ApiServerTest, KeepsAConnectionAndTakesPipelinedRequests) {
  start();
  Client client(path_);
  constexpr int kRequests = 10'000;
  std::thread sender([&] {
    std::string all;
    for (int i = 0; i < kRequests; ++i) all += kPing;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t sent = client.send(std::string_view(all).substr(at));
      at += sent;
      if (sent == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::size_t answers = 0;
  std::size_t looked = 0;
  (void)client.read([&](const std::string& text) {
    for (std::size_t at = 0; (at = text.find("HTTP/1.1 200", looked)) != std::string::npos;) {
      looked = at + 1;
      ++answers;
    }
    return answers == kRequests;
  });
  sender.join();
  EXPECT_EQ(answers, std::size_t{kRequests});
}

TEST_F(ApiServerTest, RequestsComeByteByByteOrAllAtOnce) {
  start();
  Client slow(path_);
  for (const char* at = kPing; *at != 0; ++at) ASSERT_EQ(slow.send(std::string_view(at, 1)), 1U);
  EXPECT_THAT(slow.read_until("features"), StartsWith("HTTP/1.1 200 OK\r\n"));
  Client mixed(path_);
  mixed.send(
      "PUT /api/v1/vm.pause HTTP/1.1\r\n\r\nPUT /api/v1/vm.resume HTTP/1.1\r\n\r\n"
      "GET /api/v1/vm.info HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string all = mixed.read_all();
  EXPECT_THAT(all, StartsWith("HTTP/1.1 204 No Content\r\n"));
  EXPECT_THAT(all, HasSubstr("\"Running\"")) << "in the order in which they came";
}

TEST_F(ApiServerTest, AClientThatClosesItsEndGetsItsAnswers) {
  start();
  Client client(path_);
  client.send(std::string(kPing) + "PUT /api/v1/vm.pause HTTP/1.1\r\n\r\n");
  ::shutdown(client.fd(), SHUT_WR);
  EXPECT_THAT(client.read_all(), HasSubstr("204 No Content"));
}

TEST_F(ApiServerTest, LimitsAreToldByStatus) {
  start();
  Client head(path_);
  head.send("GET / HTTP/1.1\r\nX: " + std::string(10'000, 'x'));
  EXPECT_THAT(head.read_all(), StartsWith("HTTP/1.1 431 "));
  Client body(path_);
  body.send("PUT /api/v1/vm.resize HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n");
  const std::string piece(64 * 1024, 'x');
  for (int i = 0; i < 100; ++i) body.send(piece);
  EXPECT_THAT(body.read_until("large"), StartsWith("HTTP/1.1 413 "));
  Client noise(path_);
  noise.send(std::string("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 11));
  EXPECT_THAT(noise.read_all(), StartsWith("HTTP/1.1 400 "));
  Client endless(path_);
  endless.send("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;");
  std::string name(1024, 'x');
  for (int i = 0; i < 64 && endless.send(name) == name.size(); ++i) {
  }
  EXPECT_THAT(endless.read_until("HTTP/1.1 4"), StartsWith("HTTP/1.1 4"));
  expect_served();
}

TEST_F(ApiServerTest, WhoWaitsForLeaveToSendABodyGetsIt) {
  start();
  Client client(path_);
  client.send(
      "PUT /api/v1/vm.resize HTTP/1.1\r\nContent-Length: 24\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("{\"desired_balloon\":4096}");
  EXPECT_THAT(client.read_until("204"), HasSubstr("HTTP/1.1 204"));
}

TEST_F(ApiServerTest, HalfARequestDelaysNobodyAndEnds) {
  start({.patience = std::chrono::milliseconds(200)});
  Client half(path_);
  half.send("GET /api/v1/vmm.pi");
  Client silent(path_);
  expect_served();
  EXPECT_THAT(half.read_all(), StartsWith("HTTP/1.1 408 "));
  silent.send(kPing);
  EXPECT_THAT(silent.read_until("features"), StartsWith("HTTP/1.1 200 "))
      << "who says nothing may do so";
}

TEST_F(ApiServerTest, AnswersThatNobodyReadsEndTheConnection) {
  start({.patience = std::chrono::milliseconds(200)});
  Client client(path_);
  std::string many;
  for (int i = 0; i < 500; ++i) many += "GET /api/v1/vm.counters HTTP/1.1\r\n\r\n";
  ASSERT_TRUE(eventually([&] { return client.send(many) == 0; }));
  expect_served();
  ASSERT_TRUE(eventually([&] {
    pollfd wanted{.fd = client.fd(), .events = 0, .revents = 0};
    return ::poll(&wanted, 1, 0) > 0 && (wanted.revents & POLLHUP) != 0;
  }));
}

TEST_F(ApiServerTest, TheOldestIdleClientMakesRoom) {
  start({.connections = 2});
  Client first(path_);
  first.send(kPing);
  first.read_until("features");
  Client second(path_);
  second.send(kPing);
  second.read_until("features");
  Client third(path_);
  third.send(kPing);
  EXPECT_THAT(third.read_until("features"), StartsWith("HTTP/1.1 200 "));
  EXPECT_TRUE(first.closed());
  second.send(kPing);
  EXPECT_THAT(second.read_until("features"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ApiServerTest, WhereAllAreAtWorkOneMoreIsTooMany) {
  start({.connections = 2});
  Client first(path_);
  Client second(path_);
  for (Client* const one : {&first, &second}) {
    one->send("PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_THAT(one->read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100 "));
  }
  Client third(path_);
  EXPECT_THAT(third.read_all(), StartsWith("HTTP/1.1 429 Too Many Requests"));
  first.send("{}");
  EXPECT_THAT(first.read_until("404"), HasSubstr("HTTP/1.1 404 "));
}

TEST_F(ApiServerTest, DescriptorsThatNobodyAskedForAreClosed) {
  start();
  const std::size_t before = open_descriptors();
  {
    Client client(path_);
    client.send_fd(kPing, 0, 20);
    client.read_until("features");
    Client too_many(path_);
    too_many.send_fd(kPing, 0, 100);
    EXPECT_THAT(too_many.read_all(), StartsWith("HTTP/1.1 400 "));
    Client in_pieces(path_);
    for (int i = 0; i < 5; ++i) in_pieces.send_fd("G", 0, 20);
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() == before; }));
}

TEST_F(ApiServerTest, ClientsThatComeAndGoLeaveNothing) {
  start();
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 500; ++i) {
    Client client(path_);
    client.send(i % 2 == 0 ? "PUT /api/v1/vm.pause HTTP/1.1\r\n\r\n" : "GET /half");
  }
  // Commands whose clients have gone are at work until the machine has executed them.
  EXPECT_TRUE(eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  EXPECT_TRUE(eventually([&] { return open_descriptors() == before; }));
}

TEST_F(ApiServerTest, AnInfoIsAnsweredWhileAPauseWaits) {
  std::promise<void> go_on;
  std::atomic<bool> busy{false};
  machine_.on_marker = [&, wait = go_on.get_future().share()] {
    busy = true;
    wait.wait();
  };
  start();
  machine_.vcpu().push_exit(ControlledMachine::marker());
  ASSERT_TRUE(eventually([&] { return busy.load(); }));
  Client pausing(path_);
  pausing.send("PUT /api/v1/vm.pause HTTP/1.1\r\n\r\n" + std::string(kPing));
  Client gone(path_);
  gone.send("PUT /api/v1/vm.resume HTTP/1.1\r\n\r\n");
  EXPECT_THAT(ask("GET", "vm.info").body, HasSubstr("\"Running\""));
  go_on.set_value();
  EXPECT_THAT(pausing.read_until("features"), StartsWith("HTTP/1.1 204 "));
}

TEST_F(ApiServerTest, AnEndDuringACommandAnswersIt) {
  std::promise<void> go_on;
  std::atomic<bool> busy{false};
  machine_.on_marker = [&, wait = go_on.get_future().share()] {
    busy = true;
    wait.wait();
  };
  start();
  machine_.vcpu().push_exit(ControlledMachine::marker());
  ASSERT_TRUE(eventually([&] { return busy.load(); }));
  Client first(path_);
  first.send("PUT /api/v1/vm.reboot HTTP/1.1\r\n\r\n");
  Client second(path_);
  second.send("PUT /api/v1/vm.resume HTTP/1.1\r\n\r\n");
  for (int i = 0; i < 3; ++i) expect_served();  // by then it has been read
  machine_.machine->stop();
  go_on.set_value();
  machine_.finish();
  server_.reset();
  EXPECT_THAT(first.read_all(), HasSubstr("has come to its end"));
  EXPECT_THAT(second.read_all(), HasSubstr("has come to its end"));
}

TEST(ApiClientTest, SaysWhatIsWrong) {
  const std::string path = fmt::format("{}/client-{}", ::testing::TempDir(), ::getpid());
  const auto ask = [&](std::chrono::milliseconds patience = std::chrono::milliseconds(100)) {
    return ask_api(path, "GET", "vmm.ping", "", patience).error().message;
  };
  EXPECT_THAT(ask(), HasSubstr(path + ": no machine answers there: No such file"));
  const auto listener = must(UnixListener::listen(path));
  EXPECT_THAT(ask(), HasSubstr("it does not answer in time"));
  (void)listener.accept();
  std::thread other([&] {
    UniqueFd client;
    ASSERT_TRUE(eventually([&] { return (client = listener.accept()).valid(); }));
    (void)::send(client.get(), "220 mail\r\n\r\n", 12, MSG_NOSIGNAL);
  });
  EXPECT_THAT(ask(bellhop::testing::kPatience), HasSubstr("it does not answer as the API does"));
  other.join();
}

TEST(ApiSocketTest, SaysWhatIsWrong) {
  EXPECT_THAT(open_api_socket("fd=x").error().message, HasSubstr("must be a descriptor's number"));
  EXPECT_THAT(open_api_socket("fd=1").error().message, HasSubstr("must be a descriptor's number"));
  UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
  EXPECT_THAT(open_api_socket(fmt::format("fd={}", file.release())).error().message,
              HasSubstr("is no Unix stream socket that listens"));
  EXPECT_THAT(open_api_socket("/no/such/folder/api").error().message,
              HasSubstr("/no/such/folder/api: cannot be made"));
}

}  // namespace
}  // namespace bellhop::control

#include "net/passt_launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/passed_fds.h"
#include "base/split.h"
#include "net/passt.h"

namespace bellhop {

namespace {

using Clock = std::chrono::steady_clock;

/// A question, or an answer, at most: a path, and as many ports as one may name.
constexpr std::size_t kMostBytes = std::size_t{64} * 1024;
/// Between the fields of a question. No path has it.
constexpr char kBetween = '\0';
/// How long an answer may take beyond what passt may.
constexpr std::chrono::milliseconds kAnswerPatience{5000};
/// That come with a good answer: passt's socket, and the lifeline by which it is let go.
constexpr std::size_t kAnswerFds = 2;

PasstLauncher* current = nullptr;

bool is_installed(const std::string& program) {
  const char* const path = std::getenv("PATH");
  return std::ranges::any_of(split(path != nullptr ? path : "", ':'), [&](std::string_view folder) {
    return ::access(fmt::format("{}/{}", folder, program).c_str(), X_OK) == 0;
  });
}

std::string in_words(const PasstSource& source) {
  std::string text = fmt::format("{}{}{}{}{}", source.mtu, kBetween, source.patience.count(),
                                 kBetween, source.program);
  for (const PortForward& one : source.forwards) {
    const bool v6 = one.host_address.find(':') != std::string::npos;
    text += kBetween;
    text +=
        fmt::format("{}:{}{}{}:{}-:{}", one.protocol == PortForward::Protocol::kTcp ? "tcp" : "udp",
                    v6 ? "[" : "", one.host_address, v6 ? "]" : "", one.host_port, one.guest_port);
  }
  return text;
}

/// Errors: it was not in_words() that made it.
Result<PasstSource> from_words(std::string_view text) {
  const std::vector<std::string_view> fields = split(text, kBetween);
  if (fields.size() < 3) return fail("--net: user: a question of no sense", EPROTO);
  PasstSource source;
  const auto number = [](std::string_view field, auto& value) {
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    return error == std::errc() && end == field.data() + field.size();
  };
  std::int64_t patience = 0;
  if (!number(fields[0], source.mtu) || !number(fields[1], patience)) {
    return fail("--net: user: a question of no sense", EPROTO);
  }
  source.patience = std::chrono::milliseconds(patience);
  source.program = fields[2];
  for (std::size_t i = 3; i < fields.size(); ++i) {
    auto port = parse_port_forward(fields[i]);
    if (!port) return forward(port);
    source.forwards.push_back(*std::move(port));
  }
  return source;
}

/// An error's number, 0 for none, and its text.
bool send_answer(int socket, int code, const std::string& text, std::span<const int> fds) {
  std::array<iovec, 2> parts{iovec{&code, sizeof code},
                             {const_cast<char*>(text.data()), text.size()}};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kAnswerFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!fds.empty()) pass_fds(message, fds, control);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) > 0;
}

/// A passt that serves a machine, and our end of its lifeline.
struct Ward {
  PasstChild child;
  UniqueFd lifeline;
  std::optional<Clock::time_point> deadline = {};  ///< by which it must have ended: it was let go
  bool killed = false;

  void let_go(Clock::time_point now) {
    if (!deadline) deadline = now + PasstChild::kEndPatience;
  }
};

/// All that were started and have not ended. In the launcher.
using Wards = std::list<Ward>;

/// False: nobody is there any more.
bool answer(int socket, std::string_view question, Wards& wards) {
  auto source = from_words(question);
  auto passt = source ? run_passt(*source) : Result<RunningPasst>(forward(source));
  if (!passt) {
    const Error& error = passt.error();
    return send_answer(socket, error.code != 0 ? error.code : EIO, error.message, {});
  }
  if (passt->child.ended()) {
    return send_answer(socket, EIO, "--net: user: passt has ended: " + passt->child.last_words(),
                       {});
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return send_answer(socket, errno, "--net: user: cannot make a socket", {});
  }
  UniqueFd ours(ends[0]);
  const UniqueFd its(ends[1]);
  if (!send_answer(socket, 0, "", std::array{passt->socket.get(), its.get()})) return false;
  wards.push_back({.child = std::move(passt->child), .lifeline = std::move(ours)});
  return true;
}

/// Milliseconds to the first deadline, rounded up; -1: there is none.
int time_left(const Wards& wards, Clock::time_point now) {
  std::optional<Clock::time_point> first;
  for (const Ward& one : wards) {
    if (one.deadline && !one.killed && (!first || *one.deadline < *first)) first = one.deadline;
  }
  if (!first) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*first - now);
  return static_cast<int>(std::max(left, std::chrono::milliseconds(0)).count());
}

/// Forgets those that have ended, and kills those whose time is over.
void look_after(Wards& wards) {
  const auto now = Clock::now();
  wards.remove_if([](Ward& one) { return one.child.ended(); });
  for (Ward& one : wards) {
    pollfd gone{.fd = one.lifeline.get(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&gone, 1, 0) == 1) one.let_go(now);
    if (!one.killed && one.deadline && now >= *one.deadline) {
      one.child.kill();
      one.killed = true;
    }
  }
}

/// Waits for a question, an end, or a lifeline that is closed. True: there may be a question.
bool wait_for_work(int socket, const Wards& wards) {
  std::vector<pollfd> fds{{.fd = socket, .events = POLLIN, .revents = 0}};
  for (const Ward& one : wards) {
    fds.push_back({.fd = one.child.process().get(), .events = POLLIN, .revents = 0});
    if (!one.deadline) {
      fds.push_back({.fd = one.lifeline.get(), .events = POLLRDHUP, .revents = 0});
    }
  }
  const int ready = ::poll(fds.data(), fds.size(), time_left(wards, Clock::now()));
  return ready > 0 && fds.front().revents != 0;
}

/// The launcher's own life. `socket` is all that it keeps.
[[noreturn]] void serve(int socket) {
  ::prctl(PR_SET_NAME, "passt-launcher");
  ::setpgid(0, 0);             // the terminal's signals are for the machine
  ::signal(SIGCHLD, SIG_IGN);  // who ends leaves nothing
  constexpr int kOurs = STDERR_FILENO + 1;
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  // In an order in which nothing is overwritten that is wanted.
  const int apart = ::fcntl(socket, F_DUPFD_CLOEXEC, kOurs + 1);
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) ::dup2(null, fd);
  if (apart < 0 || ::dup3(apart, kOurs, O_CLOEXEC) < 0) ::_exit(EXIT_FAILURE);
  ::close_range(kOurs + 1, ~0U, 0);
  std::vector<char> question(kMostBytes);
  Wards wards;
  while (true) {
    look_after(wards);
    if (!wait_for_work(kOurs, wards)) continue;
    const ssize_t got = ::recv(kOurs, question.data(), question.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || !answer(kOurs, {question.data(), static_cast<std::size_t>(got)}, wards)) break;
  }
  // The machine has gone, and with it its ends of their sockets.
  ::close(kOurs);
  for (Ward& one : wards) one.let_go(Clock::now());
  while (!wards.empty()) {
    (void)wait_for_work(-1, wards);
    look_after(wards);
  }
  ::_exit(EXIT_SUCCESS);
}

}  // namespace

Result<std::unique_ptr<PasstLauncher>> PasstLauncher::start() {
  if (!is_installed(PasstSource().program)) return std::unique_ptr<PasstLauncher>();
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("cannot make a socket for what starts passt");
  }
  UniqueFd ours(ends[0]);
  const UniqueFd its(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) serve(its.get());
  if (pid < 0) return fail_errno("cannot make a process that starts passt");
  return std::unique_ptr<PasstLauncher>(new PasstLauncher(pid, std::move(ours)));
}

PasstLauncher::PasstLauncher(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {
  current = this;
}

PasstLauncher::~PasstLauncher() {
  current = nullptr;
  ::shutdown(socket_.get(), SHUT_RDWR);  // its sign to end
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<RunningPasst> PasstLauncher::run(const PasstSource& source) {
  if (current != nullptr) return current->ask(source);
  return fail(
      "--net: user: passt is a program, and this machine may start none any more; it was not "
      "installed when the machine started",
      EPERM);
}

Result<RunningPasst> PasstLauncher::ask(const PasstSource& source) const {
  const auto gone = [] { return fail("--net: user: what starts passt has gone", ECHILD); };
  const std::string question = in_words(source);
  if (question.size() > kMostBytes) return fail("--net: user: too many ports", E2BIG);
  if (::send(socket_.get(), question.data(), question.size(), MSG_NOSIGNAL) < 0) return gone();
  pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const auto patience = source.patience + kAnswerPatience;
  if (::poll(&wait, 1, static_cast<int>(patience.count())) != 1) {
    ::shutdown(socket_.get(), SHUT_RDWR);  // no later question may have this one's answer
    return fail("--net: user: what starts passt does not answer", ETIMEDOUT);
  }
  int code = 0;
  std::string text(kMostBytes, '\0');
  std::array<iovec, 2> parts{iovec{&code, sizeof code}, {text.data(), text.size()}};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kAnswerFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  std::vector<UniqueFd> fds;
  const bool whole = got > 0 && take_passed_fds(message, fds);
  if (!whole || static_cast<std::size_t>(got) < sizeof code) return gone();
  text.resize(static_cast<std::size_t>(got) - sizeof code);
  if (code != 0) return fail(std::move(text), code);
  if (fds.size() != kAnswerFds) return gone();
  return RunningPasst{.socket = std::move(fds[0]), .child = PasstChild(std::move(fds[1]))};
}

}  // namespace bellhop

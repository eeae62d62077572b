#include "net/passt_child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/descriptor_limit.h"
#include "base/split.h"

namespace bellhop {

namespace {

/// What passt writes about itself is kept for its last words, up to this much.
constexpr std::size_t kWords = std::size_t{64} * 1024;
/// How often it is looked whether it serves.
constexpr int kLookMilliseconds = 5;
/// How much longer than passt may take the launcher is waited for.
constexpr std::chrono::milliseconds kLauncherPatience{500};
/// Of the socket, each way: a turn's worth of frames.
constexpr int kSocketBytes = 1024 * 1024;

/// Ethernet's question who has an address: something for passt to read. Asked by nobody: a locally
/// administered address, and 0.0.0.0.
constexpr std::array<unsigned char, 46> kHello = {
    0,    0,    0,    42,                                                 // length
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0,    0,    0,    0, 0x01,  // to all, from
    0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,           // ARP, request
    0x02, 0,    0,    0,    0,    0x01, 0,    0,    0,    0,              // from
    0,    0,    0,    0,    0,    0,    169,  254,  77,   77};            // for

/// Whether another process listens there already: passt itself goes on without that port.
Status check_port(const PortForward& forward, int family) {
  const bool tcp = forward.protocol == PortForward::Protocol::kTcp;
  const bool v6 = family == AF_INET6;
  const UniqueFd socket(::socket(family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return {};  // a host without it
  const int on = 1;
  if (tcp) (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in6 six{};
  sockaddr_in four{};
  six.sin6_family = AF_INET6;
  four.sin_family = AF_INET;
  six.sin6_port = four.sin_port = htons(forward.host_port);
  if (v6) {
    // The other version has its own turn.
    (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    (void)::inet_pton(AF_INET6, forward.host_address.c_str(), &six.sin6_addr);
  } else if (!forward.host_address.empty()) {
    (void)::inet_pton(AF_INET, forward.host_address.c_str(), &four.sin_addr);
  }
  const int bound = v6 ? ::bind(socket.get(), reinterpret_cast<sockaddr*>(&six), sizeof six)
                       : ::bind(socket.get(), reinterpret_cast<sockaddr*>(&four), sizeof four);
  // A port that others have bound can be bound again, by SO_REUSEADDR, unless they listen.
  if (bound == 0 && (!tcp || ::listen(socket.get(), 1) == 0)) return {};
  const char* const everywhere = v6 ? "[::]" : "0.0.0.0";
  return fail_errno(fmt::format(
      "--net: hostfwd: the host's {} port {} {} cannot be had", tcp ? "tcp" : "udp",
      forward.host_address.empty() ? everywhere : forward.host_address, forward.host_port));
}

/// Without an address passt listens by both versions of IP, and is content with one of them.
Status check_port(const PortForward& forward) {
  const bool v6 = forward.host_address.find(':') != std::string::npos;
  if (!forward.host_address.empty()) return check_port(forward, v6 ? AF_INET6 : AF_INET);
  auto four = check_port(forward, AF_INET);
  return four ? check_port(forward, AF_INET6) : four;
}

std::vector<std::string> arguments_of(const PasstSource& source) {
  // One guest, by the socket that it is given; no pid file, no log, no going into the background.
  std::vector<std::string> all{source.program,
                               "--foreground",
                               "--stderr",
                               "--quiet",
                               "--one-off",
                               "--fd",
                               fmt::format("{}", PasstChild::kSocket)};
  if (source.mtu != 0) {
    all.emplace_back("--mtu");
    all.push_back(fmt::format("{}", source.mtu));
  }
  for (const PortForward& one : source.forwards) {
    all.emplace_back(one.protocol == PortForward::Protocol::kTcp ? "--tcp-ports" : "--udp-ports");
    const std::string ports = fmt::format("{}:{}", one.host_port, one.guest_port);
    all.push_back(one.host_address.empty() ? ports : one.host_address + "/" + ports);
  }
  return all;
}

/// Until it has taken what it was sent: an answer may never come, on a host without IPv4. Errors:
/// it has ended, with its last words; it does not get so far.
Status wait_until_there(PasstChild& child, const UniqueFd& socket, const PasstSource& source) {
  const auto end = std::chrono::steady_clock::now() + source.patience;
  (void)::send(socket.get(), kHello.data(), kHello.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  while (true) {
    pollfd wait{.fd = socket.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, kLookMilliseconds);
    if (ready == 1) {
      char byte{};
      // The answer is nobody's: the guest's filter drops it. What else came with it is the guest's.
      if (::recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) return {};
      child.end();
      const std::string words = child.last_words();
      return fail(
          fmt::format("--net: user: passt does not start{}{}", words.empty() ? "" : ": ", words));
    }
    if (has_read_all(socket)) return {};
    if (std::chrono::steady_clock::now() >= end) break;
  }
  return fail(
      fmt::format("--net: user: {} has started, but reads nothing from its socket for {} ms",
                  source.program, source.patience.count()),
      ETIMEDOUT);
}

}  // namespace

Status PasstChild::start(const std::vector<std::string>& arguments, const UniqueFd& socket) {
  words_ = UniqueFd(::memfd_create("passt", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Not larger than this, however much it has to say: what is beyond is refused, not waited for.
  if (!words_.valid() || ::ftruncate(words_.get(), static_cast<off_t>(kWords)) != 0 ||
      ::fcntl(words_.get(), F_ADD_SEALS, F_SEAL_GROW) != 0) {
    return fail_errno("--net: user: no memory for passt's messages");
  }
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& one : arguments) argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, words_.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, socket.get(), kSocket);
  // The terminal's signals are for us; it ends when its socket does.
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  int error = 0;
  {
    const descriptor_limit::AsInherited limit;
    error = ::posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
  }
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error == 0) {
    process_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (process_.valid() || errno == ESRCH) return {};
    Status failed = fail_errno("--net: user: no descriptor of passt");
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(std::exchange(pid_, 0), nullptr, 0);
    return failed;
  }
  pid_ = 0;
  if (error == ENOENT) {
    return fail(fmt::format("--net: user: {} is not installed (apt install passt)", arguments[0]),
                error);
  }
  return fail_errno(fmt::format("--net: user: cannot start {}", arguments[0]), error);
}

PasstChild::PasstChild(PasstChild&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      process_(std::move(other.process_)),
      words_(std::move(other.words_)),
      lifeline_(std::move(other.lifeline_)) {}

bool PasstChild::ended() noexcept {
  if (lifeline_.valid()) {
    pollfd gone{.fd = lifeline_.get(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&gone, 1, 0) == 1) lifeline_.reset();
    return !lifeline_.valid();
  }
  // -1: nobody waits for children here (SIGCHLD is ignored), and it has gone.
  if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) != 0) let_go();
  return pid_ == 0;
}

void PasstChild::let_go() noexcept {
  pid_ = 0;
  process_.reset();
}

void PasstChild::kill() noexcept {
  if (process_.valid()) {
    (void)::syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
  }
}

void PasstChild::end() noexcept {
  if (lifeline_.valid()) return end_by_launcher();
  const auto deadline = std::chrono::steady_clock::now() + kEndPatience;
  while (!ended() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (ended()) return;
  kill();
  if (pid_ > 0) (void)::waitpid(pid_, nullptr, 0);
  let_go();
}

// What passt had of the host, such as a port, is free when it has ended. So that is waited for, but
// a launcher that does not do its part holds up nobody for long.
void PasstChild::end_by_launcher() noexcept {
  (void)::shutdown(lifeline_.get(), SHUT_WR);
  pollfd gone{.fd = lifeline_.get(), .events = POLLRDHUP, .revents = 0};
  (void)::poll(&gone, 1, static_cast<int>((kEndPatience + kLauncherPatience).count()));
  lifeline_.reset();
}

std::string PasstChild::last_words() const {
  std::string text(kWords, '\0');
  const ssize_t got = ::pread(words_.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  text.resize(std::min(text.size(), text.find('\0')));
  std::string last;
  for (const std::string_view line : split(text, '\n')) {
    // That it cannot reach the system's log is not what is wrong with it.
    if (!line.empty() && !line.starts_with("Failed to send")) last = line;
  }
  return last;
}

bool has_read_all(const UniqueFd& socket) noexcept {
  int unread = 0;
  if (::ioctl(socket.get(), SIOCOUTQ, &unread) != 0 || unread != 0) return false;
  pollfd end{.fd = socket.get(), .events = 0, .revents = 0};
  return ::poll(&end, 1, 0) == 0;
}

Result<RunningPasst> run_passt(const PasstSource& source) {
  for (const PortForward& one : source.forwards) {
    if (auto free = check_port(one); !free) return forward(free);
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_errno("--net: user: cannot make a socket");
  }
  UniqueFd its(ends[1]);
  RunningPasst passt{.socket = UniqueFd(ends[0]), .child = {}};
  for (const int fd : ends) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
  }
  if (auto started = passt.child.start(arguments_of(source), its); !started) {
    return forward(started);
  }
  its.reset();
  if (auto there = wait_until_there(passt.child, passt.socket, source); !there) {
    passt.socket.reset();  // its sign to end
    return forward(there);
  }
  return passt;
}

}  // namespace bellhop

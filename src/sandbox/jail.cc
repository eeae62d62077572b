#include "sandbox/jail.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/unique_fd.h"
#include "sandbox/jail_root.h"

namespace bellhop {

namespace {

using sandbox::Lack;

constexpr int kSignalBase = 128;
constexpr int kNoStatus = 1;
constexpr std::pair<std::string_view, int> kResources[] = {
    {"fsize", RLIMIT_FSIZE}, {"no-file", RLIMIT_NOFILE}, {"memlock", RLIMIT_MEMLOCK},
    {"nproc", RLIMIT_NPROC}, {"as", RLIMIT_AS},          {"core", RLIMIT_CORE},
};

struct Capabilities {
  std::array<__user_cap_data_struct, 2> sets{};

  static Capabilities read() noexcept {
    Capabilities own;
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    if (::syscall(SYS_capget, &header, own.sets.data()) != 0) own = {};
    return own;
  }
  [[nodiscard]] bool has(unsigned capability) const noexcept {
    return (sets[capability / 32].effective >> (capability % 32) & 1U) != 0;
  }
  static bool drop_all() noexcept {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const std::array<__user_cap_data_struct, 2> none{};
    return ::syscall(SYS_capset, &header, none.data()) == 0;
  }
};

/// Those that are passed on, but ones that are ignored: blocked, they would be heard of.
sigset_t passed_signals() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH}) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    ::sigaddset(&set, signal);
  }
  return set;
}

int status_of(int raw) noexcept {
  return WIFEXITED(raw) ? WEXITSTATUS(raw) : kSignalBase + WTERMSIG(raw);
}

/// Until `child` has ended: signals of other processes go on to it. Those of a terminal it has got
/// itself. `signals` and SIGCHLD are blocked.
int wait_and_pass(pid_t child, sigset_t signals) noexcept {
  ::sigaddset(&signals, SIGCHLD);
  while (true) {
    int raw = 0;
    while (true) {
      const pid_t ended = ::waitpid(-1, &raw, WNOHANG);  // as a namespace's first, others, too
      if (ended == child) return status_of(raw);
      if (ended < 0 && errno == ECHILD) return kNoStatus;
      if (ended <= 0) break;
    }
    siginfo_t info{};
    const int signal = ::sigwaitinfo(&signals, &info);
    if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL) (void)::kill(child, signal);
  }
}

/// All from 3 on but `kept`.
void close_others(std::vector<int> kept) noexcept {
  std::ranges::sort(kept);
  unsigned first = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (fd < static_cast<int>(first)) continue;
    const auto one = static_cast<unsigned>(fd);
    if (one > first) (void)::close_range(first, one - 1, 0);
    first = one + 1;
  }
  (void)::close_range(first, ~0U, 0);
}

bool write_file(const char* path, const std::string& text) noexcept {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() &&
         ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

/// The caller's own ids are the only ones there, and stay what they are.
Status map_ids(uid_t uid, gid_t gid) {
  (void)write_file("/proc/self/setgroups", "deny");
  if (write_file("/proc/self/uid_map", fmt::format("{0} {0} 1\n", uid)) &&
      write_file("/proc/self/gid_map", fmt::format("{0} {0} 1\n", gid))) {
    return {};
  }
  return fail_errno("the user namespace takes no ids");
}

/// The process between the two, and in which namespaces it is.
struct Started {
  pid_t pid = -1;
  bool own_processes = false;
  bool own_users = false;
  uid_t uid = ::geteuid();  ///< as they were: in a new user namespace they are nobody's at first
  gid_t gid = ::getegid();
};

/// What that process does, which is the first in its namespaces.
class Inner {
 public:
  Inner(const JailSettings& settings, const HostNeeds& needs, const Started& how)
      : settings_(settings),
        needs_(needs),
        how_(how),
        lack_([this](std::string_view what, int error) { return lack(what, error); }) {}

  Status close_doors();

 private:
  [[nodiscard]] Status lack(std::string_view what, int error) const {
    const std::string why = error == 0 ? "" : ": " + std::generic_category().message(error);
    if (settings_.strict) return fail(fmt::format("--strict: without {}{}", what, why), error);
    log::warn("jail: without {}{}", what, why);  // log: at start
    return {};
  }
  Status unshare_or_tell(int flag, std::string_view what) const {
    if (::unshare(flag) == 0) return {};
    return lack(what, errno);
  }
  Status set_network() const;
  Status set_root() const;
  Status set_limits() const;
  Status drop_rights() const;

  const JailSettings& settings_;
  const HostNeeds& needs_;
  const Started& how_;
  const Lack lack_;
};

Status Inner::set_network() const {
  using Network = JailSettings::Network;
  if (settings_.network == Network::kJoin) {
    const UniqueFd file(::open(settings_.netns.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.valid() && ::setns(file.get(), CLONE_NEWNET) == 0) return {};
    return fail_errno(fmt::format("--netns: {}", settings_.netns));
  }
  if (settings_.network == Network::kKeep) return {};
  if (settings_.network == Network::kAuto && needs_.network) return {};
  if (::unshare(CLONE_NEWNET) == 0) return {};
  if (settings_.network == Network::kNone) return fail_errno("--netns none");
  return lack("a network namespace", errno);
}

Status Inner::set_root() const {
  if (::unshare(CLONE_NEWNS) != 0) return lack("a root of its own", errno);
  auto parts = sandbox::jail_parts(needs_, lack_);
  if (!parts) return forward(parts);
  const auto device_owner = how_.own_users ? std::nullopt : settings_.uid;
  auto changed = sandbox::change_root(std::move(*parts), device_owner, how_.own_processes, lack_);
  if (changed) return {};
  return fail("its root: " + changed.error().message, changed.error().code);
}

Status Inner::set_limits() const {
  std::vector<ResourceLimit> limits = {{RLIMIT_CORE, 0}};  // of the guest's memory
  limits.insert(limits.end(), settings_.limits.begin(), settings_.limits.end());
  for (const ResourceLimit& one : limits) {
    const rlimit limit{.rlim_cur = one.value, .rlim_max = one.value};
    if (::setrlimit(static_cast<__rlimit_resource>(one.resource), &limit) == 0) continue;
    const auto* const name =
        std::ranges::find(kResources, one.resource, [](const auto& known) { return known.second; });
    return fail_errno(fmt::format("--resource-limit: {}={}", name->first, one.value));
  }
  return {};
}

Status Inner::drop_rights() const {
  const Capabilities own = Capabilities::read();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) return fail_errno("no_new_privs");
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL);
  if (own.has(CAP_SETPCAP)) {
    for (unsigned long one = 0; ::prctl(PR_CAPBSET_READ, one, 0UL, 0UL, 0UL) >= 0; ++one) {
      if (::prctl(PR_CAPBSET_DROP, one, 0UL, 0UL, 0UL) != 0) return fail_errno("capabilities");
    }
  }
  if (!how_.own_users && own.has(CAP_SETGID) && ::setgroups(0, nullptr) != 0) {
    return fail_errno("groups");
  }
  if (settings_.gid && ::setresgid(*settings_.gid, *settings_.gid, *settings_.gid) != 0) {
    return fail_errno(fmt::format("--gid {}", *settings_.gid));
  }
  if (settings_.uid && ::setresuid(*settings_.uid, *settings_.uid, *settings_.uid) != 0) {
    return fail_errno(fmt::format("--uid {}", *settings_.uid));
  }
  if (!Capabilities::drop_all()) return fail_errno("capabilities cannot be dropped");
  if (::geteuid() == 0) return lack("a user of its own (--uid): it has root's files", 0);
  return {};
}

Status Inner::close_doors() {
  if (how_.own_users) {
    if (auto mapped = map_ids(how_.uid, how_.gid); !mapped) return mapped;
  }
  if (!how_.own_processes) {
    if (auto told = lack("a PID namespace", EPERM); !told) return told;
  }
  if (auto set = set_network(); !set) return set;
  if (auto set = unshare_or_tell(CLONE_NEWIPC, "an IPC namespace"); !set) return set;
  if (::unshare(CLONE_NEWUTS) == 0) {
    (void)::sethostname(settings_.id.data(), settings_.id.size());
  } else if (auto told = lack("a host name of its own", errno); !told) {
    return told;
  }
  if (auto set = unshare_or_tell(CLONE_NEWCGROUP, "a cgroup namespace"); !set) return set;
  if (auto set = set_root(); !set) return set;
  if (auto set = set_limits(); !set) return set;
  return drop_rights();
}

/// As fork() does, with new namespaces.
pid_t fork_with(unsigned long flags) noexcept {
  return static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0UL));
}

/// With the namespaces that the host gives: the first process of a PID namespace, and in a user
/// namespace without the right to the others.
Started start_inner() noexcept {
  const bool needs_users = !Capabilities::read().has(CAP_SYS_ADMIN);
  const unsigned long users = needs_users ? CLONE_NEWUSER : 0;
  Started started;
  for (const unsigned long flags : {users | CLONE_NEWPID, users, 0UL}) {
    started.pid = fork_with(flags);
    started.own_processes = (flags & CLONE_NEWPID) != 0;
    started.own_users = (flags & CLONE_NEWUSER) != 0;
    if (started.pid >= 0) break;
  }
  return started;
}

/// A pair of pipes: the outer process says when to begin, the inner one what is wrong.
struct Talk {
  std::array<UniqueFd, 2> begin;
  std::array<UniqueFd, 2> fault;

  static Result<Talk> create() {
    Talk talk;
    for (auto* const ends : {&talk.begin, &talk.fault}) {
      std::array<int, 2> fds{};
      if (::pipe2(fds.data(), O_CLOEXEC) != 0) return fail_errno("no pipe left");
      (*ends)[0] = UniqueFd(fds[0]);
      (*ends)[1] = UniqueFd(fds[1]);
    }
    return talk;
  }
};

/// A code and a text.
void tell_fault(const UniqueFd& pipe, const Error& error) noexcept {
  (void)!::write(pipe.get(), &error.code, sizeof error.code);
  (void)!::write(pipe.get(), error.message.data(), error.message.size());
}

Status hear_fault(const UniqueFd& pipe) {
  std::string text(4096, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(pipe.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size == 0) return {};
  int code = 0;
  std::copy_n(text.data(), std::min(size, sizeof code), reinterpret_cast<char*>(&code));
  return fail("jail: " + text.substr(sizeof code, size - sizeof code), code);
}

/// What the process was before, for the one in the jail.
struct Before {
  sigset_t mask{};
  struct sigaction child {};

  void put_back() const noexcept {
    ::sigaction(SIGCHLD, &child, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  }
};

/// Removes what was made for output and has stayed empty in a start that failed.
void clear_up(const std::vector<std::string>& made) noexcept {
  for (const std::string& path : made) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0 && info.st_size == 0) (void)::unlink(path.c_str());
  }
}

void end_with_parent() noexcept { ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0UL, 0UL, 0UL); }

/// Ends this process, or returns in the jail.
void be_inner(const JailSettings& settings, const HostNeeds& needs, const Started& how, Talk& talk,
              const Before& before, const sigset_t& signals) {
  talk.begin[1].reset();
  talk.fault[0].reset();
  char byte = 0;
  if (::read(talk.begin[0].get(), &byte, 1) != 1) ::_exit(kNoStatus);  // nobody waits for us
  Inner inner(settings, needs, how);
  if (auto closed = inner.close_doors(); !closed) {
    tell_fault(talk.fault[1], closed.error());
    ::_exit(kNoStatus);
  }
  end_with_parent();  // after ids have changed, which clears that
  pollfd outer{.fd = talk.fault[1].get(), .events = 0, .revents = 0};
  if (::poll(&outer, 1, 0) > 0) ::_exit(kNoStatus);  // it has ended before that held
  ::prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);      // ptrace of it is for nobody
  const pid_t child = ::fork();
  if (child < 0) {
    tell_fault(talk.fault[1], fail_errno("no process left").value());
    ::_exit(kNoStatus);
  }
  if (child == 0) {
    close_others(needs.descriptors);
    before.put_back();
    if (!how.own_processes) end_with_parent();
    // Whoever may look at the machine otherwise (bellhop ps) still may.
    ::prctl(PR_SET_DUMPABLE, 1UL, 0UL, 0UL, 0UL);
    for (auto* const ends : {&talk.begin, &talk.fault}) {
      for (UniqueFd& one : *ends) (void)one.release();
    }
    return;
  }
  close_others({});
  ::_exit(wait_and_pass(child, signals));
}

}  // namespace

std::optional<int> resource_of(std::string_view name) noexcept {
  const auto* const found =
      std::ranges::find(kResources, name, [](const auto& one) { return one.first; });
  if (found == std::end(kResources)) return std::nullopt;
  return found->second;
}

Result<std::optional<int>> enter_jail(const JailSettings& settings, const HostNeeds& needs) {
  const Capabilities own = Capabilities::read();
  // In a user namespace, which is where others go, there is one user.
  if ((settings.uid || settings.gid) && !(own.has(CAP_SETUID) && own.has(CAP_SYS_ADMIN))) {
    return fail("--uid, --gid: only root can become another user (CAP_SETUID, CAP_SYS_ADMIN)",
                EPERM);
  }
  std::optional<sandbox::Cgroup> cgroup;
  if (!settings.cgroup.empty()) {
    auto made = sandbox::Cgroup::create(settings.id, settings.parent_cgroup, settings.cgroup);
    if (!made) return forward(made);
    cgroup.emplace(std::move(*made));
  }
  auto talk = Talk::create();
  if (!talk) return forward(talk);
  Before before;
  sigset_t signals = passed_signals();
  sigset_t blocked = signals;
  ::sigaddset(&blocked, SIGCHLD);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before.mask);
  struct sigaction heard {};
  heard.sa_handler = SIG_DFL;  // ignored, there would be nobody to wait for
  ::sigaction(SIGCHLD, &heard, &before.child);

  const auto made = sandbox::make_outputs(needs, settings.uid);
  const Started how = start_inner();
  if (how.pid < 0) {
    clear_up(made);
    before.put_back();
    return fail_errno("jail: no process left");
  }
  if (how.pid == 0) {
    be_inner(settings, needs, how, *talk, before, signals);
    if (cgroup) cgroup->leave_to_other();
    return std::optional<int>();
  }
  talk->begin[0].reset();
  talk->fault[1].reset();
  Status begun = cgroup ? cgroup->take(how.pid) : Status();
  if (begun && ::write(talk->begin[1].get(), "", 1) != 1) begun = fail_errno("jail");
  talk->begin[1].reset();
  if (begun) begun = hear_fault(talk->fault[0]);
  for (const int fd : needs.descriptors) ::close(fd);
  const int status = wait_and_pass(how.pid, signals);
  if (!begun || status != 0) clear_up(made);
  before.put_back();
  if (!begun) return forward(begun);
  return status;
}

}  // namespace bellhop

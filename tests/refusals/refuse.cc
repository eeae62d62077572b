// Runs a program as a host that refuses one system call: a call that it or one of its threads makes
// gets an errno and is not done. By seccomp's user notification, so that every call is seen,
// whoever makes it.
//
//   refuse --list FILE -- PROGRAM...                  writes a line for each call: "WHAT\tCOUNT"
//   refuse --fail WHAT --count N --errno E -- PROGRAM...   fails the Nth of those
//   refuse ... --from-then-on yes ...                 and all like it after
//   refuse ... --came-up FILE ...                     makes the file when a call has been failed
//
// WHAT is the call's number and what tells it from others of that number: a path, a request, the
// kind of its descriptor; `--folder DIR` is cut off from paths, and so is what differs from run to
// run. COUNT says that it is the COUNTth like that, which is the same in every run where threads
// are not. Only calls from the program's main() on count: not the dynamic linker's. Exit status:
// the program's; 128+N for a signal; 125 if there is no user notification.
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

// Linux 6.6 and later: who asks and who answers take turns on one CPU, which is several times as
// fast.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace {

struct Plan {
  const char* list = nullptr;
  const char* came_up = nullptr;
  std::string folder;
  std::string fail;
  unsigned long count = 0;
  bool from_then_on = false;
  int error = 0;
};

// A filter that asks for every call but those that cannot fail or would tell nothing.
int install_filter() {
  static const int kNever[] = {SYS_exit,
                               SYS_exit_group,
                               SYS_rt_sigreturn,
                               SYS_getpid,
                               SYS_gettid,
                               SYS_getppid,
                               SYS_getuid,
                               SYS_geteuid,
                               SYS_getgid,
                               SYS_getegid,
                               SYS_getpgrp,
                               SYS_sched_yield,
                               SYS_restart_syscall,
                               SYS_clock_gettime,
                               SYS_gettimeofday,
                               SYS_arch_prctl,
                               SYS_set_tid_address,
                               SYS_set_robust_list,
                               SYS_rseq,
                               SYS_munmap,
                               SYS_futex,
                               SYS_rt_sigprocmask,
                               SYS_brk,
                               SYS_madvise};
  sock_filter code[64];
  unsigned n = 0;
  code[n++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (const int call : kNever) {
    code[n++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1);
    code[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  code[n++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  const sock_fprog program{static_cast<unsigned short>(n), code};
  return static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

/// The child's listener: it is stopped at the first call after the filter, and cannot hand it over.
int take_listener(pid_t child) {
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  if (process < 0) return -1;
  for (int tries = 0; tries < 5000; ++tries) {
    for (int fd = 3; fd < 64; ++fd) {
      char path[64];
      char target[64] = "";
      std::snprintf(path, sizeof path, "/proc/%d/fd/%d", child, fd);
      if (::readlink(path, target, sizeof target - 1) <= 0) continue;
      if (std::strcmp(target, "anon_inode:seccomp notify") != 0) continue;
      const int ours = static_cast<int>(::syscall(SYS_pidfd_getfd, process, fd, 0));
      ::close(process);
      return ours;
    }
    if (::waitpid(child, nullptr, WNOHANG) != 0) break;
    ::usleep(200);
  }
  ::close(process);
  return -1;
}

bool text_of(pid_t pid, std::uint64_t address, char* text, std::size_t size) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/mem", pid);
  const int memory = ::open(path, O_RDONLY | O_CLOEXEC);
  if (memory < 0) return false;
  const ssize_t got = ::pread(memory, text, size - 1, static_cast<off_t>(address));
  ::close(memory);
  if (got <= 0) return false;
  text[got] = 0;
  return true;
}

std::string path_of(pid_t pid, std::uint64_t address) {
  char text[256] = "";
  return text_of(pid, address, text, sizeof text) ? text : "-";
}

std::string descriptor_of(pid_t pid, std::uint64_t fd) {
  char path[64];
  char target[256] = "";
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, static_cast<int>(fd));
  if (::readlink(path, target, sizeof target - 1) <= 0) return "-";
  std::string text = target;
  // Pipes and sockets have a number that differs from run to run.
  if (const auto number = text.find(":["); number != std::string::npos && text[0] != 'a') {
    text.resize(number);
  }
  return text;
}

/// What tells one call from another: a path, a request, a descriptor.
std::string detail_of(const seccomp_notif& asked) {
  const auto& args = asked.data.args;
  const auto pid = static_cast<pid_t>(asked.pid);
  char text[64];
  switch (asked.data.nr) {
    case SYS_openat:
    case SYS_readlinkat:
      return path_of(pid, args[1]);
    case SYS_newfstatat: {
      const std::string path = path_of(pid, args[1]);
      return path.empty() || path == "-" ? descriptor_of(pid, args[0]) : path;
    }
    case SYS_open:
    case SYS_access:
    case SYS_stat:
    case SYS_readlink:
    case SYS_unlink:
    case SYS_execve:
      return path_of(pid, args[0]);
    case SYS_ioctl:
    case SYS_fcntl:
      std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(args[1]));
      return text;
    case SYS_prctl:
      std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(args[0]));
      return text;
    case SYS_read:
    case SYS_write:
    case SYS_readv:
    case SYS_writev:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_fstat:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_flock:
    case SYS_fsync:
    case SYS_fdatasync:
      return descriptor_of(pid, args[0]);
    case SYS_mmap:
      return static_cast<int>(args[4]) < 0 ? "memory" : descriptor_of(pid, args[4]);
    default:
      return "-";
  }
}

/// The path without what the host chooses anew for each run: processes and threads in /proc,
/// terminals, descriptors, files without a name ("#123 (deleted)"), and mkstemp's six letters.
std::string without_accidents(const std::string& path) {
  std::string steady;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find_first_of("/ ", at), path.size());
    std::string part = path.substr(at, end - at);
    const std::size_t digits = part.starts_with('#') ? 1 : 0;
    if (part.size() > digits && part.find_first_not_of("0123456789", digits) == std::string::npos) {
      part.replace(digits, std::string::npos, "N");
    }
    for (const std::string made : {"bellhop-bench-", "bellhop-refusals-"}) {
      if (part.starts_with(made)) part = made + "XXXXXX";
    }
    steady += part;
    if (end < path.size()) steady += path[end];
    at = end + 1;
  }
  return steady;
}

std::string name_of(const seccomp_notif& asked, const std::string& folder) {
  std::string detail = detail_of(asked);
  if (!folder.empty()) {
    if (const auto at = detail.find(folder); at != std::string::npos) {
      detail.replace(at, folder.size(), "DIR");
    }
  }
  if (detail.find('/') != std::string::npos) detail = without_accidents(detail);
  return std::to_string(asked.data.nr) + " " + detail;
}

/// The program's own first call: it looks at its standard input, before anything else. What the
/// dynamic linker did before is not the program's.
bool is_first_of_main(const seccomp_notif& asked) {
  return asked.data.nr == SYS_fcntl && asked.data.args[0] == 0 && asked.data.args[1] == F_GETFD;
}

/// Only the program's own calls are numbered, and those of its children until they are programs of
/// their own.
class Ours {
 public:
  explicit Ours(pid_t program) : program_(program) {}

  bool made(const seccomp_notif& asked) {
    const auto thread = static_cast<pid_t>(asked.pid);
    auto found = process_of_.find(thread);
    if (found == process_of_.end()) found = process_of_.emplace(thread, process_of(thread)).first;
    const pid_t process = found->second;
    if (foreign_.contains(process)) return false;
    if (process != program_ && asked.data.nr == SYS_execve) foreign_.insert(process);
    return true;
  }

 private:
  static pid_t process_of(pid_t thread) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/status", thread);
    std::FILE* status = std::fopen(path, "re");
    if (status == nullptr) return 0;
    char line[256];
    pid_t process = 0;
    while (std::fgets(line, sizeof line, status) != nullptr) {
      if (std::sscanf(line, "Tgid: %d", &process) == 1) break;
    }
    std::fclose(status);
    return process;
  }

  pid_t program_;
  std::map<pid_t, pid_t> process_of_;  // by thread
  std::set<pid_t> foreign_;
};

int supervise(int listener, pid_t child, const Plan& plan) {
  std::FILE* list = plan.list != nullptr ? std::fopen(plan.list, "we") : nullptr;
  if (plan.list != nullptr && list == nullptr) std::perror(plan.list);
  (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  Ours ours(child);
  std::map<std::string, unsigned long> counts;
  bool begun = false;
  while (true) {
    pollfd fd{listener, POLLIN, 0};
    if (::poll(&fd, 1, -1) < 0) continue;
    if ((fd.revents & POLLIN) == 0) break;  // nobody is left whom the filter watches
    seccomp_notif asked{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
    if (!begun) begun = is_first_of_main(asked);
    seccomp_notif_resp answer{};
    answer.id = asked.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (begun && ours.made(asked)) {
      const std::string name = name_of(asked, plan.folder);
      const unsigned long count = ++counts[name];
      if (list != nullptr) std::fprintf(list, "%s\t%lu\n", name.c_str(), count);
      if (name == plan.fail && (plan.from_then_on ? count >= plan.count : count == plan.count)) {
        answer.flags = 0;
        answer.error = -plan.error;
        if (plan.came_up != nullptr) ::close(::creat(plan.came_up, 0600));
      }
    }
    (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
  if (list != nullptr) std::fclose(list);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  int at = 1;
  for (; at + 1 < argc && std::strcmp(argv[at], "--") != 0; at += 2) {
    const std::string option = argv[at];
    const char* const value = argv[at + 1];
    if (option == "--list") plan.list = value;
    if (option == "--came-up") plan.came_up = value;
    if (option == "--folder") plan.folder = value;
    if (option == "--fail") plan.fail = value;
    if (option == "--count") plan.count = std::strtoul(value, nullptr, 10);
    if (option == "--errno") plan.error = std::atoi(value);
    if (option == "--from-then-on") plan.from_then_on = true;
  }
  if (at + 1 >= argc) return 125;
  const pid_t child = ::fork();
  if (child < 0) return 125;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (install_filter() < 0) ::_exit(126);
    ::execvp(argv[at + 1], argv + at + 1);
    ::_exit(127);
  }
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the program's
  const int listener = take_listener(child);
  if (listener < 0) {
    std::fputs("refuse: no user notification by seccomp here\n", stderr);
    return 125;
  }
  return supervise(listener, child, plan);
}

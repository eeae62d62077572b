#include "bench/harness/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

namespace bellhop::bench {

namespace {

constexpr std::size_t kMaxLine = 1 << 16;

/// In the child, between fork and exec: system calls only.
[[noreturn]] void become(char* const* arguments, pid_t parent, int output, int complaints,
                         const std::vector<std::pair<int, int>>& files) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);  // Ctrl-C is for us: we end it in an orderly way
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGXFSZ, SIG_DFL);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(complaints, STDERR_FILENO);
  for (const auto& [ours, theirs] : files) {
    if (ours == theirs) {
      ::fcntl(ours, F_SETFD, 0);
    } else {
      ::dup2(ours, theirs);
    }
  }
  ::execvp(arguments[0], arguments);
  const char* const reason = ::strerrordesc_np(errno);
  const char* const program = arguments[0];
  for (const char* part : {program, " cannot be started: ", reason, "\n"}) {
    (void)!::write(STDERR_FILENO, part, std::strlen(part));
  }
  ::_exit(127);
}

int milliseconds_until(Child::Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Child::Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
}

}  // namespace

Child::Child(pid_t pid, UniqueFd output, UniqueFd complaints) noexcept
    : pid_(pid), output_(std::move(output)), complaints_(std::move(complaints)) {}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::move(other.output_)),
      complaints_(std::move(other.complaints_)),
      buffer_(std::move(other.buffer_)) {}

Child::~Child() { wait(Clock::now()); }

Result<Child> Child::spawn(const std::vector<std::string>& arguments,
                           const std::vector<std::pair<int, int>>& files) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("cannot make a pipe");
  UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  UniqueFd complaints(::memfd_create("stderr", MFD_CLOEXEC));
  if (!complaints.valid()) return fail_errno("cannot make a memory file");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot start a process");
  if (pid == 0) become(argv.data(), parent, writing.get(), complaints.get(), files);
  return Child(pid, std::move(reading), std::move(complaints));
}

Result<std::optional<std::string>> Child::read_line(Clock::time_point deadline,
                                                    const EventFd& interrupt) {
  while (true) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    if (buffer_.size() > kMaxLine) buffer_.clear();
    pollfd fds[2] = {{output_.get(), POLLIN, 0}, {interrupt.get(), POLLIN, 0}};
    const int ready = ::poll(fds, 2, milliseconds_until(deadline));
    if (ready < 0 && errno != EINTR) return fail_errno("cannot wait for the guest");
    if (fds[1].revents != 0) return fail("interrupted", kEndedByUser);
    if (ready == 0) return fail("no answer from the guest in time", ETIMEDOUT);
    if (ready < 0 || fds[0].revents == 0) continue;
    std::array<char, 4096> chunk;
    const ssize_t got = ::read(output_.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    buffer_.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

int Child::wait(Clock::time_point deadline) {
  if (pid_ < 0) return 0;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() >= deadline) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  return status;
}

std::string Child::last_complaint() const {
  std::array<char, 2048> text{};
  const off_t size = ::lseek(complaints_.get(), 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
  const ssize_t got = ::pread(complaints_.get(), text.data(), text.size(), from);
  std::string last(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  while (!last.empty() && last.back() == '\n') last.pop_back();
  if (const auto start = last.rfind('\n'); start != std::string::npos) last.erase(0, start + 1);
  return last;
}

}  // namespace bellhop::bench

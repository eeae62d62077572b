#include "sandbox/filter.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace bellhop::sandbox {

namespace {

struct ReleaseContext {
  void operator()(void* context) const noexcept { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, ReleaseContext>;

constexpr std::uint8_t kMostFrequent = 255;
constexpr unsigned kConditionBits = 32;

std::uint32_t action_of(SeccompMode mode) noexcept {
  switch (mode) {
    case SeccompMode::kKill:
      return SCMP_ACT_TRAP;  // its handler ends the process (refusal.h)
    case SeccompMode::kErrno:
      return SCMP_ACT_ERRNO(EPERM);
    case SeccompMode::kLog:
      return SCMP_ACT_NOTIFY;
    case SeccompMode::kOff:
      break;
  }
  return SCMP_ACT_ALLOW;
}

Status as_status(int result) {
  if (result < 0) return fail_errno("libseccomp", -result);
  return {};
}

Status add_rule(scmp_filter_ctx context, const Rule& rule) {
  std::vector<scmp_arg_cmp> conditions;
  for (const Condition& one : rule.conditions) {
    if (one.mask == 0) continue;
    const std::uint64_t value =
        one.value == kOwnProcess ? static_cast<std::uint64_t>(::getpid()) : one.value;
    conditions.push_back(
        {.arg = one.argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = one.mask, .datum_b = value});
  }
  return as_status(::seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.number,
                                            static_cast<unsigned>(conditions.size()),
                                            conditions.data()));
}

Status add_rules(scmp_filter_ctx context, Kinds kind) {
  for (const Rule& rule : rules()) {
    if ((rule.kinds & kind) == 0) continue;
    if (auto added = add_rule(context, rule); !added) return added;
  }
  for (const Request& request : requests()) {
    if ((request.kinds & kind) == 0) continue;
    // The kernel looks at 32 bits of it.
    const Rule rule{
        .number = SYS_ioctl,
        .kinds = kind,
        .conditions = {{{1, (std::uint64_t{1} << kConditionBits) - 1, request.number}}}};
    if (auto added = add_rule(context, rule); !added) return added;
  }
  // Its arguments are in memory, where no filter can look: glibc then makes the older call.
  return as_status(::seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0));
}

/// libseccomp writes programs to descriptors alone.
Result<Filter> export_program(scmp_filter_ctx context) {
  const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return fail_errno("no file in memory to be had");
  if (auto written = as_status(::seccomp_export_bpf(context, file.get())); !written) {
    return forward(written);
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("a file in memory cannot be read");
  Filter filter(static_cast<std::size_t>(info.st_size) / sizeof(::sock_filter));
  const std::size_t bytes = filter.size() * sizeof(::sock_filter);
  if (::pread(file.get(), filter.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    return fail_errno("a file in memory cannot be read");
  }
  return filter;
}

}  // namespace

Result<Filter> make_filter(ThreadKind kind, SeccompMode mode) {
  const std::uint32_t action = action_of(mode);
  const Context context(::seccomp_init(action));
  if (!context) return fail("libseccomp: no memory left", ENOMEM);
  // Calls of other ABIs (int 0x80, x32).
  (void)::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH,
                           mode == SeccompMode::kErrno ? action : SCMP_ACT_KILL_PROCESS);
  if (auto added = add_rules(context.get(), kinds(kind)); !added) {
    return forward(added);
  }
  (void)::seccomp_syscall_priority(context.get(), SYS_ioctl, kMostFrequent);
  return export_program(context.get());
}

Result<UniqueFd> install_filter(const Filter& filter, SeccompMode mode) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
    return fail_errno("no_new_privs cannot be set");
  }
  // SPEC_ALLOW: what mitigates a processor's faults is chosen for processes, not by having a
  // filter.
  unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (mode == SeccompMode::kLog) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  const ::sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                             .filter = const_cast<::sock_filter*>(filter.data())};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (result < 0) return fail_errno("the kernel takes no filter");
  return mode == SeccompMode::kLog ? UniqueFd(static_cast<int>(result)) : UniqueFd();
}

}  // namespace bellhop::sandbox

#include "sandbox/system_calls.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <set>

// The kernel's header brings code for old rings that is C and no C++.
#ifndef VIRTIO_RING_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY
#endif
#include <linux/vhost.h>

namespace bellhop::sandbox {

namespace {

using enum ThreadKind;

constexpr Kinds kMains = kinds(kMain, kMainAdds);
constexpr Kinds kDrains = kinds(kVcpu, kIo);
/// Who brings devices up and down: a driver's registers, a command, a change of notification.
constexpr Kinds kStartsQueues = kMains | kinds(kVcpu, kTuner, kVhostUser);
constexpr Kinds kServes = kDrains | kStartsQueues;
/// Who runs an event loop. A vCPU arms one on epoll at once.
constexpr Kinds kLoops = kServes | kinds(kApi);
/// Who raises or lowers an interrupt of a chip: the power button, the serial port.
constexpr Kinds kLines = kServes | kinds(kApi, kSignals, kTerminal, kSerial);
/// A thread that the starter makes inherits what the starter may not do.
constexpr Kinds kStartsLate = kinds(kDiskWorker, kConnector);
constexpr Kinds kAll = kServes | kLines | kStartsLate | kinds(kStarter);

constexpr Condition is(unsigned argument, std::uint64_t value) {
  return {argument, 0xffffffff, value};
}
constexpr Condition has_not(unsigned argument, std::uint64_t bits) { return {argument, bits, 0}; }
constexpr Condition own_process(unsigned argument) { return {argument, 0xffffffff, kOwnProcess}; }

/// Open for reading alone, of what is there.
constexpr Condition kReads{2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY};
/// A new thread of this process, and no new process.
constexpr std::uint64_t kThreadFlags =
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
constexpr std::uint64_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                         CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

constexpr Rule kRules[] = {
    // The data path's.
    {SYS_futex, kAll},
    {SYS_write, kAll},  // eventfds; what is told on standard error
    {SYS_read, kAll},
    {SYS_io_uring_enter, kServes},
    {SYS_io_submit, kServes},
    {SYS_io_getevents, kServes},
    {SYS_readv, kServes},
    {SYS_writev, kAll},  // the C library's last words, too
    {SYS_pread64, kServes | kStartsLate},
    {SYS_pwrite64, kServes | kStartsLate},
    {SYS_preadv, kServes | kStartsLate},
    {SYS_pwritev, kServes | kStartsLate},
    {SYS_preadv2, kServes},  // an eventfd that another process has, too
    {SYS_fdatasync, kServes | kStartsLate},
    {SYS_fallocate, kServes | kStartsLate},  // discard; a balloon's pages
    {SYS_sendto, kLoops | kinds(kSerial)},
    {SYS_recvfrom, kLoops},
    {SYS_sendmsg, kLoops},
    {SYS_recvmsg, kLoops},
    {SYS_epoll_wait, kLoops},
    {SYS_epoll_pwait2, kLoops},
    {SYS_epoll_ctl, kLoops},
    {SYS_poll, kAll},
    {SYS_getrusage, kinds(kIo)},  // whether a signal has cost it its CPU

    // The C library's, for memory, threads and time.
    {SYS_mmap, kAll, {{has_not(2, PROT_EXEC)}}},
    {SYS_mprotect, kAll, {{has_not(2, PROT_EXEC)}}},
    {SYS_munmap, kAll},
    {SYS_mremap, kAll},
    {SYS_brk, kAll},
    {SYS_madvise, kAll},
    {SYS_rt_sigprocmask, kAll},
    {SYS_rt_sigreturn, kAll},
    {SYS_restart_syscall, kAll},
    {SYS_clock_gettime, kAll},
    {SYS_clock_nanosleep, kAll},
    {SYS_sched_yield, kAll},
    {SYS_getpid, kAll},
    {SYS_gettid, kAll},
    {SYS_getrandom, kAll},
    {SYS_tgkill, kAll, {{own_process(0)}}},  // a vCPU's kick; abort()
    {SYS_close, kAll},
    {SYS_exit, kAll},
    {SYS_exit_group, kAll},
    {SYS_sched_getaffinity, kAll, {{is(0, 0)}}},

    // Devices that come and go with their drivers.
    {SYS_eventfd2, kServes},
    {SYS_timerfd_create, kServes},
    {SYS_timerfd_settime, kServes},
    {SYS_io_setup, kStartsQueues},
    {SYS_io_destroy, kServes},
    {SYS_io_uring_register, kServes, {{is(1, IORING_REGISTER_FILES_UPDATE)}}},
    {SYS_io_uring_register, kServes, {{is(1, IORING_REGISTER_RING_FDS)}}},
    {SYS_io_uring_register, kServes, {{is(1, IORING_UNREGISTER_RING_FDS)}}},
    {SYS_shutdown, kLoops},
    {SYS_fcntl, kLoops, {{is(1, F_DUPFD_CLOEXEC)}}},  // what epoll watches
    {SYS_accept4, kinds(kIo, kApi, kVhostUser)},
    {SYS_rt_sigaction, kDrains | kinds(kVhostUser, kDiskWorker), {{is(0, SIGBUS)}}},

    // A front end's memory and eventfds.
    {SYS_fcntl, kMains | kinds(kVhostUser)},
    {SYS_fstat, kMains | kinds(kVhostUser)},
    {SYS_newfstatat, kMains | kinds(kVhostUser)},
    {SYS_fstatfs, kinds(kVhostUser)},
    {SYS_memfd_create, kinds(kVhostUser)},                    // what it keeps of requests in flight
    {SYS_socketpair, kinds(kVhostUser), {{is(0, AF_UNIX)}}},  // a console's state, out and in
    {SYS_ftruncate, kinds(kVhostUser)},
    {SYS_readlink, kinds(kVhostUser)},
    {SYS_readlinkat, kinds(kVhostUser)},
    {SYS_getsockopt, kinds(kVhostUser), {{is(1, SOL_SOCKET)}}},

    // Commands, a reset, the end.
    {SYS_openat, kMains | kinds(kTuner), {{kReads}}},
    {SYS_getdents64, kinds(kTuner)},  // which threads there are
    {SYS_fstat, kinds(kTuner)},
    {SYS_newfstatat, kinds(kTuner)},
    {SYS_lseek, kMains},
    {SYS_lstat, kMains | kinds(kVhostUser)},
    {SYS_unlink, kMains | kinds(kVhostUser)},
    {SYS_ftruncate, kMains},
    {SYS_wait4, kMains},
    {SYS_sched_setaffinity, kMains},  // of our own threads: vm.pin
    {SYS_pidfd_send_signal, kMains},  // to passt, by a descriptor of it alone

    // Devices that are added: their files, interfaces and sockets.
    {SYS_openat, kinds(kMainAdds)},
    {SYS_access, kinds(kMainAdds)},
    {SYS_faccessat, kinds(kMainAdds)},
    {SYS_faccessat2, kinds(kMainAdds)},
    {SYS_statx, kinds(kMainAdds)},
    {SYS_fstatfs, kinds(kMainAdds)},
    {SYS_readlink, kinds(kMainAdds)},
    {SYS_flock, kinds(kMainAdds)},
    {SYS_epoll_create1, kinds(kMainAdds)},
    {SYS_io_uring_setup, kinds(kMainAdds)},
    {SYS_io_uring_register, kinds(kMainAdds), {{is(1, IORING_REGISTER_PROBE)}}},
    {SYS_io_uring_register, kinds(kMainAdds), {{is(1, IORING_REGISTER_FILES)}}},
    {SYS_io_uring_register, kinds(kMainAdds), {{is(1, IORING_REGISTER_EVENTFD)}}},
    {SYS_io_uring_register, kinds(kMainAdds), {{is(1, IORING_REGISTER_RESTRICTIONS)}}},
    {SYS_io_uring_register, kinds(kMainAdds), {{is(1, IORING_REGISTER_ENABLE_RINGS)}}},
    {SYS_socket, kinds(kMainAdds), {{is(0, AF_UNIX)}}},
    {SYS_socket, kinds(kMainAdds), {{is(0, AF_INET), is(1, SOCK_DGRAM | SOCK_CLOEXEC)}}},
    {SYS_socket, kinds(kMainAdds), {{is(0, AF_NETLINK)}}},  // news of an interface
    {SYS_bind, kinds(kMainAdds)},
    {SYS_listen, kinds(kMainAdds)},
    {SYS_connect, kinds(kMainAdds)},
    {SYS_getsockopt, kinds(kMainAdds)},
    {SYS_setsockopt, kinds(kMainAdds)},

    // Connections: of a guest by vsock; to a back end of vhost-user that was gone.
    {SYS_socket, kinds(kConnector, kStarter), {{is(0, AF_UNIX)}}},
    {SYS_connect, kinds(kConnector, kStarter)},

    // New threads. What they may do is taken from what their maker may.
    {SYS_clone, kinds(kStarter), {{{0, kThreadFlags | kNewNamespaces, kThreadFlags}}}},
    {SYS_set_robust_list, kinds(kStarter)},
    {SYS_rseq, kinds(kStarter)},
    {SYS_prctl, kinds(kStarter), {{is(0, PR_SET_NAME)}}},
    {SYS_prctl, kinds(kStarter), {{is(0, PR_GET_NAME)}}},
    {SYS_prctl, kinds(kStarter), {{is(0, PR_SET_NO_NEW_PRIVS)}}},
    {SYS_seccomp, kinds(kStarter)},
    {SYS_landlock_restrict_self, kinds(kStarter)},
    {SYS_sched_setaffinity, kinds(kStarter), {{is(0, 0)}}},
    {SYS_pread64, kinds(kStarter)},
    {SYS_pwrite64, kinds(kStarter)},
    {SYS_preadv, kinds(kStarter)},
    {SYS_pwritev, kinds(kStarter)},
    {SYS_fdatasync, kinds(kStarter)},
    {SYS_fallocate, kinds(kStarter)},
    {SYS_rt_sigaction, kinds(kStarter), {{is(0, SIGBUS)}}},
};

/// With a list behind its header, which alone counts for the number.
constexpr std::uint32_t kvm_list(unsigned direction, unsigned number) {
  return static_cast<std::uint32_t>(_IOC(direction, KVMIO, number, 8));
}
constexpr std::uint32_t kvm_sized(unsigned direction, unsigned number, unsigned size) {
  return static_cast<std::uint32_t>(_IOC(direction, KVMIO, number, size));
}

constexpr Request kRequests[] = {
    {KVM_RUN, kMains | kinds(kVcpu)},  // main: what an exit has left half done, before a reset
    {KVM_IOEVENTFD, kServes},
    {KVM_IRQFD, kServes},
    {kvm_list(_IOC_WRITE, 0x6a), kServes},  // KVM_SET_GSI_ROUTING
    {KVM_SIGNAL_MSI, kServes},
    {KVM_IRQ_LINE, kLines},
    // What KVM gave up on, for a person to read.
    {KVM_GET_REGS, kMains | kinds(kVcpu)},
    {KVM_GET_SREGS, kMains | kinds(kVcpu)},
    {KVM_TRANSLATE, kMains | kinds(kVcpu)},
    // A reset. Memory is the VM's from its start: nobody may map other memory into the guest.
    {KVM_SET_IRQCHIP, kMains},
    {KVM_SET_PIT2, kMains},
    {KVM_SET_REGS, kMains},
    {KVM_SET_SREGS, kMains},
    {KVM_SET_XCRS, kMains},
    {kvm_sized(_IOC_WRITE, 0xa5, 4096), kMains},       // KVM_SET_XSAVE
    {kvm_list(_IOC_WRITE, 0x89), kMains},              // KVM_SET_MSRS
    {kvm_list(_IOC_READ | _IOC_WRITE, 0x88), kMains},  // KVM_GET_MSRS
    {KVM_SET_DEBUGREGS, kMains},
    {KVM_SET_LAPIC, kMains},
    {KVM_SET_VCPU_EVENTS, kMains},
    {KVM_SET_MP_STATE, kMains},
    {KVM_GET_DEVICE_ATTR, kMains},
    // Disks.
    {BLKDISCARD, kServes | kStartsLate | kinds(kStarter)},
    {static_cast<std::uint32_t>(BLKGETSIZE64), kStartsQueues},
    // Taps.
    {TUNSETOFFLOAD, kServes},
    {TUNSETQUEUE, kServes},
    {static_cast<std::uint32_t>(TUNGETIFF), kServes},
    {SIOCETHTOOL, kServes},
    {SIOCOUTQ, kServes},
    // Of a device that is added.
    {static_cast<std::uint32_t>(BLKSSZGET), kinds(kMainAdds)},
    {static_cast<std::uint32_t>(BLKPBSZGET), kinds(kMainAdds)},
    {static_cast<std::uint32_t>(BLKROGET), kinds(kMainAdds)},
    {TUNSETIFF, kinds(kMainAdds)},
    {TUNSETVNETHDRSZ, kinds(kMainAdds)},
    {TUNSETVNETLE, kinds(kMainAdds)},
    {SIOCGIFINDEX, kinds(kMainAdds)},
    {SIOCGIFFLAGS, kinds(kMainAdds)},
    {SIOCSIFFLAGS, kinds(kMainAdds)},
    {SIOCGIFMTU, kinds(kMainAdds)},
    {SIOCSIFMTU, kinds(kMainAdds)},
    {static_cast<std::uint32_t>(TIOCGPTN), kinds(kMainAdds)},
    {TIOCSPTLCK, kinds(kMainAdds)},
    // Consoles and terminals. A process that ends puts its terminal back.
    {FIONREAD, kServes},
    {TIOCGWINSZ, kServes | kinds(kSignals)},
    {TCGETS, kAll},
    {TCSETS, kAll},
    // The kernel's vhost.
    {VHOST_SET_OWNER, kStartsQueues},
    {VHOST_SET_FEATURES, kServes},
    {static_cast<std::uint32_t>(VHOST_GET_FEATURES), kServes},
    {VHOST_SET_MEM_TABLE, kServes},
    {VHOST_SET_VRING_NUM, kServes},
    {VHOST_SET_VRING_ADDR, kServes},
    {VHOST_SET_VRING_BASE, kServes},
    {static_cast<std::uint32_t>(VHOST_GET_VRING_BASE), kServes},
    {VHOST_SET_VRING_KICK, kServes},
    {VHOST_SET_VRING_CALL, kServes},
    {VHOST_SET_VRING_ERR, kServes},
    {VHOST_NET_SET_BACKEND, kServes},
    {VHOST_VSOCK_SET_GUEST_CID, kServes},
    {VHOST_VSOCK_SET_RUNNING, kServes},
};

struct KindName {
  ThreadKind kind;
  std::string_view name;
};
constexpr KindName kNames[] = {
    {kMain, "main"},
    {kMainAdds, "main+api"},
    {kVcpu, "vCPU"},
    {kIo, "I/O"},
    {kTuner, "notify"},
    {kApi, "api"},
    {kVhostUser, "vhost-user"},
    {kDiskWorker, "worker"},
    {kConnector, "connect"},
    {kSignals, "signals"},
    {kTerminal, "terminal"},
    {kSerial, "serial"},
    {kStarter, "starter"},
};

}  // namespace

std::span<const Rule> rules() noexcept { return kRules; }
std::span<const Request> requests() noexcept { return kRequests; }

std::string_view name_of(ThreadKind kind) noexcept {
  const auto* const found = std::ranges::find(kNames, kind, &KindName::kind);
  return found == std::end(kNames) ? "other" : found->name;
}

std::span<const ThreadKind> confined_kinds() noexcept {
  static constexpr std::array kKinds{kMain,     kMainAdds,  kVcpu,       kIo,        kTuner,
                                     kApi,      kVhostUser, kDiskWorker, kConnector, kSignals,
                                     kTerminal, kSerial,    kStarter};
  return kKinds;
}

CallCount count_calls(ThreadKind kind) noexcept {
  std::set<int> calls;
  CallCount count;
  for (const Rule& rule : kRules) {
    if ((rule.kinds & kinds(kind)) != 0) calls.insert(rule.number);
  }
  for (const Request& request : kRequests) {
    if ((request.kinds & kinds(kind)) != 0) ++count.requests;
  }
  if (count.requests != 0) calls.insert(SYS_ioctl);
  count.calls = static_cast<unsigned>(calls.size());
  return count;
}

}  // namespace bellhop::sandbox

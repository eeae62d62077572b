#include "bench/net/net_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/passed_fds.h"
#include "guest/net_wire.h"

namespace bellhop::bench {

namespace {

constexpr const char* kTapName = "bell0";
constexpr int kSocketBuffer = 8 << 20;

bool write_text(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.valid() &&
         ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

sockaddr_in socket_address(std::uint32_t address, std::uint16_t port) {
  sockaddr_in socket{};
  socket.sin_family = AF_INET;
  socket.sin_addr.s_addr = htonl(address);
  socket.sin_port = htons(port);
  return socket;
}

/// `set` fills in what `request` is to change.
template <class Set>
Status change(int socket, unsigned long request, const char* what, Set set) {
  ifreq interface {};
  std::strncpy(interface.ifr_name, kTapName, IFNAMSIZ - 1);
  set(interface);
  if (::ioctl(socket, request, &interface) == 0) return {};
  return fail_errno(fmt::format("cannot set the {} of the link's tap device", what));
}

Status set_up_interface(unsigned mtu) {
  // Without IPv6 nothing announces itself on the link while it is measured.
  write_text(fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", kTapName), "1");
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno("cannot make a socket");
  const auto put_address = [](sockaddr& to, std::uint32_t address) {
    const sockaddr_in from = socket_address(address, 0);
    std::memcpy(&to, &from, sizeof from);
  };
  auto done = change(socket.get(), SIOCSIFADDR, "address",
                     [&](ifreq& r) { put_address(r.ifr_addr, wire::kHostAddress); });
  if (done) {
    done = change(socket.get(), SIOCSIFNETMASK, "netmask",
                  [&](ifreq& r) { put_address(r.ifr_netmask, 0xffffff00); });
  }
  if (done) {
    done = change(socket.get(), SIOCSIFMTU, "MTU",
                  [&](ifreq& r) { r.ifr_mtu = static_cast<int>(mtu); });
  }
  if (done) {
    done = change(socket.get(), SIOCSIFFLAGS, "flags",
                  [](ifreq& r) { r.ifr_flags = IFF_UP | IFF_RUNNING; });
  }
  return done;
}

/// Larger than the host's limit where that is allowed, as large as possible elsewhere.
void set_buffer(int socket, int forced, int plain) {
  const int bytes = kSocketBuffer;
  if (::setsockopt(socket, SOL_SOCKET, forced, &bytes, sizeof bytes) == 0) return;
  ::setsockopt(socket, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

}  // namespace

Status enter_network_namespace() {
  if (::unshare(CLONE_NEWNET) == 0) return {};
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return fail_errno("cannot make a network namespace for the measurement");
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // new credentials have cleared it
  write_text("/proc/self/setgroups", "deny");
  if (!write_text("/proc/self/uid_map", fmt::format("0 {} 1", user)) ||
      !write_text("/proc/self/gid_map", fmt::format("0 {} 1", group))) {
    return fail_errno("cannot make a user namespace for the measurement");
  }
  return {};
}

Result<UniqueFd> make_tap(unsigned mtu) {
  UniqueFd tap(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.valid()) return fail_errno("cannot open /dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, kTapName, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail_errno("cannot make a tap device");
  if (auto done = set_up_interface(mtu); !done) return forward(done);
  return tap;
}

Result<UniqueFd> make_link_socket() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno("cannot make a socket");
  set_buffer(socket.get(), SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(socket.get(), SO_SNDBUFFORCE, SO_SNDBUF);
  const int on = 1;
  // Trains of datagrams stay together, where the kernel can do that.
  ::setsockopt(socket.get(), IPPROTO_UDP, UDP_GRO, &on, sizeof on);
  const sockaddr_in own = socket_address(wire::kHostAddress, wire::kPort);
  const sockaddr_in guest = socket_address(wire::kGuestAddress, wire::kPort);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&guest), sizeof guest) != 0) {
    return fail_errno("cannot use the link's address");
  }
  return socket;
}

Status send_descriptor(int socket, int descriptor) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  pass_fds(message, std::span(&descriptor, 1), control);
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) == 1) return {};
  return fail_errno("cannot pass the tap device on");
}

Result<UniqueFd> receive_descriptor(int socket, int milliseconds) {
  pollfd waiting{socket, POLLIN, 0};
  if (::poll(&waiting, 1, milliseconds) != 1) return fail("no tap device came", ETIMEDOUT);
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* header = got == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return fail("no tap device came");
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return UniqueFd(descriptor);
}

}  // namespace bellhop::bench

#include "net/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "net/interface.h"

// Since Linux 6.2; not in every distribution's headers.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace bellhop {

namespace {

constexpr const char* kDevice = "/dev/net/tun";

class TapPair final : public NetPair {
 public:
  explicit TapPair(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  ssize_t send(std::span<const iovec> frame) noexcept override {
    const ssize_t done = ::writev(fd_.get(), frame.data(), static_cast<int>(frame.size()));
    return done < 0 ? -errno : done;
  }
  ssize_t receive(std::span<const iovec> room) noexcept override {
    const ssize_t done = ::readv(fd_.get(), room.data(), static_cast<int>(room.size()));
    return done < 0 ? -errno : done;
  }
  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }
  [[nodiscard]] int kernel_fd() const noexcept override { return fd_.get(); }

  /// Takes part in the spreading of flows, or not.
  Status attach(bool on) noexcept {
    if (attached_ == on) return {};
    ifreq request{};
    request.ifr_flags = static_cast<short>(on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    if (::ioctl(fd_.get(), TUNSETQUEUE, &request) != 0) {
      return fail_errno("cannot switch a queue of the tap");
    }
    attached_ = on;
    return {};
  }

 private:
  UniqueFd fd_;
  bool attached_ = true;
};

unsigned to_tun(Offloads offloads) noexcept {
  if (!offloads.has(Offload::kCsum)) return 0;
  unsigned flags = TUN_F_CSUM;
  if (offloads.has(Offload::kTso4)) flags |= TUN_F_TSO4;
  if (offloads.has(Offload::kTso6)) flags |= TUN_F_TSO6;
  const bool tso = (flags & (TUN_F_TSO4 | TUN_F_TSO6)) != 0;
  if (tso && offloads.has(Offload::kEcn)) flags |= TUN_F_TSO_ECN;
  if (offloads.has(Offload::kUfo)) flags |= TUN_F_UFO;
  // The kernel takes these two together or not at all.
  if (offloads.has(Offload::kUso4) && offloads.has(Offload::kUso6)) {
    flags |= TUN_F_USO4 | TUN_F_USO6;
  }
  return flags;
}

class Tap final : public NetBackend {
 public:
  static Result<std::shared_ptr<NetBackend>> open(const TapSource& source) {
    auto tap = std::make_shared<Tap>();
    if (auto opened = source.fds.empty() ? tap->open_by_name(source) : tap->take_over(source);
        !opened) {
      return forward(opened);
    }
    if (auto made = tap->set_up(source); !made) return forward(made);
    return tap;
  }

  [[nodiscard]] const NetLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] NetPair& pair(unsigned index) noexcept override { return *pairs_[index]; }
  [[nodiscard]] int link_fd() const noexcept override { return link_events_.get(); }
  [[nodiscard]] LinkState link() noexcept override;

  Status use_pairs(unsigned count) override {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (auto done = pairs_[i]->attach(i < count); !done) return done;
    }
    return {};
  }

  Status set_guest_offloads(Offloads offloads) override {
    // By the first pair: it always takes part.
    if (::ioctl(pairs_[0]->fd(), TUNSETOFFLOAD, to_tun(offloads)) != 0) {
      return fail_errno(fmt::format("cannot set the offloads of {}", name_));
    }
    return {};
  }

 private:
  Status open_by_name(const TapSource& source);
  [[nodiscard]] int attach(const UniqueFd& fd, int flags) const noexcept;
  Status take_over(const TapSource& source);
  Status set_up(const TapSource& source);
  void find_offloads() noexcept;
  void listen_to_links() noexcept;
  [[nodiscard]] bool accepts(unsigned flags) const noexcept {
    return ::ioctl(pairs_[0]->fd(), TUNSETOFFLOAD, flags) == 0;
  }

  std::string name_;
  NetLimits limits_;
  std::vector<std::unique_ptr<TapPair>> pairs_;
  UniqueFd link_events_;  ///< invalid: the kernel does not tell
  std::optional<Interface> interface_;
};

/// What an errno of TUNSETIFF means, for people.
Status cannot_open(const TapSource& source, bool existed, int error) {
  const std::string what = fmt::format("--net: tap={}", source.name);
  switch (error) {
    case EPERM:
    case EACCES:
      return fail(existed ? fmt::format("{}: it belongs to another user, and CAP_NET_ADMIN is not "
                                        "had: make it with `ip tuntap add {} mode tap user {}`",
                                        what, source.name, ::geteuid())
                          : fmt::format("{}: there is no such interface, and without CAP_NET_ADMIN "
                                        "none can be made",
                                        what),
                  error);
    case EBUSY:
      return fail(fmt::format("{}: another process uses it", what), error);
    case EINVAL:
      return fail(existed ? fmt::format("{}: it is no tap{}", what,
                                        source.pairs > 1 ? ", or one without multi_queue" : "")
                          : fmt::format("{}: the kernel refuses the name", what),
                  error);
    default:
      return fail_errno(what, error);
  }
}

/// Ties `fd` to the interface; 0 or errno.
int Tap::attach(const UniqueFd& fd, int flags) const noexcept {
  ifreq request{};
  std::memcpy(request.ifr_name, name_.data(), name_.size());
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  return ::ioctl(fd.get(), TUNSETIFF, &request) == 0 ? 0 : errno;
}

Status Tap::open_by_name(const TapSource& source) {
  name_ = source.name;
  if (!Interface::is_name(name_)) {
    return fail(
        fmt::format("--net: tap={} is no name for an interface; it must have 1 to {} "
                    "characters without blanks, '/', ':' and '%'",
                    name_, Interface::kMaxName));
  }
  auto interface = Interface::of(name_);
  if (!interface) return forward(interface);
  const bool existed = interface->exists();
  for (unsigned i = 0; i < source.pairs; ++i) {
    UniqueFd fd(::open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd.valid()) {  // the host's own device, not a file that was asked for
      const Status failed =
          fail_errno(fmt::format("--net: tap={}: cannot open {}", name_, kDevice));
      return fail(failed.error().message, ENODEV);
    }
    int error = attach(fd, source.pairs > 1 ? IFF_MULTI_QUEUE : 0);
    // A tap that was made for several queues may be used with one.
    if (error == EINVAL && existed && source.pairs == 1) error = attach(fd, IFF_MULTI_QUEUE);
    if (error != 0) return cannot_open(source, existed, error);
    pairs_.push_back(std::make_unique<TapPair>(std::move(fd)));
  }
  return {};
}

Status Tap::take_over(const TapSource& source) {
  for (const int number : source.fds) {
    // Ours from here on, whatever becomes of it.
    UniqueFd fd(source.borrowed ? ::fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : number);
    ifreq request{};
    if (::ioctl(fd.get(), TUNGETIFF, &request) != 0) {
      const bool open = ::fcntl(number, F_GETFD) >= 0;
      if (!open) (void)fd.release();
      return fail(fmt::format("--net: fd={} is {}", number, open ? "no tap" : "not open"));
    }
    const int flags = static_cast<unsigned short>(request.ifr_flags);
    if ((flags & IFF_TAP) == 0 || (flags & IFF_NO_PI) == 0 || (flags & IFF_VNET_HDR) == 0) {
      return fail(fmt::format(
          "--net: fd={} must be a tap opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", number));
    }
    const std::string name(request.ifr_name, ::strnlen(request.ifr_name, IFNAMSIZ));
    if (name_.empty()) name_ = name;
    if (name != name_) {
      return fail(
          fmt::format("--net: fd={} belongs to {}, but the first to {}", number, name, name_));
    }
    const int status = ::fcntl(fd.get(), F_GETFL);
    if (status < 0 || ::fcntl(fd.get(), F_SETFL, status | O_NONBLOCK) != 0 ||
        ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
      return fail_errno(fmt::format("--net: fd={}", number));
    }
    pairs_.push_back(std::make_unique<TapPair>(std::move(fd)));
  }
  return {};
}

Status Tap::set_up(const TapSource& source) {
  const int header = kNetHeaderBytes;
  const int little_endian = 1;
  for (const auto& pair : pairs_) {
    if (::ioctl(pair->fd(), TUNSETVNETHDRSZ, &header) != 0) {
      return fail_errno(fmt::format("--net: {}: cannot set the size of its header", name_));
    }
    // Kernels that lack it have the host's order: the same on the hosts we run on.
    (void)::ioctl(pair->fd(), TUNSETVNETLE, &little_endian);
  }
  auto interface = Interface::of(name_);
  if (!interface) return forward(interface);
  if (source.mtu != 0) {
    const auto now = interface->mtu();
    if (!now || *now != source.mtu) {
      if (auto set = interface->set_mtu(source.mtu); !set) {
        return fail(fmt::format("--net: mtu={}: {}", source.mtu, set.error().message));
      }
    }
  }
  // Without rights it may have been brought up already, or be for another process to bring up
  // (fd=).
  const auto up = interface->is_up();
  if (!up || !*up) {
    if (auto brought = interface->bring_up(); !brought && source.fds.empty()) {
      return fail(fmt::format("--net: {}", brought.error().message), brought.error().code);
    }
  }
  limits_.pairs = static_cast<unsigned>(pairs_.size());
  const auto mtu = interface->mtu();
  limits_.mtu = mtu ? *mtu : std::uint16_t{0};
  interface_ = std::move(*interface);
  find_offloads();
  listen_to_links();
  return use_pairs(1);
}

/// The kernel's messages about interfaces. They say which one changed and how; all that matters
/// here is that one did.
void Tap::listen_to_links() noexcept {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK;
  const auto* const address = reinterpret_cast<const sockaddr*>(&groups);
  if (!socket.valid() || ::bind(socket.get(), address, sizeof groups) != 0) return;
  link_events_ = std::move(socket);
}

LinkState Tap::link() noexcept {
  std::array<std::byte, 8192> message;
  // An overflow is an error once, and then there is more.
  while (::recv(link_events_.get(), message.data(), message.size(), 0) > 0 || errno == ENOBUFS) {
  }
  ifreq request{};
  if (::ioctl(pairs_[0]->fd(), TUNGETIFF, &request) != 0) return LinkState::kGone;
  // It may have been given another name, or been moved to another namespace, where we cannot look.
  interface_->renamed(std::string(request.ifr_name, ::strnlen(request.ifr_name, IFNAMSIZ)));
  const Result<bool> up = interface_->has_link();
  return !up || *up ? LinkState::kUp : LinkState::kDown;
}

void Tap::find_offloads() noexcept {
  constexpr unsigned kTso = TUN_F_TSO4 | TUN_F_TSO6;
  constexpr std::pair<unsigned, Offloads> kSteps[] = {
      {0, {Offload::kCsum}},
      {kTso, {Offload::kTso4, Offload::kTso6}},
      {kTso | TUN_F_TSO_ECN, {Offload::kEcn}},
      {TUN_F_UFO, {Offload::kUfo}},
      {TUN_F_USO4 | TUN_F_USO6, {Offload::kUso4, Offload::kUso6}},
  };
  for (const auto& [flags, offloads] : kSteps) {
    if (accepts(TUN_F_CSUM | flags)) limits_.to_guest.add(offloads);
  }
  // What it can leave to others it also takes from them, unasked.
  limits_.to_host = limits_.to_guest;
  (void)accepts(0);
}

}  // namespace

Result<std::shared_ptr<NetBackend>> open_tap(const TapSource& source) { return Tap::open(source); }

}  // namespace bellhop

#include "net/interface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace bellhop {

static_assert(Interface::kMaxName == IFNAMSIZ - 1);

namespace {

ifreq request_for(const std::string& name) noexcept {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), Interface::kMaxName));
  return request;
}

}  // namespace

bool Interface::is_name(const std::string& name) noexcept {
  const auto bad = [](char c) {
    return c == '/' || c == ':' || c == '%' || std::isgraph(static_cast<unsigned char>(c)) == 0;
  };
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         std::ranges::none_of(name, bad);
}

Result<Interface> Interface::of(std::string name) {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail_errno("--net: no socket to ask for interfaces through");
  return Interface(std::move(name), std::move(socket));
}

bool Interface::exists() const noexcept { return ::if_nametoindex(name_.c_str()) != 0; }

Result<bool> Interface::is_up() const {
  ifreq request = request_for(name_);
  if (::ioctl(socket_.get(), SIOCGIFFLAGS, &request) != 0) {
    return fail_errno("cannot look at " + name_);
  }
  return (request.ifr_flags & IFF_UP) != 0;
}

Result<bool> Interface::has_link() const {
  ifreq request = request_for(name_);
  ethtool_value link{};
  link.cmd = ETHTOOL_GLINK;
  request.ifr_data = reinterpret_cast<char*>(&link);
  if (::ioctl(socket_.get(), SIOCETHTOOL, &request) != 0) {
    return fail_errno("cannot look at " + name_);
  }
  return link.data != 0;
}

Status Interface::bring_up() const {
  ifreq request = request_for(name_);
  if (::ioctl(socket_.get(), SIOCGIFFLAGS, &request) != 0) {
    return fail_errno("cannot look at " + name_);
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket_.get(), SIOCSIFFLAGS, &request) != 0) {
    return fail_errno("cannot bring " + name_ + " up");
  }
  return {};
}

Result<std::uint16_t> Interface::mtu() const {
  ifreq request = request_for(name_);
  if (::ioctl(socket_.get(), SIOCGIFMTU, &request) != 0) {
    return fail_errno("cannot look at " + name_);
  }
  return static_cast<std::uint16_t>(std::clamp(request.ifr_mtu, 0, 65535));
}

Status Interface::set_mtu(std::uint16_t bytes) const {
  ifreq request = request_for(name_);
  request.ifr_mtu = bytes;
  if (::ioctl(socket_.get(), SIOCSIFMTU, &request) != 0) {
    return fail_errno("cannot set the MTU of " + name_ + " to " + std::to_string(bytes));
  }
  return {};
}

}  // namespace bellhop

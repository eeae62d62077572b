#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/split.h"
#include "devices/net/nic_config.h"
#include "net/interface.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxPairs = 64;
constexpr unsigned kMinMtu = 68;     // virtio 1.3, 5.1.4.1
constexpr unsigned kMaxMtu = 65521;  // what a tap takes

template <class T>
std::optional<T> number(std::string_view text, int base) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "52:54:00:12:34:56", one station's address.
std::optional<MacAddress> parse_mac(std::string_view text) {
  const auto parts = split(text, ':');
  std::array<std::byte, 6> bytes{};
  if (parts.size() != bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = number<std::uint8_t>(parts[i], 16);
    if (!byte || parts[i].size() != 2) return std::nullopt;
    bytes[i] = std::byte{*byte};
  }
  const MacAddress mac = load_mac(bytes.data());
  if (mac == 0 || is_multicast(mac)) return std::nullopt;
  return mac;
}

std::optional<std::vector<int>> parse_fds(std::string_view text) {
  std::vector<int> fds;
  for (const std::string_view part : split(text, ':')) {
    const auto fd = number<int>(part, 10);
    // 0, 1 and 2 are the guest's console and our own words.
    if (!fd || *fd <= 2 || std::ranges::find(fds, *fd) != fds.end()) return std::nullopt;
    fds.push_back(*fd);
  }
  return fds;
}

/// What goes with `user` only, and what does not go with it.
Status parse_user(NicConfig& nic, const std::vector<std::string>& forwards) {
  if (!nic.user) {
    if (forwards.empty()) return {};
    return fail("--net: hostfwd goes with user: a tap is the host's own network");
  }
  if (nic.tap.pairs != 1) return fail("--net: queues: user-mode networking has one pair");
  if (nic.vhost != Vhost::kOff) {
    return fail("--net: vhost: the kernel carries a tap's frames, not those of user");
  }
  for (const std::string& text : forwards) {
    auto parsed = parse_port_forward(text);
    if (!parsed) return forward(parsed);
    for (const PortForward& other : nic.passt.forwards) {
      if (other.protocol == parsed->protocol && other.host_port == parsed->host_port &&
          (other.host_address == parsed->host_address || other.host_address.empty() ||
           parsed->host_address.empty())) {
        return fail(fmt::format("--net: hostfwd={}: the host's port {} is given twice", text,
                                parsed->host_port));
      }
    }
    nic.passt.forwards.push_back(std::move(*parsed));
  }
  return {};
}

}  // namespace

const DeviceOption NicConfig::kOption = {
    .name = "net",
    .summary = "A virtio-net NIC; may be given again",
    .value = "KEY=VALUE,...",
    .keys = R"(
  tap=NAME or fd=N[:N...]  a tap of the host, made if it is not there; or open ones, one a pair
  user                     or a network without rights, by passt;
  hostfwd=tcp:[ADDRESS]:PORT-:GUESTPORT   ... ports of the host's (or udp:); may be given again
  id=NAME  mac=ADDRESS     net0, net1, ... and a random address by default
  mtu=N                    set for the tap too; by default the tap's own
  queues=N  queue-size=N   pairs of queues (1), entries of each queue (256)
  gro=on|off               the guest's UDP datagrams of one flow and size reach the host's stack as
                           one frame where they come together (on)
  vhost=off|on|force       have the kernel's vhost-net carry the frames: on, where it can be had;
                           force, or do not start (off)
  notify=..., iothread=... as for --disk; iothread=A:B spreads the pairs over both)",
};

Result<NicConfig> NicConfig::parse(const PropertyList& properties) {
  NicConfig nic;
  PropertyReader reader("--net", properties);
  reader.text("tap", nic.tap.name);
  std::string fds;
  reader.text("fd", fds);
  reader.flag("user", nic.user);
  std::vector<std::string> forwards;
  reader.texts("hostfwd", forwards);
  std::string mac;
  reader.text("mac", mac);
  unsigned mtu = 0;
  reader.number("mtu", mtu, kMinMtu, kMaxMtu);
  reader.number("queues", nic.tap.pairs, 1, kMaxPairs);
  read_queue_size(reader, nic.queue_size);
  reader.flag("gro", nic.gro);
  reader.choice<Vhost>("vhost", nic.vhost,
                       {{"off", Vhost::kOff}, {"on", Vhost::kOn}, {"force", Vhost::kForce}});
  read_common_keys(reader, properties, nic);

  nic.tap.mtu = nic.passt.mtu = static_cast<std::uint16_t>(mtu);
  if (reader.has("tap") && !Interface::is_name(nic.tap.name)) {
    reader.wrong("tap", nic.tap.name,
                 fmt::format("the name of an interface: 1 to {} characters without blanks, '/', "
                             "':' and '%'",
                             Interface::kMaxName));
  }
  if (reader.has("mac")) {
    const auto parsed = parse_mac(mac);
    if (!parsed) {
      reader.wrong("mac", mac, "one station's address, such as 02:00:00:12:34:56");
    } else {
      nic.mac = *parsed;
    }
  }
  if (reader.has("fd")) {
    const auto parsed = parse_fds(fds);
    if (!parsed) {
      reader.wrong("fd", fds, "numbers of open descriptors over 2, such as 3 or 3:4");
    } else {
      nic.tap.fds = *parsed;
    }
  }
  if (auto status = reader.finish(); !status) return forward(status);
  if (int{reader.has("tap")} + int{reader.has("fd")} + int{nic.user} != 1) {
    return fail("--net: one of tap=NAME, fd=N and user is needed, and no two of them");
  }
  if (auto parsed = parse_user(nic, forwards); !parsed) return forward(parsed);
  if (!nic.tap.fds.empty()) {
    const auto count = static_cast<unsigned>(nic.tap.fds.size());
    if (reader.has("queues") && nic.tap.pairs != count) {
      return fail(fmt::format("--net: queues={} needs as many descriptors in fd=, not {}",
                              nic.tap.pairs, count));
    }
    if (count > kMaxPairs) return fail(fmt::format("--net: fd= has more than {}", kMaxPairs));
    nic.tap.pairs = count;
  }
  return nic;
}

Status NicConfig::check_together(std::span<const NicConfig> nics) {
  for (std::size_t i = 0; i < nics.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!nics[i].tap.name.empty() && nics[j].tap.name == nics[i].tap.name) {
        return fail(fmt::format("--net: tap={} is used by two NICs", nics[i].tap.name));
      }
      for (const int fd : nics[i].tap.fds) {
        if (std::ranges::find(nics[j].tap.fds, fd) != nics[j].tap.fds.end()) {
          return fail(fmt::format("--net: fd={} is used by two NICs", fd));
        }
      }
      if (nics[i].mac != 0 && nics[j].mac == nics[i].mac) {
        return fail(fmt::format("--net: {} and {} have the same mac", nics[j].id, nics[i].id));
      }
    }
  }
  return {};
}

unsigned NicConfig::offloaded_queues() const noexcept {
  return vhost == Vhost::kOff ? 0 : 2 * tap.pairs;
}

}  // namespace bellhop

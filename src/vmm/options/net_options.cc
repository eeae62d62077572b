#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/split.h"
#include "net/interface.h"
#include "vmm/options/machine_options.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxPairs = 64;
constexpr unsigned kMaxQueueSize = 32768;  // virtio 1.3, 2.7
constexpr unsigned kLeastMtu = 68;         // virtio 1.3, 5.1.4.1
constexpr unsigned kMostMtu = 65521;       // what a tap takes
constexpr std::size_t kMaxId = 20;

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

Result<NicConfig> parse_net(const PropertyList& properties) {
  NicConfig nic;
  PropertyReader reader("--net", properties);
  reader.text("tap", nic.tap.name);
  std::string fds;
  reader.text("fd", fds);
  reader.flag("user", nic.user);
  std::vector<std::string> forwards;
  reader.texts("hostfwd", forwards);
  reader.text("id", nic.id);
  std::string mac;
  reader.text("mac", mac);
  unsigned mtu = 0;
  reader.number("mtu", mtu, kLeastMtu, kMostMtu);
  reader.number("queues", nic.tap.pairs, 1, kMaxPairs);
  reader.number("queue-size", nic.queue_size, 2, kMaxQueueSize);
  reader.choice<Vhost>("vhost", nic.vhost,
                       {{"off", Vhost::kOff}, {"on", Vhost::kOn}, {"force", Vhost::kForce}});
  const Property* notify = properties.find("notify");
  if (notify != nullptr && (notify->value == "poll" || notify->value == "adaptive")) {
    reader.wrong("notify", *notify->value,
                 "sync or ioeventfd: this version has no polling of queues");
  }
  reader.choice<NotifyMode>("notify", nic.notify,
                            {{"ioeventfd", NotifyMode::kIoEventFd}, {"sync", NotifyMode::kSync}});
  reader.text("iothread", nic.iothread);
  if (nic.iothread == "auto") nic.iothread.clear();

  nic.tap.mtu = nic.passt.mtu = static_cast<std::uint16_t>(mtu);
  if ((nic.queue_size & (nic.queue_size - 1)) != 0) {
    reader.wrong("queue-size", fmt::format("{}", nic.queue_size), "a power of two");
  }
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
  const auto printable = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0; };
  if (nic.id.size() > kMaxId || !std::ranges::all_of(nic.id, printable)) {
    reader.wrong("id", nic.id, "at most 20 characters without spaces");
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

}  // namespace bellhop

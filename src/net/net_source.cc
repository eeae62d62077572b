#include "net/net_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/split.h"
#include "net/interface.h"
#include "net/passt.h"
#include "net/tap.h"

namespace bellhop {

namespace {

constexpr unsigned kMinMtu = 68;     // virtio 1.3, 5.1.4.1
constexpr unsigned kMaxMtu = 65521;  // a tap's; others take less

std::uint16_t read_mtu(PropertyReader& reader) {
  unsigned mtu = 0;
  reader.number("mtu", mtu, kMinMtu, kMaxMtu);
  return static_cast<std::uint16_t>(mtu);
}

std::optional<std::vector<int>> parse_fds(std::string_view text) {
  std::vector<int> fds;
  for (const std::string_view part : split(text, ':')) {
    int fd = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), fd);
    if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
    // 0, 1 and 2 are the guest's console and our own words.
    if (fd <= 2 || std::ranges::find(fds, fd) != fds.end()) return std::nullopt;
    fds.push_back(fd);
  }
  return fds;
}

/// Whether both would listen at the same port of the host.
bool collide(const PortForward& one, const PortForward& other) {
  return one.protocol == other.protocol && one.host_port == other.host_port &&
         (one.host_address == other.host_address || one.host_address.empty() ||
          other.host_address.empty());
}

}  // namespace

TapSource TapSource::parse(PropertyReader& reader) {
  TapSource tap;
  reader.text("tap", tap.name);
  if (reader.has("tap") && !Interface::is_name(tap.name)) {
    reader.wrong("tap", tap.name,
                 fmt::format("the name of an interface: 1 to {} characters without blanks, '/', "
                             "':' and '%'",
                             Interface::kMaxName));
  }
  std::string fds;
  reader.text("fd", fds);
  reader.number("queues", tap.pairs, 1, TapSource::kMaxPairs);
  tap.mtu = read_mtu(reader);
  if (!reader.has("fd")) return tap;
  auto parsed = parse_fds(fds);
  if (!parsed) {
    reader.wrong("fd", fds, "numbers of open descriptors over 2, such as 3 or 3:4");
    return tap;
  }
  tap.fds = std::move(*parsed);
  if (tap.fds.size() > TapSource::kMaxPairs) {
    reader.refuse("fd", fmt::format("fd= has more than {}", TapSource::kMaxPairs));
  }
  const auto count = static_cast<unsigned>(tap.fds.size());
  if (reader.has("queues") && tap.pairs != count) {
    reader.refuse("queues", fmt::format("queues={} needs as many descriptors in fd=, not {}",
                                        tap.pairs, count));
  }
  tap.pairs = count;
  return tap;
}

Status TapSource::check_together(std::string_view option, const TapSource& other) const {
  if (!name.empty() && other.name == name) {
    return fail(fmt::format("{}: tap={} is used by two NICs", option, name));
  }
  if (borrowed || other.borrowed) return {};  // their numbers mean nothing any more
  for (const int fd : fds) {
    if (std::ranges::find(other.fds, fd) != other.fds.end()) {
      return fail(fmt::format("{}: fd={} is used by two NICs", option, fd));
    }
  }
  return {};
}

void TapSource::add_needs(HostNeeds& needs) const {
  needs.network = true;  // an open tap's interface is looked up, too
  if (!name.empty()) needs.add("/dev/net/tun", HostUse::kDevice);
  if (!borrowed) needs.descriptors.insert(needs.descriptors.end(), fds.begin(), fds.end());
}

Result<std::shared_ptr<NetBackend>> TapSource::open() const { return open_tap(*this); }

unsigned PasstSource::chosen(PropertyReader& reader) {
  bool user = false;
  reader.flag("user", user);
  return user ? 1 : 0;
}

PasstSource PasstSource::parse(PropertyReader& reader) {
  PasstSource passt;
  passt.mtu = read_mtu(reader);
  std::vector<std::string> forwards;
  reader.texts("hostfwd", forwards);
  for (const std::string& text : forwards) {
    auto parsed = parse_port_forward(text);
    if (!parsed) {
      reader.refuse("hostfwd", parsed.error().message);
      continue;
    }
    for (const PortForward& other : passt.forwards) {
      if (!collide(*parsed, other)) continue;
      reader.refuse("hostfwd", fmt::format("hostfwd={}: the host's port {} is given twice", text,
                                           parsed->host_port));
    }
    passt.forwards.push_back(std::move(*parsed));
  }
  return passt;
}

Status PasstSource::check_together(std::string_view option, const PasstSource& other) const {
  for (const PortForward& mine : forwards) {
    for (const PortForward& theirs : other.forwards) {
      if (!collide(mine, theirs)) continue;
      return fail(fmt::format("{}: hostfwd: the host's port {} is given to two NICs", option,
                              mine.host_port));
    }
  }
  return {};
}

Result<std::shared_ptr<NetBackend>> PasstSource::open() const { return start_passt(*this); }

}  // namespace bellhop

#include "devices/net/nic_config.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/option_variant.h"
#include "base/split.h"
#include "devices/net/net_device.h"
#include "devices/net/vhost_user_net_device.h"

namespace bellhop {

namespace {

using Source = OptionVariant<NicSource>;

constexpr unsigned kLeastMtu = 68;  // virtio 1.3, 5.1.4.1
constexpr unsigned kMostMtu = 0xffff;

/// "52:54:00:12:34:56", one station's address.
std::optional<MacAddress> parse_mac(std::string_view text) {
  const auto parts = split(text, ':');
  std::array<std::byte, 6> bytes{};
  if (parts.size() != bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint8_t byte = 0;
    const char* const last = parts[i].data() + parts[i].size();
    const auto [end, error] = std::from_chars(parts[i].data(), last, byte, 16);
    if (error != std::errc() || end != last || parts[i].size() != 2) return std::nullopt;
    bytes[i] = std::byte{byte};
  }
  const MacAddress mac = load_mac(bytes.data());
  if (mac == 0 || is_multicast(mac)) return std::nullopt;
  return mac;
}

/// An address of our own making: locally administered, one station's.
Result<MacAddress> make_up_mac() {
  std::array<std::byte, 6> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno("--net: no random numbers for a MAC address (mac= would do without)");
  }
  bytes[0] = (bytes[0] & std::byte{0xfc}) | std::byte{0x02};
  return load_mac(bytes.data());
}

Result<std::unique_ptr<VirtioDevice>> make_served(const NicConfig& config,
                                                  const VhostUserNic& back_end, MacAddress mac,
                                                  const DeviceHost& host) {
  if (auto shared = check_shared(*host.memory, "--net"); !shared) return forward(shared);
  auto device =
      VhostUserNetDevice::create({.id = config.id,
                                  .mac = mac,
                                  .mtu = back_end.mtu,
                                  .queue_size = static_cast<std::uint16_t>(config.queue_size),
                                  .pairs = static_cast<std::uint16_t>(back_end.pairs),
                                  .more_ring_features = ring_features(config)},
                                 connector_to("--net", back_end.socket));
  const auto ready = device ? check_rings(**device, ring_features(config)) : forward(device);
  if (ready) return std::move(*device);
  return fail(fmt::format("--net: vhost-user={}: {}", back_end.socket, ready.error().message),
              ready.error().code);
}

/// The kernel's vhost-net under all pairs of the back end.
Result<std::unique_ptr<VhostNet>> find_kernel(NetBackend& backend) {
  std::vector<int> taps;
  for (unsigned pair = 0; pair < backend.limits().pairs; ++pair) {
    taps.push_back(backend.pair(pair).kernel_fd());
    if (taps.back() < 0) return fail(fmt::format("{} is no tap", backend.name()));
  }
  return VhostNet::create(taps);
}

}  // namespace

const DeviceOption NicConfig::kOption = {
    .name = "net",
    .summary = "A virtio-net NIC; may be given again",
    .value = "KEY=VALUE,...",
    .keys = Source::help(R"(
  id=NAME  mac=ADDRESS     net0, net1, ... and a random address by default
  queue-size=N             entries of each queue (256)
  gro=on|off               the guest's UDP datagrams of one flow and size reach the host's stack as
                           one frame where they come together (on)
  pps=N  bps=SIZE          at most so many frames and bytes in a second, each way (as many as it can)
  burst=TIME               how far it may be ahead of them after a rest (10ms)
  rate-limit-group=NAME    in their place: what the devices of that group may do together
  vhost=off|on|force       have the kernel's vhost-net carry the frames: on, where it can be had;
                           force, or do not start (off)
  packed=on|off, in-order=on|off  as for --disk; vhost=on leaves drivers of these to user space
  queue-reset=on|off, notification-data=on|off  as for --disk
  notify=..., optimize=..., coalesce=..., iothread=... as for --disk
                           iothread=A:B spreads the pairs over both)"),
    .served_as = "net",
};

VhostUserNic VhostUserNic::parse(PropertyReader& reader) {
  VhostUserNic nic;
  read_back_end(reader, "vhost-user", nic.socket);
  reader.number("queues", nic.pairs, 1, TapSource::kMaxPairs);
  unsigned mtu = 0;
  reader.number("mtu", mtu, kLeastMtu, kMostMtu);
  nic.mtu = static_cast<std::uint16_t>(mtu);
  return nic;
}

Status VhostUserNic::check_together(std::string_view option, const VhostUserNic& other) const {
  return check_own_back_ends(option, *this, other);
}

Result<NicConfig> NicConfig::parse(const PropertyList& properties) {
  NicConfig nic;
  PropertyReader reader("--net", properties);
  nic.source = Source::parse(reader);
  std::string mac;
  reader.text("mac", mac);
  if (reader.has("mac")) {
    const auto parsed = parse_mac(mac);
    if (!parsed) reader.wrong("mac", mac, "one station's address, such as 02:00:00:12:34:56");
    nic.mac = parsed.value_or(0);
  }
  read_queue_size(reader, nic.queue_size);
  reader.flag("gro", nic.gro);
  reader.choice<Vhost>("vhost", nic.vhost,
                       {{"off", Vhost::kOff}, {"on", Vhost::kOn}, {"force", Vhost::kForce}});
  const bool may_serve =
      std::visit([](const auto& one) { return one.kKernelMayServe; }, nic.source);
  if (nic.vhost != Vhost::kOff && !may_serve) {
    reader.refuse("vhost", "vhost: the kernel carries a tap's frames and no others");
  }
  read_rates(reader, "pps", nic.rates);
  read_rate_group(reader, nic.rates, nic.rate_group);
  if (nic.vhost != Vhost::kOff) {
    refuse_rates(reader, "pps", nic.rates, nic.rate_group, "the kernel (vhost)");
  }
  read_common_keys(reader, properties, nic);
  if (nic.back_end() != nullptr) {
    leave_queues_to_back_end(reader, nic);
    refuse_rates(reader, "pps", nic.rates, nic.rate_group, "the back end (vhost-user)");
    if (reader.has("gro")) reader.refuse("gro", "gro: the back end (vhost-user) has the frames");
  }
  if (nic.vhost == Vhost::kForce) keep_to_our_own(reader, nic, "the kernel (vhost=force)");
  if (auto status = reader.finish(); !status) return forward(status);
  return nic;
}

Status NicConfig::check_together(std::span<const NicConfig> others) const {
  for (const NicConfig& other : others) {
    if (auto checked = Source::check_together("--net", source, other.source); !checked) {
      return checked;
    }
    if (mac != 0 && other.mac == mac) {
      return fail(fmt::format("--net: {} and {} have the same mac", other.id, id));
    }
  }
  return {};
}

void NicConfig::add_needs(HostNeeds& needs) const {
  std::visit([&](const auto& one) { one.add_needs(needs); }, source);
  if (vhost != Vhost::kOff) needs.add(VhostNet::kDevice, HostUse::kDevice);
}

void NicConfig::borrow_fds() noexcept {
  if (auto* const tap = std::get_if<TapSource>(&source)) tap->borrowed = true;
}

unsigned NicConfig::offloaded_queues() const noexcept {
  if (vhost == Vhost::kOff && back_end() == nullptr) return 0;
  return 2 * std::visit([](const auto& one) { return one.pairs; }, source);
}

Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config, const DeviceHost& host) {
  MacAddress mac = config.mac;
  if (mac == 0) {
    const auto made_up = make_up_mac();
    if (!made_up) return forward(made_up);
    mac = *made_up;
  }
  if (const auto* back_end = config.back_end()) return make_served(config, *back_end, mac, host);
  Result<std::shared_ptr<NetBackend>> backend = fail("--net: it has no wire");
  std::visit(
      [&](const auto& source) {
        if constexpr (requires { source.open(); }) backend = source.open();
      },
      config.source);
  if (!backend) return forward(backend);
  std::unique_ptr<VhostNet> kernel;
  if (config.vhost != Vhost::kOff) {
    auto found = find_kernel(**backend);
    if (found) {
      kernel = std::move(*found);
    } else if (config.vhost == Vhost::kForce) {
      return fail(fmt::format("--net: {}: vhost=force: {}", config.id, found.error().message),
                  found.error().code);
    } else {
      // log: at start
      log::warn("vhost=on: {}, {} is served in user space", found.error().message, config.id);
    }
  }
  const NetOptions options{.id = config.id,
                           .mac = mac,
                           .mtu = (*backend)->limits().mtu,
                           .queue_size = static_cast<std::uint16_t>(config.queue_size),
                           .join_frames = config.gro,
                           .kernel_required = config.vhost == Vhost::kForce,
                           .rates = config.rates,
                           .group = find_throttle(host.rate_groups, config.rate_group)};
  return std::make_unique<NetDevice>(std::move(*backend), options, std::move(kernel));
}

}  // namespace bellhop

#include "devices/net/nic_config.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>

#include "base/log.h"
#include "devices/net/net_device.h"

namespace bellhop {

namespace {

/// An address of our own making: locally administered, one station's.
Result<MacAddress> make_up_mac() {
  std::array<std::byte, 6> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno("--net: no random numbers for a MAC address (mac= would do without)");
  }
  bytes[0] = (bytes[0] & std::byte{0xfc}) | std::byte{0x02};
  return load_mac(bytes.data());
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config) {
  if (config.vhost == Vhost::kForce) {
    return fail(
        fmt::format("--net: {}: vhost=force: this version has no vhost-net; vhost=off or "
                    "vhost=on would start",
                    config.id));
  }
  if (config.vhost == Vhost::kOn) {
    log::info("{}: this version has no vhost-net: frames are carried in user space", config.id);
  }
  MacAddress mac = config.mac;
  if (mac == 0) {
    const auto made_up = make_up_mac();
    if (!made_up) return forward(made_up);
    mac = *made_up;
  }
  auto tap = open_tap(config.tap);
  if (!tap) return forward(tap);
  const NetOptions options{.id = config.id,
                           .mac = mac,
                           .mtu = (*tap)->limits().mtu,
                           .queue_size = static_cast<std::uint16_t>(config.queue_size)};
  return std::make_unique<NetDevice>(std::move(*tap), options);
}

}  // namespace bellhop

#include "devices/net/nic_config.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <vector>

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

Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config) {
  MacAddress mac = config.mac;
  if (mac == 0) {
    const auto made_up = make_up_mac();
    if (!made_up) return forward(made_up);
    mac = *made_up;
  }
  auto backend = config.user ? start_passt(config.passt) : open_tap(config.tap);
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
      log::warn("vhost=on: {}, {} is served in user space", found.error().message, config.id);
    }
  }
  const NetOptions options{.id = config.id,
                           .mac = mac,
                           .mtu = (*backend)->limits().mtu,
                           .queue_size = static_cast<std::uint16_t>(config.queue_size),
                           .join_frames = config.gro,
                           .kernel_required = config.vhost == Vhost::kForce};
  return std::make_unique<NetDevice>(std::move(*backend), options, std::move(kernel));
}

}  // namespace bellhop

#include <fmt/format.h>

#include "devices/vsock/vsock_config.h"
#include "vhost/vhost_vsock.h"
#include "virtio/abi/vsock.h"

namespace bellhop {

namespace {

constexpr unsigned kMinCid = virtio::kVsockCidFirstGuest;
constexpr unsigned kMaxCid = virtio::kVsockCidAny - 1;

}  // namespace

const DeviceOption VsockConfig::kOption = {
    .name = "vsock",
    .summary = "Sockets between host and guest",
    .value = "cid=N,uds=PATH",
    .keys = R"(
  cid=N  uds=PATH          the guest's context id, 3 or more; a Unix socket of the host
  vhost=off|on|force       on, force: the kernel's vhost-vsock, without uds (off)
  id=NAME, notify=..., optimize=..., coalesce=..., iothread=..., packed=..., queue-reset=...,
  notification-data=..., in-order=...   as for --disk)",
    .same_by = {},  // a guest has one CID
    .served_as = "vsock",
};

Result<VsockConfig> VsockConfig::parse(const PropertyList& properties) {
  VsockConfig vsock;
  PropertyReader reader("--vsock", properties);
  reader.number("cid", vsock.cid, kMinCid, kMaxCid);
  reader.text("uds", vsock.uds);
  reader.choice<VsockVhost>(
      "vhost", vsock.vhost,
      {{"off", VsockVhost::kOff}, {"on", VsockVhost::kOn}, {"force", VsockVhost::kForce}});
  read_common_keys(reader, properties, vsock);
  if (!reader.has("cid")) {
    reader.incomplete("cid=N is missing: the guest's context id, 3 or more");
  }
  const bool in_user_space = vsock.vhost == VsockVhost::kOff;
  if (!in_user_space) {
    keep_to_our_own(reader, vsock, "the kernel (vhost)");
    refuse_queue_reset(reader, vsock, "the kernel (vhost)");
  }
  if (in_user_space && !reader.has("uds")) {
    reader.incomplete("uds=PATH is missing: the Unix socket that programs of the host use");
  }
  if (!in_user_space && reader.has("uds")) {
    reader.refuse("uds", "uds=PATH goes with vhost=off only: the kernel has sockets of its own");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  return vsock;
}

void VsockConfig::add_needs(HostNeeds& needs) const {
  if (vhost == VsockVhost::kOff) {
    needs.add(uds, HostUse::kListens);
  } else {
    needs.add(VhostVsock::kDevice, HostUse::kDevice);
  }
}

unsigned VsockConfig::offloaded_queues() const noexcept {
  return vhost == VsockVhost::kOff ? 0 : 2;  // the events are ours
}

}  // namespace bellhop

#include <fmt/format.h>

#include "virtio/abi/vsock.h"
#include "vmm/options/common_keys.h"
#include "vmm/options/machine_options.h"

namespace bellhop {

namespace {

constexpr unsigned kLeastCid = virtio::kVsockCidFirstGuest;
constexpr unsigned kMostCid = virtio::kVsockCidAny - 1;

}  // namespace

Result<VsockConfig> parse_vsock(const PropertyList& properties) {
  VsockConfig vsock;
  PropertyReader reader("--vsock", properties);
  reader.number("cid", vsock.cid, kLeastCid, kMostCid);
  reader.text("uds", vsock.uds);
  reader.choice<VsockVhost>(
      "vhost", vsock.vhost,
      {{"off", VsockVhost::kOff}, {"on", VsockVhost::kOn}, {"force", VsockVhost::kForce}});
  read_common_keys(reader, properties, vsock);
  if (auto status = reader.finish(); !status) return forward(status);
  if (!reader.has("cid")) {
    return fail("--vsock: cid=N is missing: the guest's context id, 3 or more");
  }
  const bool in_user_space = vsock.vhost == VsockVhost::kOff;
  if (in_user_space && vsock.uds.empty()) {
    return fail("--vsock: uds=PATH is missing: the Unix socket that programs of the host use");
  }
  if (!in_user_space && !vsock.uds.empty()) {
    return fail("--vsock: uds=PATH goes with vhost=off only: the kernel has sockets of its own");
  }
  return vsock;
}

}  // namespace bellhop

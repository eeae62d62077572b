#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "virtio/abi/vsock.h"
#include "vmm/options/machine_options.h"

namespace bellhop {

namespace {

constexpr unsigned kLeastCid = virtio::kVsockCidFirstGuest;
constexpr unsigned kMostCid = virtio::kVsockCidAny - 1;
constexpr std::size_t kMaxId = 20;

}  // namespace

Result<VsockConfig> parse_vsock(const PropertyList& properties) {
  VsockConfig vsock;
  PropertyReader reader("--vsock", properties);
  reader.number("cid", vsock.cid, kLeastCid, kMostCid);
  reader.text("uds", vsock.uds);
  reader.text("id", vsock.id);
  reader.choice<VsockVhost>(
      "vhost", vsock.vhost,
      {{"off", VsockVhost::kOff}, {"on", VsockVhost::kOn}, {"force", VsockVhost::kForce}});
  const Property* notify = properties.find("notify");
  if (notify != nullptr && (notify->value == "poll" || notify->value == "adaptive")) {
    reader.wrong("notify", *notify->value,
                 "sync or ioeventfd: this version has no polling of queues");
  }
  reader.choice<NotifyMode>("notify", vsock.notify,
                            {{"ioeventfd", NotifyMode::kIoEventFd}, {"sync", NotifyMode::kSync}});
  reader.text("iothread", vsock.iothread);
  if (vsock.iothread == "auto") vsock.iothread.clear();
  const auto printable = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0; };
  if (vsock.id.size() > kMaxId || !std::ranges::all_of(vsock.id, printable)) {
    reader.wrong("id", vsock.id, "at most 20 characters without spaces");
  }
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

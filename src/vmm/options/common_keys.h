#pragma once

#include <algorithm>
#include <cctype>

#include "virtio/notify_mode.h"
#include "vmm/options/property_list.h"

namespace bellhop {

inline constexpr std::size_t kMaxDeviceId = 20;  // virtio 1.3, 5.2.6: a disk tells its guest

/// The keys of every device with one I/O thread: id, notify, iothread.
template <class Config>
void read_common_keys(PropertyReader& reader, const PropertyList& properties, Config& config) {
  reader.text("id", config.id);
  const Property* notify = properties.find("notify");
  if (notify != nullptr && (notify->value == "poll" || notify->value == "adaptive")) {
    reader.wrong("notify", *notify->value,
                 "sync or ioeventfd: this version has no polling of queues");
  }
  reader.choice<NotifyMode>("notify", config.notify,
                            {{"ioeventfd", NotifyMode::kIoEventFd}, {"sync", NotifyMode::kSync}});
  reader.text("iothread", config.iothread);
  if (config.iothread == "auto") config.iothread.clear();
  const auto printable = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0; };
  if (config.id.size() > kMaxDeviceId || !std::ranges::all_of(config.id, printable)) {
    reader.wrong("id", config.id, "at most 20 characters without spaces");
  }
}

}  // namespace bellhop

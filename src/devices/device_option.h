#pragma once

#include <algorithm>
#include <bit>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/throttle.h"
#include "base/units.h"
#include "base/unix_socket.h"
#include "devices/device_config.h"

namespace bellhop {

/// How users ask for a device: `--disk path=a.img,...`, `[[disk]]` in a file. A configuration is a
/// DeviceConfig that has one as `kOption`, and reads what was written:
///
///     static Result<FooConfig> parse(const PropertyList&);              one device an option, or
///     static Result<FooConfig> parse(std::span<const PropertyList>);    all options one device
///
/// It may also have
///
///     Status check_together(std::span<const FooConfig> others) const;   what two may not share
///     Status check_files(FileRoles&) const;    that its files can be had, and are nobody else's
///     void add_needs(HostNeeds&) const;        what it needs of the host while it is made and
///     after Status check_memory(std::uint64_t bytes) const;             of the machine Status
///     check_added() const;              that a machine may get it while it lives void
///     borrow_fds();                       a request brings them: its keys have their numbers
///     unsigned offloaded_queues() const;       how many others serve: these need ioeventfds
///     bool shares_memory() const;              whether another process maps the guest's memory
///     static constexpr std::size_t kQueuesTogether;   the device may be spread over several I/O
///                                              threads (iothread=A:B), so many queues in a row on
///                                              each
struct DeviceOption {
  std::string_view name;           ///< "disk"; also how ids begin that nobody gave
  std::string_view summary;        ///< its line in --help
  std::string_view value;          ///< what --help says it takes
  std::string keys;                ///< lines of --help
  std::string_view bare_key = {};  ///< the key of a first item without '=': --rng FILE
  bool may_be_bare = false;        ///< --rng alone
  /// The command line's device is the file's if this key has the same value. Empty: there is one at
  /// most, so it is.
  std::string_view same_by = "id";
  /// What `bellhop serve` calls it; empty: it cannot be served to another VMM.
  std::string_view served_as = {};
};

inline constexpr std::size_t kMaxDeviceId = 20;  // virtio 1.3, 5.2.6: a disk tells its guest

/// Keys whose values are paths of the host's, whichever device has them: in a configuration file
/// relative ones are meant from its folder.
inline constexpr std::string_view kPathKeys[] = {"path", "socket", "vhost-user",
                                                 "uds",  "file",   "src"};

/// Where a device's fault lies that is found when it is opened: at the key that names what the host
/// has for it, if there is one, else at the device.
inline const std::string& place_of_source(const PropertyList& properties) {
  for (const std::string_view key : {"path", "tap", "socket", "vhost-user", "uds", "file", "src"}) {
    const Property* const source = properties.find(key);
    if (source != nullptr && !source->place.empty()) return source->place;
  }
  return properties.place();
}

/// coalesce=off|TIME, for a device whose completions an I/O thread shows.
inline void read_coalesce(PropertyReader& reader, DeviceConfig& config) {
  constexpr std::chrono::milliseconds kLongest{10};
  std::string text = "off";
  reader.text("coalesce", text);
  if (text == "off") return;
  const auto time = parse_duration(text);
  if (!time || *time > kLongest) {
    reader.wrong("coalesce", text, "off or a time up to 10ms, such as 50us");
  } else if (config.notify == NotifyMode::kSync) {
    reader.refuse("coalesce",
                  "with notify=sync the vCPU waits for its answers as it is: without coalesce=");
  } else {
    config.coalesce = *time;
  }
}

/// The keys of every device: id, notify, optimize, coalesce, iothread, and features of its rings.
inline void read_common_keys(PropertyReader& reader, const PropertyList& properties,
                             DeviceConfig& config) {
  config.place = place_of_source(properties);
  reader.text("id", config.id);
  reader.choice<NotifyMode>("notify", config.notify,
                            {{"ioeventfd", NotifyMode::kIoEventFd},
                             {"sync", NotifyMode::kSync},
                             {"poll", NotifyMode::kPoll},
                             {"adaptive", NotifyMode::kAdaptive}});
  if (properties.find("optimize") != nullptr) {
    reader.choice<Optimize>("optimize", config.optimize.emplace(), kObjectiveWords);
    if (config.notify != NotifyMode::kAdaptive) {
      reader.refuse("optimize", "it says what notify=adaptive is to look at");
    }
  }
  read_coalesce(reader, config);
  reader.flag("packed", config.packed);
  reader.flag("queue-reset", config.queue_reset);
  reader.flag("notification-data", config.notification_data);
  reader.flag("in-order", config.in_order);
  reader.text("iothread", config.iothread);
  if (config.iothread == "auto") config.iothread.clear();
  const auto printable = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0; };
  if (config.id.size() > kMaxDeviceId || !std::ranges::all_of(config.id, printable)) {
    reader.wrong("id", config.id, "at most 20 characters without spaces");
  }
}

/// A rate of `unit` ("iops") and bytes, and the burst. With a `least` of 0 that means: none.
inline void read_rates(PropertyReader& reader, std::string_view unit, Rates& rates,
                       unsigned least = 1) {
  constexpr unsigned kMostUnits = 100'000'000;
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
  constexpr std::chrono::seconds kLongestBurst{3600};
  auto units = static_cast<unsigned>(rates.units);
  reader.number(unit, units, least, kMostUnits);
  rates.units = units;
  reader.size("bps", rates.bytes, least, kMostBytes);
  reader.duration("burst", rates.burst, kLongestBurst);
  if (reader.has("burst") && !rates.limited()) {
    reader.refuse("burst", std::string("burst= goes with ").append(unit).append("= or bps="));
  }
}
/// rate-limit-group, in the place of rates of its own.
inline void read_rate_group(PropertyReader& reader, const Rates& rates, std::string& group) {
  reader.text("rate-limit-group", group);
  if (group.empty() || !rates.limited()) return;
  reader.refuse("rate-limit-group",
                "rate-limit-group: the group has the rates, and the device none of its own");
}
/// Where `server` serves the queues, and a rate would be its to keep.
inline void refuse_rates(PropertyReader& reader, std::string_view unit, const Rates& rates,
                         const std::string& group, std::string_view server) {
  if (!group.empty()) {
    reader.refuse("rate-limit-group",
                  std::string("a rate is for ").append(server).append(" to keep"));
  }
  if (!rates.limited()) return;
  reader.refuse(rates.units != 0 ? unit : "bps",
                std::string("a rate is for ").append(server).append(" to keep"));
}

/// For a device whose guest `server` interrupts.
inline void refuse_coalesce(PropertyReader& reader, const DeviceConfig& config,
                            std::string_view server) {
  if (config.coalesce == std::chrono::nanoseconds(0)) return;
  reader.refuse("coalesce", std::string(server).append(" interrupts the guest by itself"));
}
/// For one whose queues `server` serves, which knows split rings only, in any order.
inline void keep_to_split_rings(PropertyReader& reader, const DeviceConfig& config,
                                std::string_view server) {
  const auto refuse = [&](std::string_view key, std::string_view how) {
    reader.wrong(key, "on", std::string("off: ").append(server).append(how));
  };
  if (config.packed) refuse("packed", " serves the queues, by split rings");
  if (config.in_order) refuse("in-order", " serves the queues, in any order");
}
/// Neither of the two.
inline void keep_to_our_own(PropertyReader& reader, const DeviceConfig& config,
                            std::string_view server) {
  refuse_coalesce(reader, config, server);
  keep_to_split_rings(reader, config, server);
}
/// For one whose queues `server` serves all at once or not at all.
inline void refuse_queue_reset(PropertyReader& reader, const DeviceConfig& config,
                               std::string_view server) {
  if (!config.queue_reset) return;
  reader.wrong(
      "queue-reset", "on",
      std::string("off: ").append(server).append(" serves the queues, all of them or none"));
}

/// For a device all of whose queues `server`, another process, serves.
inline void leave_queues_to(std::string_view server, PropertyReader& reader,
                            const DeviceConfig& config) {
  if (config.notify != NotifyMode::kIoEventFd) {
    reader.wrong("notify", to_string(config.notify),
                 std::string("ioeventfd: ").append(server).append(" serves the queues"));
  }
  refuse_coalesce(reader, config, server);
  refuse_queue_reset(reader, config, server);
}

/// The same for one that could serve them itself, with vhost-user= in its options. Which rings the
/// back end knows, it says itself.
inline void leave_queues_to_back_end(PropertyReader& reader, const DeviceConfig& config) {
  leave_queues_to("the back end (vhost-user)", reader, config);
  if (reader.has("iothread")) {
    reader.refuse("iothread", "iothread: the back end (vhost-user) serves the queues");
  }
}

/// A socket at which a back end of vhost-user listens.
inline void read_back_end(PropertyReader& reader, std::string_view key, std::string& socket) {
  reader.text(key, socket);
  if (socket.size() > kMaxUnixPath) {
    reader.wrong(key, socket, "at most " + std::to_string(kMaxUnixPath) + " characters");
  }
}

/// What two devices with the same kind of Source may not share: a back end serves one.
template <class Source>
Status check_own_back_ends(std::string_view option, const Source& one, const Source& other) {
  if (one.socket != other.socket) return {};
  return fail(std::string(option)
                  .append(": vhost-user=")
                  .append(one.socket)
                  .append(" is given to two devices; each needs a back end"));
}

/// queue-size, of all queues (virtio 1.3, 2.7: a power of two, at most 32768).
template <class Size>
void read_queue_size(PropertyReader& reader, Size& size) {
  unsigned entries = size;
  reader.number("queue-size", entries, 2, 32768);
  if (!std::has_single_bit(entries)) {
    reader.wrong("queue-size", std::to_string(entries), "a power of two");
  }
  size = static_cast<Size>(entries);
}

}  // namespace bellhop

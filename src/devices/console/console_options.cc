#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "devices/console/console_config.h"
#include "devices/console/console_control.h"
#include "devices/console/console_device.h"

namespace bellhop {

namespace {

using End = ConsolePortConfig::End;

/// Takes `key`, which is the device's, from an option that has it: all that have it must agree.
template <class T>
void take(PropertyReader& reader, std::string_view key, const T& value, bool& given, T& all) {
  if (!reader.has(key)) return;
  if (std::exchange(given, true) && all != value) {
    reader.refuse(key, "all ports are one device, and must agree in this");
  }
  all = value;
}

/// What two ports may not share.
void check_beside(PropertyReader& reader, const ConsolePortConfig& port,
                  std::span<const ConsolePortConfig> others) {
  for (const ConsolePortConfig& other : others) {
    if (!port.name.empty() && other.name == port.name) {
      reader.refuse("name", fmt::format("name={} is given to two ports", port.name));
    }
    if (port.end == End::kStdio && other.end == End::kStdio) {
      reader.refuse("stdio", "stdio can be had by one port only");
    }
    if (!port.path.empty() && other.path == port.path) {
      reader.refuse(reader.has("file") ? "file" : "socket",
                    fmt::format("{} is given to two ports", port.path));
    }
  }
}

/// How many ends the port was given: one is right.
int read_ends(PropertyReader& reader, ConsolePortConfig& port) {
  int ends = 0;
  const std::pair<std::string_view, End> words[] = {
      {"stdio", End::kStdio}, {"pty", End::kPty}, {"null", End::kNull}};
  for (const auto& [word, end] : words) {
    bool on = false;
    reader.flag(word, on);
    if (!on) continue;
    port.end = end;
    ++ends;
  }
  const std::pair<std::string_view, End> paths[] = {{"file", End::kFile}, {"socket", End::kSocket}};
  for (const auto& [key, end] : paths) {
    reader.text(key, port.path);
    if (!reader.has(key)) continue;
    port.end = end;
    ++ends;
  }
  reader.text("name", port.name);
  const auto printable = [](char c) { return static_cast<unsigned char>(c) > ' ' && c != '\x7f'; };
  if (port.name.size() > ConsoleControl::kMaxName || !std::ranges::all_of(port.name, printable)) {
    reader.wrong("name", port.name,
                 fmt::format("at most {} bytes without blanks", ConsoleControl::kMaxName));
  }
  return ends;
}

}  // namespace

const DeviceOption ConsoleConfig::kOption = {
    .name = "console",
    .summary = "A port of a virtio-console; may be given again",
    .value = "stdio|pty|null|file=PATH|socket=PATH[,name=NAME]",
    .keys = R"(
  stdio, pty, null, file=PATH or socket=PATH   what is at the host's end
  name=NAME                none: a console (hvc0, ...); else a port that programs open by that name
  id=, notify=, optimize=, coalesce=, iothread=, packed=, queue-reset=, notification-data=,
  in-order=                as for --disk; the same for all, which are ports of
                           one device)",
    .same_by = "name",
    .served_as = "console",
};

Result<ConsoleConfig> ConsoleConfig::parse(std::span<const PropertyList> ports) {
  ConsoleConfig console;
  bool id_given = false;
  bool notify_given = false;
  bool optimize_given = false;
  bool iothread_given = false;
  struct Flag {
    const char* key;
    bool DeviceConfig::*value;
    bool given = false;
  };
  std::array<Flag, 4> flags{{{"packed", &DeviceConfig::packed},
                             {"queue-reset", &DeviceConfig::queue_reset},
                             {"notification-data", &DeviceConfig::notification_data},
                             {"in-order", &DeviceConfig::in_order}}};
  for (const PropertyList& properties : ports) {
    PropertyReader reader("--console", properties);
    ConsolePortConfig port;
    if (read_ends(reader, port) != 1) {
      reader.incomplete("one of stdio, pty, null, file=PATH and socket=PATH is needed");
    }
    DeviceConfig keys;
    read_common_keys(reader, properties, keys);
    port.place = std::move(keys.place);
    take(reader, "id", keys.id, id_given, console.id);
    take(reader, "notify", keys.notify, notify_given, console.notify);
    take(reader, "optimize", keys.optimize, optimize_given, console.optimize);
    take(reader, "iothread", keys.iothread, iothread_given, console.iothread);
    for (Flag& flag : flags) {
      take(reader, flag.key, keys.*flag.value, flag.given, console.*flag.value);
    }
    check_beside(reader, port, console.ports);
    if (auto status = reader.finish(); !status) return forward(status);
    console.ports.push_back(std::move(port));
  }
  if (console.ports.size() > ConsoleDevice::kMaxPorts) {
    return fail(named_at(console.ports[ConsoleDevice::kMaxPorts].place,
                         fmt::format("--console: at most {} ports", ConsoleDevice::kMaxPorts)));
  }
  return console;
}

Status ConsoleConfig::check_added() const {
  if (std::ranges::find(ports, End::kStdio, &ConsolePortConfig::end) == ports.end()) return {};
  return fail("--console stdio: a machine has it from its start or not at all", EINVAL);
}

void ConsoleConfig::add_needs(HostNeeds& needs) const {
  for (const ConsolePortConfig& port : ports) {
    if (port.end == End::kFile) needs.add(port.path, HostUse::kOutput);
    if (port.end == End::kSocket) needs.add(port.path, HostUse::kListens);
    if (port.end != End::kPty) continue;
    needs.add("/dev/ptmx", HostUse::kDevice);
    needs.add("/dev/pts", HostUse::kDevice);
  }
}

Status ConsoleConfig::check_files(FileRoles& roles) const {
  for (const ConsolePortConfig& port : ports) {
    if (port.end != End::kFile) continue;
    if (auto added = roles.add("--console", port.path, FileUse::kOutput); !added) {
      return fail(named_at(port.place, added.error().message));
    }
  }
  return {};
}

}  // namespace bellhop

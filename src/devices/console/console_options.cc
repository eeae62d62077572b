#include <fmt/format.h>

#include <algorithm>

#include "devices/console/console_config.h"
#include "devices/console/console_control.h"
#include "devices/console/console_device.h"

namespace bellhop {

namespace {

using End = ConsolePortConfig::End;

/// What is the device's, not the port's: all options together are one device.
struct DeviceKeys {
  std::string id;
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;
};

/// Takes `key` from an option that has it. False if another option has it otherwise.
template <class T>
bool agree(const PropertyReader& reader, std::string_view key, const T& value, bool& given,
           T& all) {
  if (!reader.has(key)) return true;
  const bool same = !given || all == value;
  given = true;
  all = value;
  return same;
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
  id=, notify=, iothread=  as for --disk; the same for all, since all are ports of one device)",
    .same_by = "name",
};

Result<ConsoleConfig> ConsoleConfig::parse(std::span<const PropertyList> ports) {
  ConsoleConfig console;
  bool id_given = false;
  bool notify_given = false;
  bool iothread_given = false;
  for (const PropertyList& properties : ports) {
    PropertyReader reader("--console", properties);
    ConsolePortConfig port;
    const int ends = read_ends(reader, port);
    DeviceKeys keys;
    read_common_keys(reader, properties, keys);
    if (auto status = reader.finish(); !status) return forward(status);
    if (ends != 1) {
      return fail("--console: one of stdio, pty, null, file=PATH and socket=PATH is needed");
    }
    if (!agree(reader, "id", keys.id, id_given, console.id) ||
        !agree(reader, "notify", keys.notify, notify_given, console.notify) ||
        !agree(reader, "iothread", keys.iothread, iothread_given, console.iothread)) {
      return fail("--console: all ports are one device; id, notify and iothread must agree");
    }
    for (const ConsolePortConfig& other : console.ports) {
      if (!port.name.empty() && other.name == port.name) {
        return fail(fmt::format("--console: name={} is given to two ports", port.name));
      }
      if (port.end == End::kStdio && other.end == End::kStdio) {
        return fail("--console: stdio can be had by one port only");
      }
      if (!port.path.empty() && other.path == port.path) {
        return fail(fmt::format("--console: {} is given to two ports", port.path));
      }
    }
    console.ports.push_back(std::move(port));
  }
  if (console.ports.size() > ConsoleDevice::kMaxPorts) {
    return fail(fmt::format("--console: at most {} ports", ConsoleDevice::kMaxPorts));
  }
  console.window = std::make_shared<ConsoleWindow>();
  return console;
}

}  // namespace bellhop

#include "control/api/api_create.h"

#include <string>
#include <utility>
#include <vector>

#include "control/api/api_devices.h"

namespace bellhop::control {

namespace {

void read_payload(Body& payload, MachineOptions& options) {
  if (const auto kernel = payload.text("kernel")) options.kernel = *kernel;
  if (const auto initrd = payload.text("initramfs")) options.initrd = *initrd;
  if (const auto cmdline = payload.text("cmdline")) options.cmdline = *cmdline;
  if (payload.has("firmware")) payload.refuse("firmware is not supported: a kernel is needed");
}

void read_cpus(Body& cpus, MachineOptions& options) {
  if (const auto boot = cpus.number("boot_vcpus")) options.cpus = std::to_string(*boot);
  // More that might come later cannot: who asks for them is told then.
  (void)cpus.number("max_vcpus");
}

void read_memory(Body& memory, MachineOptions& options) {
  if (const auto size = memory.number("size")) {
    options.memory.set({"size", std::to_string(*size)});
  }
  if (memory.flag("shared") == true) options.memory.set({"shared", "on"});
  if (memory.flag("hugepages") == true) options.memory.set({"hugepages", "on"});
}

/// Where the guest's serial port goes: nowhere, if nothing is said.
void read_serial(Body& serial, MachineOptions& options) {
  const std::string mode = serial.text("mode").value_or("Null");
  if (mode == "File") {
    options.serial = "file=" + serial.needed("file", serial.text("file"));
  } else if (mode == "Tty") {
    options.serial = "tty";
  } else if (mode == "Pty") {
    options.serial = "pty";
  } else if (mode != "Off" && mode != "Null") {
    serial.refuse("mode must be Off, Null, Tty, Pty or File");
  }
}

/// A console device: none, if nothing is said.
void read_console(Body& console, MachineOptions& options) {
  const std::string mode = console.text("mode").value_or("Off");
  PropertyList port;
  if (mode == "File") {
    port.set({"file", console.needed("file", console.text("file"))});
  } else if (mode == "Socket") {
    port.set({"socket", console.needed("socket", console.text("socket"))});
  } else if (mode == "Pty") {
    port.set({"pty", std::nullopt});
  } else if (mode == "Off" || mode == "Null") {
    return;
  } else {
    console.refuse("mode must be Off, Null, Pty, File or Socket");
  }
  options.consoles.push_back(std::move(port));
}

void read_rng(Body& rng, MachineOptions& options) {
  PropertyList keys;
  if (const auto source = rng.text("src")) keys.set({"src", *source});
  options.rngs.push_back(std::move(keys));
}

void read_balloon(Body& balloon, MachineOptions& options) {
  PropertyList keys;
  keys.set({"size", std::to_string(balloon.number("size").value_or(0))});
  if (balloon.flag("deflate_on_oom") == true) keys.set({"deflate-on-oom", "on"});
  if (balloon.flag("free_page_reporting") == true) keys.set({"free-page-reporting", "on"});
  options.balloons.push_back(std::move(keys));
}

}  // namespace

Command read_create(Body& body) {
  CreateMachine command;
  MachineOptions& options = command.options;
  options.on_reset = "restart";
  options.serial = "null";
  const auto part = [&](const char* name, void (*read)(Body&, MachineOptions&)) {
    body.object(name, [&](Body& inner) { read(inner, options); });
  };
  // A device that could be added later, too.
  const auto devices = [](Command (*read)(Body&), std::vector<PropertyList>& list) {
    return
        [read, &list](Body& inner) { list.push_back(std::get<AddDevice>(read(inner)).properties); };
  };
  part("payload", read_payload);
  // As before there were payloads.
  body.object("kernel", [&](Body& inner) { options.kernel = inner.text("path").value_or(""); });
  body.object("initramfs", [&](Body& inner) { options.initrd = inner.text("path").value_or(""); });
  body.object("cmdline", [&](Body& inner) { options.cmdline = inner.text("args").value_or(""); });
  if (!options.kernel) body.refuse("payload.kernel is missing");
  part("cpus", read_cpus);
  part("memory", read_memory);
  body.objects("rate_limit_groups", devices(read_rate_group, options.rate_groups));
  body.objects("disks", devices(read_add_disk, options.disks));
  body.objects("net", devices(read_add_net, options.nics));
  body.objects("fs", devices(read_add_fs, options.shares));
  body.object("vsock", devices(read_add_vsock, options.vsocks));
  part("rng", read_rng);
  part("balloon", read_balloon);
  part("serial", read_serial);
  part("console", read_console);
  const bool landlock = body.flag("landlock_enable") == true;
  if (landlock) options.landlock = "on";
  body.objects("landlock_rules", [&options, landlock](Body& inner) {
    if (!landlock) return;  // kept for another time
    PropertyList rule;
    rule.set({"path", inner.needed("path", inner.text("path"))});
    rule.set({"access", inner.needed("access", inner.text("access"))});
    options.landlock_rules.push_back(std::move(rule));
  });
  for (const char* const what : {"pmem", "devices", "user_devices", "vdpa"}) {
    body.objects(what, [&](Body&) { body.refuse(fmt::format("{} are not supported", what)); });
  }
  return command;
}

}  // namespace bellhop::control

// vm.info and vm.counters, in the shape that clients of Cloud Hypervisor's API know; vm.metrics.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "control/api/api_v1.h"
#include "control/machine_control.h"

namespace bellhop::control {

namespace {

using Ordered = nlohmann::ordered_json;

/// A second's worth each second; how much may go at once after a rest is our own field.
void add_rates(Ordered& json, const Rates& rates, const std::string& group = {}) {
  if (!group.empty()) json["rate_limit_group"] = group;
  if (!rates.limited()) return;
  constexpr unsigned kSecond_ms = 1000;
  Ordered& limits = json["rate_limiter_config"];
  if (rates.bytes != 0) {
    limits["bandwidth"] = {{"size", rates.bytes}, {"refill_time", kSecond_ms}};
  }
  if (rates.units != 0) limits["ops"] = {{"size", rates.units}, {"refill_time", kSecond_ms}};
  limits["burst_ns"] = rates.burst.count();
}

Ordered disk_json(const DiskConfig& disk) {
  Ordered json;
  json["id"] = disk.id;
  if (const auto* file = std::get_if<RawFileSource>(&disk.source)) {
    json["path"] = file->path;
    json["readonly"] = file->read_only;
    json["direct"] = file->cache == Cache::kNone;
  } else {
    json["path"] = nullptr;
  }
  if (const VhostUserDisk* const back_end = disk.back_end()) {
    json["vhost_user"] = true;
    json["vhost_socket"] = back_end->socket;
  }
  json["num_queues"] = disk.queues;
  json["queue_size"] = disk.queue_size;
  add_rates(json, disk.rates, disk.rate_group);
  return json;
}

Ordered nic_json(const NicConfig& nic) {
  Ordered json;
  json["id"] = nic.id;
  const auto pairs =
      std::visit([](const auto& source) { return unsigned{source.pairs}; }, nic.source);
  if (const auto* tap = std::get_if<TapSource>(&nic.source); tap != nullptr && !tap->name.empty()) {
    json["tap"] = tap->name;
  } else {
    json["tap"] = nullptr;
  }
  if (const VhostUserNic* const back_end = nic.back_end()) {
    json["vhost_user"] = true;
    json["vhost_socket"] = back_end->socket;
  }
  if (nic.mac != 0) {
    std::string mac;
    for (unsigned byte = 0; byte < 6; ++byte) {
      mac += fmt::format("{}{:02x}", byte == 0 ? "" : ":", nic.mac >> 8 * byte & 0xff);
    }
    json["mac"] = mac;
  }
  json["num_queues"] = 2 * pairs;
  json["queue_size"] = nic.queue_size;
  add_rates(json, nic.rates, nic.rate_group);
  return json;
}

Ordered fs_json(const FsConfig& fs) {
  return {{"id", fs.id},
          {"tag", fs.tag},
          {"socket", fs.socket},
          {"num_queues", fs.num_queues},
          {"queue_size", fs.queue_size}};
}

Ordered balloon_json(const BalloonSettings& balloon) {
  return {{"id", balloon.id},
          {"size", balloon.size},
          {"deflate_on_oom", balloon.deflate_on_oom},
          {"free_page_reporting", balloon.free_page_reporting}};
}

/// As clients look for the terminal of a guest: `file` is a pseudo terminal's path, too.
Ordered console_json(const ConsolePortConfig& port, const std::string& end) {
  using End = ConsolePortConfig::End;
  switch (port.end) {
    case End::kNull:
      return {{"mode", "Null"}};
    case End::kStdio:
      return {{"mode", "Tty"}};
    case End::kFile:
      return {{"mode", "File"}, {"file", port.path}};
    case End::kSocket:
      return {{"mode", "Socket"}, {"socket", port.path}};
    case End::kPty:
      return {{"mode", "Pty"}, {"file", end}};
  }
  return {};
}

Ordered serial_json(const SerialPort& serial) {
  using Mode = SerialPort::Mode;
  switch (serial.mode) {
    case Mode::kNull:
      return {{"mode", "Null"}};
    case Mode::kTty:
      return {{"mode", "Tty"}};
    case Mode::kFile:
      return {{"mode", "File"}, {"file", serial.file}};
    case Mode::kPty:
      return {{"mode", "Pty"}, {"file", serial.file}};
  }
  return {};
}

Ordered config_json(const MachineConfig& config) {
  Ordered json;
  json["payload"] = {{"kernel", config.kernel}, {"cmdline", config.cmdline}};
  if (!config.initrd.empty()) json["payload"]["initramfs"] = config.initrd;
  json["cpus"] = {{"boot_vcpus", config.cpus}, {"max_vcpus", config.cpus}};
  if (config.halt_poll) json["cpus"]["halt_poll_ns"] = config.halt_poll->count();
  json["memory"] = {{"size", config.memory},
                    {"shared", config.backing != MemoryBacking::kPrivate},
                    {"hugepages", config.backing == MemoryBacking::kHugePages}};
  for (const RateGroupConfig& group : config.rate_groups) {
    Ordered one = {{"id", group.id}};
    add_rates(one, group.rates);
    json["rate_limit_groups"].push_back(std::move(one));
  }
  for (const DiskConfig& disk : config.disks) json["disks"].push_back(disk_json(disk));
  for (const NicConfig& nic : config.nics) json["net"].push_back(nic_json(nic));
  for (const FsConfig& fs : config.shares) json["fs"].push_back(fs_json(fs));
  if (!config.rngs.empty()) json["rng"] = {{"src", config.rngs.front().source}};
  if (!config.balloons.empty()) json["balloon"] = balloon_json(config.balloons.front());
  if (!config.vsocks.empty()) {
    const VsockConfig& vsock = config.vsocks.front();
    json["vsock"] = {{"id", vsock.id}, {"cid", vsock.cid}, {"socket", vsock.uds}};
  }
  return json;
}

Ordered counters_of_all(const MachineCounters& counters) {
  Ordered json;
  auto& all = json["_machine"];
  for (const auto& [name, member] : kMachineCounts) all[name] = counters.*member;
  for (const DeviceStats& device : counters.devices) {
    auto& own = json[device.id];
    for (const DeviceStat& stat : device.stats) own[stat.name] = stat.value;
  }
  return json;
}

/// How each queue of a device is to be notified, and how it is now.
Ordered notify_json(const std::vector<QueueStats>& queues) {
  Ordered json = Ordered::object();
  for (const QueueStats& queue : queues) {
    Ordered one = {{"mode", bellhop::to_string(queue.wish.mode)}};
    if (queue.wish.mode == NotifyMode::kAdaptive) {
      one["optimize"] = bellhop::to_string(queue.wish.optimize);
    }
    if (queue.running) one["now"] = bellhop::to_string(queue.notify);
    json[queue.device].push_back(std::move(one));
  }
  return json;
}

std::string text_of(const Ordered& json) {
  return json.dump(-1, ' ', false, Ordered::error_handler_t::replace);
}

}  // namespace

std::string info_json(const MachineInfo& info) {
  Ordered json;
  json["config"] = config_json(*info.config);
  json["config"]["serial"] = serial_json(info.serial);
  if (!info.config->consoles.empty()) {
    json["config"]["console"] =
        console_json(info.config->consoles.front().ports.front(), info.console);
  }
  json["state"] = to_string(info.state);
  json["memory_actual_size"] = info.memory_bytes;
  json["notify"] = notify_json(info.queues);
  for (const ThreadPlacement& thread : info.threads) {
    json["threads"].push_back({{"name", thread.name},
                               {"cpus", format_cpu_list(thread.cpus)},
                               {"cpus_given", thread.given}});
  }
  return text_of(json);
}

std::string counters_json(const MachineCounters& counters) {
  return text_of(counters_of_all(counters));
}

std::string metrics_json(const MachineMetrics& metrics) {
  Ordered json;
  json["state"] = to_string(metrics.state);
  json["time_ns"] = metrics.when.count();
  json["memory_actual_size"] = metrics.memory_bytes;
  json["counters"] = counters_of_all(metrics.counters);
  json["queues"] = Ordered::array();
  for (const QueueStats& queue : metrics.counters.queues) {
    Ordered one = {{"device", queue.device},
                   {"queue", queue.queue},
                   {"running", queue.running},
                   {"server", to_string(queue.server)},
                   {"notify", bellhop::to_string(queue.notify)}};
    if (queue.wish.mode == NotifyMode::kAdaptive) {
      one["optimize"] = bellhop::to_string(queue.wish.optimize);
    }
    for (const QueueCount& count : kQueueCounts) one[count.name] = queue.*count.value;
    json["queues"].push_back(std::move(one));
  }
  json["threads"] = Ordered::array();
  for (const ThreadStats& thread : metrics.threads) {
    json["threads"].push_back({{"name", thread.name},
                               {"tid", thread.tid},
                               {"vcpu", thread.is_vcpu},
                               {"cpu_ns", thread.cpu.count()}});
  }
  return text_of(json);
}

}  // namespace bellhop::control

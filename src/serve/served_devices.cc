#include "serve/served_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <string_view>
#include <utility>

#include "base/unix_socket.h"

namespace bellhop {

namespace {

constexpr std::string_view kFd = "fd:";

/// Kicks come as eventfds: there is no vCPU of ours that could serve its own.
Status check_notify(std::string_view option, const DeviceConfig& config) {
  if (config.notify != NotifyMode::kSync) return {};
  return fail(named_at(config.place,
                       fmt::format("--{}: notify must be ioeventfd, poll or adaptive where the "
                                   "driver's kicks come from another process",
                                   option)));
}

/// The front end hears the driver's notifications, and hands an eventfd on.
Status check_notification_data(std::string_view option, const DeviceConfig& config) {
  if (!config.notification_data) return {};
  return fail(
      named_at(config.place, fmt::format("--{}: notification-data=on: off: the front end hears the "
                                         "driver's notifications, and it offers that or not",
                                         option)));
}

/// Rings cannot be handed on.
template <class Config>
Status check_served_here(const Config& config) {
  if constexpr (requires { config.shares_memory(); }) {
    if (config.shares_memory()) {
      return fail(named_at(config.place, fmt::format("--{}: another process serves its queues; "
                                                     "they cannot be served from here",
                                                     Config::kOption.name)));
    }
  }
  return {};
}

Result<UnixListener> listen_at(std::string_view at, mode_t mode) {
  if (!at.starts_with(kFd)) return UnixListener::listen(std::string(at), mode);
  return UnixListener::adopt(at.substr(kFd.size()));
}

}  // namespace

std::vector<std::size_t> count_devices(const MachineConfig& config) {
  std::vector<std::size_t> counts;
#define BELLHOP_DEVICE(Config, list) counts.push_back(config.list.size());
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return counts;
}

Result<std::unique_ptr<ServedDevices>> ServedDevices::create(const MachineConfig& config,
                                                             std::span<const ServedSocket> sockets,
                                                             mode_t mode, const DeviceHost& host) {
#define BELLHOP_DEVICE(Config, list)                                                   \
  for (const Config& one : config.list) {                                              \
    if (auto checked = check_notify(Config::kOption.name, one); !checked) {            \
      return forward(checked);                                                         \
    }                                                                                  \
    if (auto checked = check_notification_data(Config::kOption.name, one); !checked) { \
      return forward(checked);                                                         \
    }                                                                                  \
    if (auto checked = check_served_here(one); !checked) {                             \
      return forward(checked);                                                         \
    }                                                                                  \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  std::unique_ptr<ServedDevices> served(new ServedDevices());
  auto threads = start_iothreads(config.iothreads);
  if (!threads) return forward(threads);
  served->threads_ = std::move(*threads);
  DeviceHost around = host;
  around.has_vcpus = false;
  auto devices = prepare_devices(config, served->threads_, around);
  if (!devices) return forward(devices);
  const bool adaptive = std::ranges::any_of(*devices, [](const PreparedDevice& device) {
    return device.wiring.notify == NotifyMode::kAdaptive;
  });
  if (adaptive) {
    auto tuner = NotifyTuner::create();
    if (!tuner) {
      return fail(fmt::format("notify=adaptive: {}", tuner.error().message), tuner.error().code);
    }
    served->tuner_ = std::move(*tuner);
  }
  assert(devices->size() == sockets.size());
  // All that can be refused comes before the first front end.
  std::vector<VhostUserServer::Setup> setups;
  setups.reserve(devices->size());
  for (std::size_t i = 0; i < devices->size(); ++i) {
    PreparedDevice& prepared = (*devices)[i];
    auto device = VhostUserDevice::create(std::move(prepared.device), std::move(prepared.wiring),
                                          {.in_band = sockets[i].in_band});
    if (!device) return forward(device);
    const auto before = sockets.first(i);
    if (std::ranges::find(before, sockets[i].at, &ServedSocket::at) != before.end()) {
      return fail(
          fmt::format("{}: {}: another device has it already", sockets[i].option, sockets[i].at));
    }
    auto listener = listen_at(sockets[i].at, mode);
    if (!listener) {
      return fail(
          fmt::format("{}: {}: {}", sockets[i].option, sockets[i].at, listener.error().message),
          listener.error().code);
    }
    setups.push_back({.listener = std::move(*listener), .device = std::move(*device)});
  }
  for (VhostUserServer::Setup& setup : setups) {
    DeviceLife& life = setup.device->tuned_life();
    auto server = VhostUserServer::start(std::move(setup));
    if (!server) return forward(server);
    served->servers_.push_back(std::move(*server));
    if (life.adaptive()) served->tuner_->add(life);
  }
  return served;
}

ServedDevices::~ServedDevices() {
  tuner_.reset();
  stop();
}

void ServedDevices::stop() {
  // All at once, so that none waits for another one's requests.
  for (const auto& server : servers_) server->ask_to_stop();
  for (const auto& server : servers_) server->stop();
}

Status ServedDevices::look_again() {
  Status all;
  for (const auto& server : servers_) {
    if (auto looked = server->look_again(); !looked && all) {
      all = fail(fmt::format("{}: {}", server->device().life().traits().id, looked.error().message),
                 looked.error().code);
    }
  }
  return all;
}

MachineCounters ServedDevices::counters() const {
  std::vector<const DeviceLife*> lives;
  lives.reserve(servers_.size());
  for (const auto& server : servers_) lives.push_back(&server->device().life());
  MachineCounters sum = counters_of(lives);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    std::vector<DeviceStat>& stats = sum.devices[i].stats;
    stats.push_back({"connections", servers_[i]->connections()});
    stats.push_back({"messages_refused", servers_[i]->device().refused()});
  }
  for (const auto& thread : threads_) sum.system_calls += thread->loop().system_calls();
  return sum;
}

std::vector<int> ServedDevices::iothread_tids() const {
  std::vector<int> tids;
  tids.reserve(threads_.size());
  for (const auto& thread : threads_) tids.push_back(thread->tid());
  return tids;
}

}  // namespace bellhop

#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_roles.h"
#include "base/property_list.h"
#include "base/result.h"
#include "base/split.h"
#include "event/io_thread.h"

namespace bellhop {

// What is checked of a device beside its own options, whether the machine starts with it or gets it
// later.

/// What is between a device, others of its kind and the machine. Its files are noted in `roles`.
template <class Config>
Status check_device(const Config& device, std::span<const Config> others, std::uint64_t memory,
                    FileRoles& roles) {
  Status checked;
  if (std::ranges::find(others, device.id, &Config::id) != others.end()) {
    checked = fail(fmt::format("--{}: id={} is given twice; ids must differ", Config::kOption.name,
                               device.id));
  }
  if constexpr (requires { device.check_memory(memory); }) {
    if (checked) checked = device.check_memory(memory);
  }
  if constexpr (requires { device.check_together(others); }) {
    if (checked) checked = device.check_together(others);
  }
  if constexpr (requires { device.check_files(roles); }) {
    if (checked) checked = device.check_files(roles);
  }
  if (!checked) return fail(named_at(device.place, checked.error().message), checked.error().code);
  return {};
}

template <class Config>
std::string given_to_two(const Config& device) {
  return named_at(device.place, fmt::format("--{}: id={} is given to two devices; ids must differ",
                                            Config::kOption.name, device.id));
}

/// A device that names no I/O thread gets one in turn, beginning with `next`. Errors: one that it
/// names is not there.
template <class Config>
Status give_iothreads(Config& device, std::span<const IoThreadConfig> threads, std::size_t& next) {
  if (device.iothread.empty()) device.iothread = threads[next++ % threads.size()].name;
  std::vector<std::string_view> names = {device.iothread};
  if constexpr (requires { Config::kQueuesTogether; }) names = split(device.iothread, ':');
  for (const std::string_view name : names) {
    if (std::ranges::find(threads, name, &IoThreadConfig::name) != threads.end()) continue;
    return fail(named_at(device.place,
                         fmt::format("--{}: iothread={} is not there; name it by --iothread {}",
                                     Config::kOption.name, name, name)));
  }
  return {};
}

}  // namespace bellhop

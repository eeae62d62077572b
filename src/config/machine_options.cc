#include "config/machine_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/input_file.h"
#include "base/units.h"
#include "config/device_checks.h"

namespace bellhop {

namespace {

constexpr std::chrono::milliseconds kLongestPoll{10};
constexpr std::chrono::seconds kLongestPollIdle{10};
constexpr std::chrono::hours kLongestWait{24};
constexpr unsigned kMaxCpus = 64;
constexpr unsigned kMaxIoEventFds = 65536;
constexpr std::uint64_t kMinMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 40;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
constexpr std::size_t kMaxThreadName = 15;  // what the kernel keeps

/// `key` tells which of `lists` a later one is meant for; empty: there is one at most, so it is.
void merge_lists(std::vector<PropertyList>& lists, const std::vector<PropertyList>& later,
                 std::string_view key) {
  const std::size_t before = lists.size();
  for (const PropertyList& list : later) {
    const auto is_meant = [&](const PropertyList& other) {
      if (key.empty()) return before == 1 && later.size() == 1;
      const Property* name = list.find(key);
      const Property* others = other.find(key);
      return name != nullptr && others != nullptr && name->value == others->value;
    };
    const auto end = lists.begin() + static_cast<std::ptrdiff_t>(before);
    const auto same = std::find_if(lists.begin(), end, is_meant);
    if (same == end) {
      lists.push_back(list);
    } else {
      same->merge(list);
    }
  }
}

/// The devices of one kind.
template <class Config>
Status parse_devices(std::span<const PropertyList> lists, std::vector<Config>& devices) {
  constexpr bool kOneOfAll = requires { Config::parse(lists); };
  const DeviceOption& option = Config::kOption;
  if constexpr (kOneOfAll) {
    if (lists.empty()) return {};
    auto device = Config::parse(lists);
    if (!device) return forward(device);
    devices.push_back(std::move(*device));
  } else {
    for (const PropertyList& list : lists) {
      auto device = Config::parse(list);
      if (!device) return forward(device);
      devices.push_back(std::move(*device));
    }
    if (option.same_by.empty() && devices.size() > 1) {
      return fail(
          named_at(devices[1].place, fmt::format("--{}: a machine has one at most", option.name)));
    }
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].id.empty()) devices[i].id = fmt::format("{}{}", option.name, i);
  }
  return {};
}

/// Devices that do not say what adaptive is to look at have it from the machine.
template <class Config>
void give_objective(std::vector<Config>& devices, Optimize optimize) {
  for (Config& one : devices) one.optimize = one.optimize.value_or(optimize);
}

/// What is between devices of one kind, and between them and the machine.
template <class Config>
Status check_devices(const std::vector<Config>& devices, const PropertyList& memory,
                     MachineConfig& config, FileRoles& roles) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (auto checked = check_device(devices[i], std::span(devices).first(i), config.memory, roles);
        !checked) {
      return checked;
    }
  }
  if constexpr (requires(const Config& device) { device.shares_memory(); }) {
    const auto sharer =
        std::ranges::find_if(devices, [](const Config& device) { return device.shares_memory(); });
    if (sharer != devices.end() && config.backing == MemoryBacking::kPrivate) {
      if (memory.find("shared") != nullptr) {
        return fail(
            named_at(sharer->place,
                     fmt::format("--{}: another process maps the guest's memory; leave shared=off "
                                 "out of --memory",
                                 Config::kOption.name)));
      }
      config.backing = MemoryBacking::kShared;
    }
  }
  return {};
}

/// Of all devices together: figures and messages name them by their ids.
Status check_ids(const MachineConfig& config) {
  std::vector<std::string_view> ids;
  for (const RateGroupConfig& one : config.rate_groups) {
    if (std::ranges::find(ids, one.id) != ids.end()) {
      return fail(named_at(one.place, fmt::format("{}: id={} is given twice; ids must differ",
                                                  RateGroupConfig::kOption, one.id)));
    }
    ids.push_back(one.id);
  }
#define BELLHOP_DEVICE(Config, list)                                                         \
  for (const Config& one : config.list) {                                                    \
    if (std::ranges::find(ids, one.id) != ids.end()) return fail(given_to_two<Config>(one)); \
    ids.push_back(one.id);                                                                   \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return {};
}

/// How many queues others serve, which cannot be notified synchronously there.
template <class Config>
unsigned offloaded_queues(const std::vector<Config>& devices) {
  unsigned sum = 0;
  if constexpr (requires(const Config& device) { device.offloaded_queues(); }) {
    for (const Config& device : devices) sum += device.offloaded_queues();
  }
  return sum;
}

Status check_iothreads(MachineConfig& config) {
  for (std::size_t i = 0; i < config.iothreads.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (config.iothreads[i].name == config.iothreads[j].name) {
        return fail(named_at(config.iothreads[i].place,
                             fmt::format("--iothread: {} is given twice; names must differ",
                                         config.iothreads[i].name)));
      }
    }
  }
  if (config.iothreads.empty()) config.iothreads.emplace_back();
  return {};
}

template <class Config>
void add_needs([[maybe_unused]] const std::vector<Config>& devices,
               [[maybe_unused]] HostNeeds& needs) {
  if constexpr (requires(const Config& device) { device.add_needs(needs); }) {
    for (const Config& device : devices) device.add_needs(needs);
  }
}

/// Devices that name no I/O thread get all of them in turn, beginning with `next`.
template <class Config>
Status give_iothreads(std::vector<Config>& devices, std::span<const IoThreadConfig> threads,
                      std::size_t& next) {
  for (Config& device : devices) {
    if (auto given = give_iothreads(device, threads, next); !given) return given;
  }
  return {};
}

Status parse_affinity(const OptionText& text, MachineConfig& config) {
  const std::string option = named_at(text.place, "--vcpu-affinity");
  const auto list = PropertyList::parse(text.text);
  if (!list) return fail(fmt::format("{}: {}", option, list.error().message));
  config.vcpu_affinity.resize(config.cpus);
  for (const Property& item : list->items()) {
    const auto vcpu = parse_count(option, item.key, 0, config.cpus - 1);
    if (!vcpu) return forward(vcpu);
    if (!item.value || item.value->empty()) {
      return fail(fmt::format("{}: vCPU {} needs CPUs: {}=0", option, item.key, item.key));
    }
    auto cpus = parse_cpu_list(*item.value);
    if (!cpus) return fail(fmt::format("{}: {}", option, cpus.error().message));
    config.vcpu_affinity[*vcpu] = std::move(*cpus);
  }
  return {};
}

Status parse_memory(const PropertyList& properties, MachineConfig& config) {
  PropertyReader reader("--memory", properties);
  reader.size("size", config.memory, kMinMemory, kMaxMemory);
  bool huge = false;
  reader.flag("hugepages", huge);
  bool shared = huge;
  reader.flag("shared", shared);
  if (huge && !shared) reader.wrong("shared", "off", "on with hugepages");
  if (shared) config.backing = huge ? MemoryBacking::kHugePages : MemoryBacking::kShared;
  if (config.memory % (huge ? kHugePage : kPage) != 0) {
    reader.wrong("size", properties.find("size")->value.value_or(""),
                 huge ? "a multiple of 2M with hugepages" : "a multiple of 4K");
  }
  return reader.finish();
}

/// One of a few words, if it was given.
template <class T>
Status parse_word(std::string_view option, const std::optional<OptionText>& text, T& out,
                  std::initializer_list<std::pair<std::string_view, T>> words) {
  if (!text) return {};
  std::string all;
  for (const auto& [word, meaning] : words) {
    if (text->text == word) {
      out = meaning;
      return {};
    }
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  return fail(fmt::format("{}: '{}' is unknown; it must be one of {}",
                          named_at(text->place, option), text->text, all));
}

Status parse_number(std::string_view option, const std::optional<OptionText>& text, unsigned& out,
                    unsigned least, unsigned most) {
  if (!text) return {};
  const auto number = parse_count(named_at(text->place, option), text->text, least, most);
  if (!number) return forward(number);
  out = *number;
  return {};
}

Status parse_seccomp(const MachineOptions& options, MachineConfig& config) {
  return parse_word("--seccomp", options.seccomp, config.seccomp,
                    {{"kill", SeccompMode::kKill},
                     {"errno", SeccompMode::kErrno},
                     {"log", SeccompMode::kLog},
                     {"off", SeccompMode::kOff}});
}

Result<HostPath> parse_landlock_rule(const PropertyList& properties) {
  HostPath rule;
  PropertyReader reader("--landlock-rules", properties);
  reader.text("path", rule.path);
  reader.choice<HostUse>("access", rule.use,
                         {{"r", HostUse::kReadBelow},
                          {"rw", HostUse::kWriteBelow},
                          {"wr", HostUse::kWriteBelow},
                          {"w", HostUse::kFillBelow}});
  if (rule.path.empty()) reader.incomplete("path=PATH is missing: a file or a folder");
  if (!reader.has("access")) reader.incomplete("access is missing: r, w or rw");
  if (auto status = reader.finish(); !status) return forward(status);
  if (::access(rule.path.c_str(), F_OK) == 0) return rule;
  return fail_errno(named_at(properties.place(), "--landlock-rules: path=" + rule.path));
}

/// All of the sandbox.
Status parse_sandbox(const MachineOptions& options, MachineConfig& config) {
  if (auto parsed = parse_seccomp(options, config); !parsed) return parsed;
  if (auto parsed = parse_word("--landlock", options.landlock, config.landlock,
                               {{"on", LandlockMode::kOn},
                                {"off", LandlockMode::kOff},
                                {"auto", LandlockMode::kAuto},
                                // As a file's true and false, and Cloud Hypervisor's flag.
                                {"true", LandlockMode::kOn},
                                {"false", LandlockMode::kOff}});
      !parsed) {
    return parsed;
  }
  for (const PropertyList& properties : options.landlock_rules) {
    auto rule = parse_landlock_rule(properties);
    if (!rule) return forward(rule);
    config.landlock_rules.push_back(std::move(*rule));
  }
  if (options.landlock_rules.empty() || options.landlock) return {};
  return fail(named_at(options.landlock_rules.front().place(),
                       "--landlock-rules: goes with --landlock on, or auto"));
}

/// A time that people wait for. It has a unit: the microseconds of a bare number are not meant.
Status parse_wait(std::string_view option, const std::optional<OptionText>& text,
                  std::chrono::nanoseconds& out) {
  if (!text) return {};
  const bool bare = text->text.find_first_not_of("0123456789") == std::string::npos;
  const auto time = parse_duration(text->text);
  if (time && bare && *time != std::chrono::nanoseconds(0)) {
    return fail(fmt::format("{}: {} has no unit: {}s?", named_at(text->place, option), text->text,
                            text->text));
  }
  if (!time || *time > kLongestWait) {
    return fail(fmt::format("{}: '{}' is wrong; it must be a time up to {}s, such as 90s, or 0",
                            named_at(text->place, option), text->text,
                            std::chrono::seconds(kLongestWait).count()));
  }
  out = *time;
  return {};
}

/// auto, off or a time.
Status parse_halt_poll(const std::optional<OptionText>& text,
                       std::optional<std::chrono::nanoseconds>& out) {
  constexpr std::chrono::milliseconds kLongestHaltPoll{10};
  if (!text || text->text == "auto") return {};
  const Result<std::chrono::nanoseconds> time =
      text->text == "off" ? std::chrono::nanoseconds(0) : parse_duration(text->text);
  if (!time || *time > kLongestHaltPoll) {
    return fail(
        fmt::format("{}: '{}' is wrong; it must be auto, off or a time up to 10ms, such as "
                    "200us",
                    named_at(text->place, "--halt-poll"), text->text));
  }
  out = *time;
  return {};
}

/// A file that is only read, and that is there.
Status check_read(std::string_view option, const std::string& path, FileRoles& roles) {
  if (auto checked = check_input_file(option, path); !checked) return checked;
  return roles.add(option, path, FileUse::kRead);
}

/// I/O threads and devices; returns how many queues others serve.
Result<unsigned> read_devices(const MachineOptions& options, MachineConfig& config,
                              FileRoles& roles) {
  for (const PropertyList& properties : options.iothreads) {
    auto thread = parse_iothread(properties);
    if (!thread) return forward(thread);
    config.iothreads.push_back(std::move(*thread));
  }
  if (auto checked = check_iothreads(config); !checked) return forward(checked);
  for (const PropertyList& properties : options.rate_groups) {
    auto group = RateGroupConfig::parse(properties);
    if (!group) return forward(group);
    config.rate_groups.push_back(std::move(*group));
  }

  unsigned offloaded = 0;
  std::size_t next_thread = 0;
#define BELLHOP_DEVICE(Config, list)                                                        \
  if (auto parsed = parse_devices(options.list, config.list); !parsed) {                    \
    return forward(parsed);                                                                 \
  }                                                                                         \
  give_objective(config.list, config.optimize);                                             \
  if (auto checked = check_devices(config.list, options.memory, config, roles); !checked) { \
    return forward(checked);                                                                \
  }                                                                                         \
  if (auto given = give_iothreads(config.list, config.iothreads, next_thread); !given) {    \
    return forward(given);                                                                  \
  }                                                                                         \
  for (const Config& one : config.list) {                                                   \
    if (auto checked = check_rate_group(one, config.rate_groups); !checked) {               \
      return forward(checked);                                                              \
    }                                                                                       \
  }                                                                                         \
  offloaded += offloaded_queues(config.list);
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  if (auto checked = check_ids(config); !checked) return forward(checked);
  return offloaded;
}

}  // namespace

void MachineOptions::merge(const MachineOptions& later) {
  for (const ScalarOption& one : scalar_options()) {
    if (later.*one.value) this->*one.value = later.*one.value;
  }
  memory.merge(later.memory);
  merge_lists(iothreads, later.iothreads, "name");
  landlock_rules.insert(landlock_rules.end(), later.landlock_rules.begin(),
                        later.landlock_rules.end());
  merge_lists(rate_groups, later.rate_groups, "id");
  for (const DeviceKind& kind : device_kinds()) {
    merge_lists(this->*kind.list, later.*kind.list, kind.option.same_by);
  }
}

std::span<const ScalarOption> scalar_options() {
  static constexpr ScalarOption kOptions[] = {
      {"--kernel", &MachineOptions::kernel},
      {"--initrd", &MachineOptions::initrd},
      {"--cmdline", &MachineOptions::cmdline},
      {"--cpus", &MachineOptions::cpus},
      {"--halt-poll", &MachineOptions::halt_poll},
      {"--vcpu-affinity", &MachineOptions::vcpu_affinity},
      {"--transport", &MachineOptions::transport},
      {"--optimize", &MachineOptions::optimize},
      {"--max-ioeventfds", &MachineOptions::max_ioeventfds},
      {"--reserve-ioeventfds", &MachineOptions::reserve_ioeventfds},
      {"--stats", &MachineOptions::stats},
      {"--explain", &MachineOptions::explain},
      {"--serial", &MachineOptions::serial},
      {"--on-reset", &MachineOptions::on_reset},
      {"--stop-timeout", &MachineOptions::stop_timeout},
      {"--api-socket", &MachineOptions::api_socket},
      {"--event-monitor", &MachineOptions::event_monitor},
      {"--seccomp", &MachineOptions::seccomp},
      {"--landlock", &MachineOptions::landlock},
      {"--log-format", &MachineOptions::log_format},
  };
  return kOptions;
}

std::span<const DeviceKind> device_kinds() {
#define BELLHOP_DEVICE(Config, list) {Config::kOption, &MachineOptions::list},
  static const DeviceKind kinds[] = {
#include "devices/devices.def"
  };
#undef BELLHOP_DEVICE
  return kinds;
}

Result<IoThreadConfig> parse_iothread(const PropertyList& properties) {
  IoThreadConfig thread;
  thread.name.clear();
  thread.place = properties.place();
  PropertyReader reader("--iothread", properties);
  reader.text("name", thread.name);
  reader.cpus("cpus", thread.cpus);
  reader.choice<bool>("loop", thread.prefer_epoll, {{"io_uring", false}, {"epoll", true}});
  thread.need_uring = reader.has("loop") && !thread.prefer_epoll;
  reader.duration("poll-max", thread.poll_max, kLongestPoll);
  reader.duration("poll-idle", thread.poll_idle, kLongestPollIdle);
  if (thread.name.empty() || thread.name.size() > kMaxThreadName || thread.name == "auto") {
    reader.refuse("name",
                  fmt::format("'{}' is no name; it must have 1 to 15 characters and not be 'auto'",
                              thread.name));
  }
  if (auto status = reader.finish(); !status) return forward(status);
  return thread;
}

HostNeeds host_needs(const MachineConfig& config) {
  HostNeeds needs;
  if (!config.kernel.empty()) needs.add(config.kernel, HostUse::kRead);
  if (!config.initrd.empty()) needs.add(config.initrd, HostUse::kRead);
  if (config.backing == MemoryBacking::kHugePages) {
    needs.add("/sys/kernel/mm/hugepages", HostUse::kRead);
  }
#define BELLHOP_DEVICE(Config, list) add_needs(config.list, needs);
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  needs.paths.insert(needs.paths.end(), config.landlock_rules.begin(), config.landlock_rules.end());
  return needs;
}

Result<MachineConfig> make_machine_config(const MachineOptions& options, FileRoles roles) {
  MachineConfig config;
  if (!options.kernel || options.kernel->text.empty()) {
    return fail("--kernel is missing: name a PVH kernel, --kernel FILE");
  }
  for (const ScalarOption& one : scalar_options()) {
    if (const auto& given = options.*one.value; given) config.places.set(one.name, given->place);
  }
  const Property* const size = options.memory.find("size");
  config.places.set("--memory", size == nullptr ? options.memory.place() : size->place);
  config.kernel = options.kernel->text;
  if (auto checked = check_read(config.places.named("--kernel"), config.kernel, roles); !checked) {
    return forward(checked);
  }
  if (options.initrd) {
    config.initrd = options.initrd->text;
    if (auto checked = check_read(config.places.named("--initrd"), config.initrd, roles);
        !checked) {
      return forward(checked);
    }
  }
  if (options.cmdline) config.cmdline = options.cmdline->text;
  if (auto parsed = parse_number("--cpus", options.cpus, config.cpus, 1, kMaxCpus); !parsed) {
    return forward(parsed);
  }
  if (auto parsed = parse_halt_poll(options.halt_poll, config.halt_poll); !parsed) {
    return forward(parsed);
  }
  if (options.vcpu_affinity) {
    if (auto parsed = parse_affinity(*options.vcpu_affinity, config); !parsed) {
      return forward(parsed);
    }
  }
  if (auto parsed = parse_memory(options.memory, config); !parsed) return forward(parsed);
  if (auto parsed = parse_word("--transport", options.transport, config.transport,
                               {{"pci", TransportKind::kPci},
                                {"pci-transitional", TransportKind::kPciTransitional},
                                {"mmio", TransportKind::kMmio}});
      !parsed) {
    return forward(parsed);
  }
  if (auto parsed = parse_word("--optimize", options.optimize, config.optimize, kObjectiveWords);
      !parsed) {
    return forward(parsed);
  }
  if (auto parsed = parse_word("--on-reset", options.on_reset, config.on_reset,
                               {{"exit", OnReset::kExit}, {"restart", OnReset::kRestart}});
      !parsed) {
    return forward(parsed);
  }
  if (auto parsed = parse_sandbox(options, config); !parsed) return forward(parsed);
  if (auto parsed = parse_wait("--stop-timeout", options.stop_timeout, config.stop_timeout);
      !parsed) {
    return forward(parsed);
  }
  if (auto parsed = parse_number("--max-ioeventfds", options.max_ioeventfds, config.max_ioeventfds,
                                 1, kMaxIoEventFds);
      !parsed) {
    return forward(parsed);
  }
  const auto offloaded_at = read_devices(options, config, roles);
  if (!offloaded_at) return forward(offloaded_at);
  const unsigned offloaded = *offloaded_at;

  // Where those queues cannot all have one anyway, others need not go without.
  const bool enough = config.max_ioeventfds == 0 || offloaded <= config.max_ioeventfds;
  config.reserved_ioeventfds = enough ? offloaded : 0;
  if (auto parsed = parse_number("--reserve-ioeventfds", options.reserve_ioeventfds,
                                 config.reserved_ioeventfds, 0, kMaxIoEventFds);
      !parsed) {
    return forward(parsed);
  }
  config.files = std::move(roles);
  return config;
}

Result<MachineConfig> make_empty_config(const MachineOptions& options) {
  constexpr std::string_view kOfTheProgram[] = {"--api-socket", "--event-monitor",
                                                "--landlock",   "--log-format",
                                                "--seccomp",    "--stop-timeout"};
  const auto refuse = [](std::string_view place, std::string_view option) {
    return fail(
        fmt::format("{}: --kernel is missing (without one the machine and its devices come "
                    "by the API's vm.create)",
                    named_at(place, option)));
  };
  for (const ScalarOption& one : scalar_options()) {
    const auto& given = options.*one.value;
    if (given && std::ranges::find(kOfTheProgram, one.name) == std::end(kOfTheProgram)) {
      return refuse(given->place, one.name);
    }
  }
  if (!options.memory.items().empty()) return refuse(options.memory.place(), "--memory");
  if (!options.iothreads.empty()) return refuse(options.iothreads.front().place(), "--iothread");
  if (!options.rate_groups.empty()) {
    return refuse(options.rate_groups.front().place(), RateGroupConfig::kOption);
  }
  for (const DeviceKind& kind : device_kinds()) {
    const auto& list = options.*kind.list;
    if (!list.empty()) {
      return refuse(list.front().place(), fmt::format("--{}", kind.option.name));
    }
  }
  MachineConfig config;
  if (auto parsed = parse_sandbox(options, config); !parsed) return forward(parsed);
  if (auto parsed = parse_wait("--stop-timeout", options.stop_timeout, config.stop_timeout);
      !parsed) {
    return forward(parsed);
  }
  if (options.seccomp) config.places.set("--seccomp", options.seccomp->place);
  if (options.landlock) config.places.set("--landlock", options.landlock->place);
  return config;
}

Result<MachineConfig> make_device_config(const MachineOptions& options, FileRoles roles) {
  MachineConfig config;
  if (auto parsed = parse_sandbox(options, config); !parsed) return forward(parsed);
  if (const auto read = read_devices(options, config, roles); !read) return forward(read);
  return config;
}

}  // namespace bellhop

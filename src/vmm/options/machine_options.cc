#include "vmm/options/machine_options.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/split.h"
#include "vmm/options/common_keys.h"

namespace bellhop {

namespace {

constexpr std::chrono::milliseconds kLongestPoll{10};
constexpr unsigned kMaxCpus = 64;
constexpr unsigned kMaxQueues = 64;
constexpr unsigned kMaxQueueSize = 32768;  // virtio 1.3, 2.7: "Queue Size ... maximum is 32768"
constexpr unsigned kMaxIoEventFds = 65536;
constexpr std::uint64_t kMinMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 40;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;
constexpr std::size_t kMaxThreadName = 15;  // what the kernel keeps

template <class T>
void take_later(std::optional<T>& value, const std::optional<T>& later) {
  if (later) value = later;
}

void merge_named(std::vector<PropertyList>& lists, const std::vector<PropertyList>& later,
                 std::string_view key) {
  const auto name_of = [key](const PropertyList& list) {
    const Property* property = list.find(key);
    return property == nullptr ? std::nullopt : property->value;
  };
  for (const PropertyList& list : later) {
    const auto name = name_of(list);
    const auto same = std::ranges::find_if(
        lists, [&](const PropertyList& other) { return name && name_of(other) == name; });
    if (same == lists.end()) {
      lists.push_back(list);
    } else {
      same->merge(list);
    }
  }
}

/// There is one at most, whatever it is called.
void merge_only(std::vector<PropertyList>& lists, const std::vector<PropertyList>& later) {
  if (lists.size() == 1 && later.size() == 1) return lists.front().merge(later.front());
  lists.insert(lists.end(), later.begin(), later.end());
}

/// Whether `path` is a file or block device that can be read; which file it is, in `out`.
Status check_file(std::string_view option, const std::string& path, struct stat& out) {
  if (::stat(path.c_str(), &out) != 0) {
    return fail_errno(fmt::format("{}: cannot open {}", option, path));
  }
  if (!S_ISREG(out.st_mode) && !S_ISBLK(out.st_mode)) {
    return fail(fmt::format("{}: {} is neither a file nor a block device", option, path));
  }
  if (::access(path.c_str(), R_OK) != 0) {
    return fail_errno(fmt::format("{}: cannot read {}", option, path));
  }
  return {};
}

Status check_disks(const std::vector<DiskConfig>& disks) {
  std::vector<struct stat> files(disks.size());
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const DiskConfig& disk = disks[i];
    for (std::size_t j = 0; j < i; ++j) {
      if (disks[j].id == disk.id) {
        return fail(fmt::format("--disk: id={} is given to two disks; ids must differ", disk.id));
      }
    }
    if (disk.file.path.empty()) continue;
    if (auto checked = check_file("--disk", disk.file.path, files[i]); !checked) return checked;
    if (!disk.file.read_only && ::access(disk.file.path.c_str(), W_OK) != 0) {
      return fail_errno(
          fmt::format("--disk: cannot write {} (readonly would do without)", disk.file.path));
    }
    for (std::size_t j = 0; j < i; ++j) {
      const bool same = !disks[j].file.path.empty() && files[j].st_dev == files[i].st_dev &&
                        files[j].st_ino == files[i].st_ino;
      if (same && !(disk.file.read_only && disks[j].file.read_only)) {
        return fail(fmt::format("--disk: {} is used by two disks; both must be readonly for that",
                                disk.file.path));
      }
    }
  }
  return {};
}

Status check_nics(const MachineConfig& config) {
  const std::vector<NicConfig>& nics = config.nics;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    if (std::ranges::find(config.disks, nics[i].id, &DiskConfig::id) != config.disks.end()) {
      return fail(fmt::format("--net: id={} is a disk's already; ids must differ", nics[i].id));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (nics[j].id == nics[i].id) {
        return fail(fmt::format("--net: id={} is given to two NICs; ids must differ", nics[i].id));
      }
      if (!nics[i].tap.name.empty() && nics[j].tap.name == nics[i].tap.name) {
        return fail(fmt::format("--net: tap={} is used by two NICs", nics[i].tap.name));
      }
      for (const int fd : nics[i].tap.fds) {
        if (std::ranges::find(nics[j].tap.fds, fd) != nics[j].tap.fds.end()) {
          return fail(fmt::format("--net: fd={} is used by two NICs", fd));
        }
      }
      if (nics[i].mac != 0 && nics[j].mac == nics[i].mac) {
        return fail(fmt::format("--net: {} and {} have the same mac", nics[j].id, nics[i].id));
      }
    }
  }
  return {};
}

/// How many queues may go to the kernel's vhost or by vhost-user, and cannot be notified
/// synchronously there.
unsigned needed_ioeventfds(const MachineConfig& config) {
  unsigned sum = 0;
  for (const NicConfig& nic : config.nics) {
    if (nic.vhost != Vhost::kOff) sum += 2 * nic.tap.pairs;
  }
  for (const VsockConfig& vsock : config.vsocks) {
    if (vsock.vhost != VsockVhost::kOff) sum += 2;
  }
  for (const FsConfig& share : config.shares) sum += fs_queues(share);
  return sum;
}

/// Of all devices together: figures and messages name them by their ids.
Status check_ids(const MachineConfig& config) {
  std::vector<std::string_view> ids;
#define BELLHOP_DEVICE(Config, list)                                                      \
  for (const Config& one : config.list) {                                                 \
    if (std::ranges::find(ids, one.id) != ids.end()) {                                    \
      return fail(fmt::format("id={} is given to two devices; ids must differ", one.id)); \
    }                                                                                     \
    ids.push_back(one.id);                                                                \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return {};
}

Status check_vsocks(const MachineConfig& config) {
  if (config.vsocks.size() > 1) {
    return fail("--vsock: a guest has one CID, and so one vsock device");
  }
  return {};
}

/// Another process serves these: it must be able to map the guest's memory.
Status share_memory(const PropertyList& memory, MachineConfig& config) {
  for (std::size_t i = 0; i < config.shares.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (config.shares[j].tag == config.shares[i].tag) {
        return fail(fmt::format("--fs: tag={} is given to two shares", config.shares[i].tag));
      }
      if (config.shares[j].socket == config.shares[i].socket) {
        return fail(fmt::format("--fs: socket={} is used by two shares; each needs a virtiofsd",
                                config.shares[i].socket));
      }
    }
  }
  if (config.shares.empty() || config.backing != MemoryBacking::kPrivate) return {};
  if (memory.find("shared") != nullptr) {
    return fail("--fs: virtiofsd maps the guest's memory; leave shared=off out of --memory");
  }
  config.backing = MemoryBacking::kShared;
  return {};
}

Status give_iothreads(MachineConfig& config) {
  for (std::size_t i = 0; i < config.iothreads.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (config.iothreads[i].name == config.iothreads[j].name) {
        return fail(fmt::format("--iothread: {} is given twice; names must differ",
                                config.iothreads[i].name));
      }
    }
  }
  if (config.iothreads.empty()) config.iothreads.emplace_back();
  std::size_t next = 0;
  const auto need = [&](std::string_view option, std::string_view name) -> Status {
    if (std::ranges::find(config.iothreads, name, &IoThreadConfig::name) !=
        config.iothreads.end()) {
      return {};
    }
    return fail(
        fmt::format("{}: iothread={} is not there; name it by --iothread {}", option, name, name));
  };
  const auto next_name = [&] { return config.iothreads[next++ % config.iothreads.size()].name; };
  for (DiskConfig& disk : config.disks) {
    if (disk.iothread.empty()) disk.iothread = next_name();
    if (auto there = need("--disk", disk.iothread); !there) return there;
  }
  for (VsockConfig& vsock : config.vsocks) {
    if (vsock.iothread.empty()) vsock.iothread = next_name();
    if (auto there = need("--vsock", vsock.iothread); !there) return there;
  }
  for (FsConfig& share : config.shares) {
    if (share.iothread.empty()) share.iothread = next_name();
    if (auto there = need("--fs", share.iothread); !there) return there;
  }
  for (NicConfig& nic : config.nics) {
    if (nic.iothread.empty()) nic.iothread = next_name();
    for (const std::string_view name : split(nic.iothread, ':')) {
      if (auto there = need("--net", name); !there) return there;
    }
  }
  for (RngConfig& rng : config.rngs) {
    if (rng.iothread.empty()) rng.iothread = next_name();
    if (auto there = need("--rng", rng.iothread); !there) return there;
  }
  for (ConsoleConfig& console : config.consoles) {
    if (console.iothread.empty()) console.iothread = next_name();
    if (auto there = need("--console", console.iothread); !there) return there;
  }
  for (BalloonSettings& balloon : config.balloons) {
    if (balloon.iothread.empty()) balloon.iothread = next_name();
    if (auto there = need("--balloon", balloon.iothread); !there) return there;
  }
  return {};
}

Status parse_affinity(const std::string& text, MachineConfig& config) {
  constexpr std::string_view kOption = "--vcpu-affinity";
  const auto list = PropertyList::parse(text);
  if (!list) return fail(fmt::format("{}: {}", kOption, list.error().message));
  config.vcpu_affinity.resize(config.cpus);
  for (const Property& item : list->items()) {
    const auto vcpu = parse_count(kOption, item.key, 0, config.cpus - 1);
    if (!vcpu) return forward(vcpu);
    if (!item.value || item.value->empty()) {
      return fail(fmt::format("{}: vCPU {} needs CPUs: {}=0", kOption, item.key, item.key));
    }
    auto cpus = parse_cpu_list(*item.value);
    if (!cpus) return fail(fmt::format("{}: {}", kOption, cpus.error().message));
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

}  // namespace

void MachineOptions::merge(const MachineOptions& later) {
  take_later(kernel, later.kernel);
  take_later(initrd, later.initrd);
  take_later(cmdline, later.cmdline);
  take_later(cpus, later.cpus);
  take_later(vcpu_affinity, later.vcpu_affinity);
  take_later(transport, later.transport);
  take_later(max_ioeventfds, later.max_ioeventfds);
  take_later(reserve_ioeventfds, later.reserve_ioeventfds);
  take_later(stats, later.stats);
  take_later(serial, later.serial);
  take_later(on_reset, later.on_reset);
  memory.merge(later.memory);
  merge_named(disks, later.disks, "id");
  merge_named(nics, later.nics, "id");
  merge_named(rngs, later.rngs, "id");
  merge_only(vsocks, later.vsocks);
  merge_named(shares, later.shares, "id");
  merge_named(consoles, later.consoles, "name");
  merge_only(balloons, later.balloons);
  merge_named(iothreads, later.iothreads, "name");
}

Result<DiskConfig> parse_disk(const PropertyList& properties) {
  DiskConfig disk;
  PropertyReader reader("--disk", properties);
  reader.text("path", disk.file.path);
  reader.size("null", disk.null_bytes, 512, std::uint64_t{1} << 60);
  reader.flag("readonly", disk.file.read_only);
  reader.choice<Cache>("cache", disk.file.cache,
                       {{"none", Cache::kNone}, {"writeback", Cache::kWriteback}});
  reader.choice<Aio>(
      "aio", disk.file.aio,
      {{"io_uring", Aio::kIoUring}, {"native", Aio::kNative}, {"threads", Aio::kThreads}});
  reader.number("queues", disk.queues, 1, kMaxQueues);
  reader.number("queue-size", disk.queue_size, 2, kMaxQueueSize);
  read_common_keys(reader, properties, disk);
  if ((disk.queue_size & (disk.queue_size - 1)) != 0) {
    reader.wrong("queue-size", fmt::format("{}", disk.queue_size), "a power of two");
  }
  if (disk.null_bytes % 512 != 0) {
    reader.wrong("null", fmt::format("{}", disk.null_bytes), "a multiple of 512");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  if (reader.has("path") == reader.has("null")) {
    return fail("--disk: either path=FILE or null=SIZE is needed, and not both");
  }
  return disk;
}

Result<IoThreadConfig> parse_iothread(const PropertyList& properties) {
  IoThreadConfig thread;
  thread.name.clear();
  PropertyReader reader("--iothread", properties);
  reader.text("name", thread.name);
  reader.cpus("cpus", thread.cpus);
  reader.choice<bool>("loop", thread.prefer_epoll, {{"io_uring", false}, {"epoll", true}});
  reader.duration("poll-max", thread.poll_max, kLongestPoll);
  if (auto status = reader.finish(); !status) return forward(status);
  if (thread.name.empty() || thread.name.size() > kMaxThreadName || thread.name == "auto") {
    return fail(fmt::format(
        "--iothread: '{}' is no name; it must have 1 to 15 characters and not be 'auto'",
        thread.name));
  }
  return thread;
}

Result<MachineConfig> make_machine_config(const MachineOptions& options) {
  MachineConfig config;
  struct stat info {};
  if (!options.kernel || options.kernel->empty()) {
    return fail("--kernel is missing: name a PVH kernel, --kernel FILE");
  }
  config.kernel = *options.kernel;
  if (auto checked = check_file("--kernel", config.kernel, info); !checked) return forward(checked);
  if (options.initrd) {
    config.initrd = *options.initrd;
    if (auto checked = check_file("--initrd", config.initrd, info); !checked) {
      return forward(checked);
    }
  }
  config.cmdline = options.cmdline.value_or("");
  if (options.cpus) {
    const auto cpus = parse_count("--cpus", *options.cpus, 1, kMaxCpus);
    if (!cpus) return forward(cpus);
    config.cpus = *cpus;
  }
  if (options.vcpu_affinity) {
    if (auto parsed = parse_affinity(*options.vcpu_affinity, config); !parsed) {
      return forward(parsed);
    }
  }
  if (auto parsed = parse_memory(options.memory, config); !parsed) return forward(parsed);
  if (options.transport == "mmio") {
    config.transport = TransportKind::kMmio;
  } else if (options.transport == "pci-transitional") {
    config.transport = TransportKind::kPciTransitional;
  } else if (options.transport && options.transport != "pci") {
    return fail(
        fmt::format("--transport: '{}' is unknown; it must be pci, pci-transitional or mmio",
                    *options.transport));
  }
  if (options.on_reset == "restart") {
    config.on_reset = OnReset::kRestart;
  } else if (options.on_reset && options.on_reset != "exit") {
    return fail(
        fmt::format("--on-reset: '{}' is unknown; it must be exit or restart", *options.on_reset));
  }
  if (options.max_ioeventfds) {
    const auto count = parse_count("--max-ioeventfds", *options.max_ioeventfds, 1, kMaxIoEventFds);
    if (!count) return forward(count);
    config.max_ioeventfds = *count;
  }
  if (options.reserve_ioeventfds) {
    const auto count =
        parse_count("--reserve-ioeventfds", *options.reserve_ioeventfds, 0, kMaxIoEventFds);
    if (!count) return forward(count);
    config.reserved_ioeventfds = *count;
  }
  for (const PropertyList& properties : options.iothreads) {
    auto thread = parse_iothread(properties);
    if (!thread) return forward(thread);
    config.iothreads.push_back(std::move(*thread));
  }
  for (const PropertyList& properties : options.disks) {
    auto disk = parse_disk(properties);
    if (!disk) return forward(disk);
    if (disk->id.empty()) disk->id = fmt::format("disk{}", config.disks.size());
    config.disks.push_back(std::move(*disk));
  }
  for (const PropertyList& properties : options.nics) {
    auto nic = parse_net(properties);
    if (!nic) return forward(nic);
    if (nic->id.empty()) nic->id = fmt::format("net{}", config.nics.size());
    config.nics.push_back(std::move(*nic));
  }
  for (const PropertyList& properties : options.rngs) {
    auto rng = parse_rng(properties);
    if (!rng) return forward(rng);
    if (rng->id.empty()) rng->id = fmt::format("rng{}", config.rngs.size());
    config.rngs.push_back(std::move(*rng));
  }
  for (const PropertyList& properties : options.vsocks) {
    auto vsock = parse_vsock(properties);
    if (!vsock) return forward(vsock);
    if (vsock->id.empty()) vsock->id = "vsock0";
    config.vsocks.push_back(std::move(*vsock));
  }
  for (const PropertyList& properties : options.shares) {
    auto share = parse_fs(properties);
    if (!share) return forward(share);
    if (share->id.empty()) share->id = fmt::format("fs{}", config.shares.size());
    config.shares.push_back(std::move(*share));
  }
  if (auto shared = share_memory(options.memory, config); !shared) return forward(shared);
  if (!options.reserve_ioeventfds) {
    const unsigned needed = needed_ioeventfds(config);
    // Where they cannot all have one anyway, others need not go without.
    const bool enough = config.max_ioeventfds == 0 || needed <= config.max_ioeventfds;
    config.reserved_ioeventfds = enough ? needed : 0;
  }
  if (!options.consoles.empty()) {
    auto console = parse_console(options.consoles);
    if (!console) return forward(console);
    if (console->id.empty()) console->id = "console0";
    config.consoles.push_back(std::move(*console));
  }
  if (options.balloons.size() > 1) return fail("--balloon: a machine has one at most");
  for (const PropertyList& properties : options.balloons) {
    auto balloon = parse_balloon(properties);
    if (!balloon) return forward(balloon);
    if (balloon->id.empty()) balloon->id = "balloon0";
    if (balloon->size > config.memory) {
      return fail("--balloon: size is more than the machine's memory (see --memory)");
    }
    config.balloons.push_back(std::move(*balloon));
  }
  if (auto given = give_iothreads(config); !given) return forward(given);
  if (auto checked = check_disks(config.disks); !checked) return forward(checked);
  if (auto checked = check_nics(config); !checked) return forward(checked);
  if (auto checked = check_ids(config); !checked) return forward(checked);
  if (auto checked = check_vsocks(config); !checked) return forward(checked);
  return config;
}

}  // namespace bellhop

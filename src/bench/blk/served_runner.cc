#include "bench/blk/served_runner.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/cpu_list.h"
#include "base/thread.h"
#include "bench/blk/driver_load.h"
#include "bench/harness/busy_load.h"
#include "bench/harness/child.h"
#include "devices/blk/vhost_user_blk_device.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"

namespace bellhop::bench {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kStartPatience{20};
constexpr std::chrono::seconds kEndPatience{5};
/// A request has three descriptors.
constexpr unsigned kDirectDepth = DriverLoad::kQueueSize / 3;

/// A folder for a socket that goes with this object.
class SocketFolder {
 public:
  static Result<SocketFolder> make() {
    SocketFolder folder;
    folder.path_ = (std::filesystem::temp_directory_path() / "bellhop-bench.XXXXXX").string();
    if (::mkdtemp(folder.path_.data()) == nullptr) {
      return fail_errno("cannot make a folder for a socket: " + folder.path_);
    }
    return folder;
  }
  SocketFolder(SocketFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SocketFolder& operator=(SocketFolder&&) = delete;
  ~SocketFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string socket() const { return path_ + "/disk.sock"; }

 private:
  SocketFolder() = default;
  std::string path_;
};

/// The process at the other end; 0 where the kernel does not tell.
pid_t peer_of(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

/// Closes its output as its end is under way.
bool has_ended(Child& server) {
  const auto soon = Child::Clock::now() + 500ms;
  while (true) {
    const auto line = server.read_line(soon, EventFd{});
    if (!line) return false;
    if (!*line) return true;
  }
}

/// A disk at a socket, and the driver's side of it.
struct Served {
  std::optional<GuestMemory> memory;
  std::unique_ptr<IoThread> watcher;  ///< looks whether the back end is there
  std::unique_ptr<InProcessDevice> device;
  std::optional<DriverRing> driver;
  std::uint64_t bytes = 0;
  pid_t server = 0;
};

Result<std::unique_ptr<VhostUserBlkDevice>> reach(const std::string& socket, RingLayout ring,
                                                  Child* server, const EventFd& interrupt,
                                                  pid_t& pid) {
  const auto connect = [&](auto patience) {
    auto channel = connector_to("--socket", socket)(patience);
    if (channel) pid = peer_of(channel->fd());
    return channel;
  };
  const auto limit = Child::Clock::now() + kStartPatience;
  while (true) {
    auto device = VhostUserBlkDevice::create(
        {.queue_size = DriverLoad::kQueueSize, .more_ring_features = features_of(ring)}, connect);
    if (device || server == nullptr || Child::Clock::now() >= limit) return device;
    // It has not begun to listen. What it prints is not for us; the end of that is its own.
    const auto line = server->read_line(Child::Clock::now() + 20ms, interrupt);
    if (!line && line.error().code == kEndedByUser) return forward(line);
    if (line && !*line) return fail("the back end ended at its start");
  }
}

Result<Served> connect_to(const std::string& socket, const BlkSetting& setting, RingLayout ring,
                          Child* server, const EventFd& interrupt) {
  Served served;
  const std::array regions{
      GuestMemory::RegionSpec{GuestAddress(0), DriverLoad::memory_bytes(setting.block_bytes)}};
  auto memory = GuestMemory::create(regions, MemoryBacking::kShared);
  if (!memory) return forward(memory);
  served.memory.emplace(std::move(*memory));
  auto watcher = IoThread::start({.name = "watch", .cpus = {}});
  if (!watcher) return forward(watcher);
  served.watcher = std::move(*watcher);
  auto disk = reach(socket, ring, server, interrupt, served.server);
  if (!disk) return forward(disk);
  auto device = InProcessDevice::create(
      std::move(*disk), {.memory = &*served.memory, .threads = {served.watcher.get()}});
  if (!device) return forward(device);
  served.device = std::move(*device);
  const std::uint64_t features = served.device->life().offered_features();
  if ((features & virtio::feature_mask(virtio::kBlkFeatureReadOnly)) != 0) {
    return fail("the disk is read-only, and is to be written");
  }
  if ((features_of(ring) & ~features) != 0) {
    return fail(fmt::format("--ring {}: this back end does not offer such rings", to_string(ring)));
  }
  virtio::BlkConfig config{};
  served.device->life().read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  served.bytes = config.capacity * 512;
  auto driver = DriverRing::create(*served.memory, DriverLoad::kRing, DriverLoad::kQueueSize,
                                   InProcessDevice::ring_features(features));
  if (!driver) return forward(driver);
  served.driver.emplace(std::move(*driver));
  const QueueConfig queue = served.driver->config();
  if (auto started = served.device->start(features, {&queue, 1}); !started) {
    return forward(started);
  }
  return served;
}

}  // namespace

std::vector<std::string> back_end_command(const BlkCell& cell, const BlkSetting& setting,
                                          const Launch& launch, const std::string& socket) {
  if (cell.vmm.is_qemu()) {
    const std::string medium =
        setting.null ? fmt::format("driver=null-co,size={},read-zeroes=off", setting.null->bytes)
                     : fmt::format("driver=file,filename={},aio={},cache.direct={}",
                                   inherited_file(kImageFd), to_string(setting.aio),
                                   setting.cache == Cache::kNone ? "on" : "off");
    return {setting.programs.qemus.at(cell.vmm.number).path, "--blockdev",
            medium + ",node-name=disk0", "--export",
            fmt::format("type=vhost-user-blk,id=export0,node-name=disk0,writable=on,num-queues=1,"
                        "addr.type=unix,addr.path={}",
                        socket)};
  }
  const std::string medium = setting.null
                                 ? fmt::format("null={}", setting.null->bytes)
                                 : fmt::format("path={},cache={},aio={}", inherited_file(kImageFd),
                                               to_string(setting.cache), to_string(setting.aio));
  const auto has = [&](unsigned feature, const char* key) {
    return (features_of(cell.ring) & virtio::feature_mask(feature)) != 0 ? key : "";
  };
  return {launch.bellhop,
          "serve",
          "blk",
          "--socket",
          socket,
          "--disk",
          medium + fmt::format(",queue-size={},notify={}{}{}", DriverLoad::kQueueSize,
                               bellhop::to_string(cell.notify),
                               has(virtio::kFeatureRingPacked, ",packed=on"),
                               has(virtio::kFeatureInOrder, ",in-order=on"))};
}

Result<Measurement> ServedRunner::run(const BlkCell& cell, const CpuPlan& plan, int image) {
  const auto load = BusyLoad::start(plan.busy_processes);
  if (!load) return forward(load);
  Result<Measurement> result;
  // A thread of its own, so that pinning it, and the back end with it, changes nobody else.
  const Status ran = run_on_thread(ThreadKind::kOther, "the driver", [&] {
    result = setting_.socket.empty() ? run_started(cell, plan, image)
                                     : run_with(nullptr, setting_.socket, cell, plan, image);
  });
  if (!ran) return forward(ran);
  if (!result && !setting_.socket.empty() && result.error().code != kEndedByUser) {
    return fail(fmt::format("--socket {}: {}", setting_.socket, result.error().message),
                result.error().code);
  }
  return result;
}

Result<Measurement> ServedRunner::run_started(const BlkCell& cell, const CpuPlan& plan, int image) {
  auto folder = SocketFolder::make();
  if (!folder) return forward(folder);
  // What it inherits: it and all of its threads run there.
  if (auto pinned = pin_this_thread(plan.io); !pinned) return forward(pinned);
  std::vector<std::pair<int, int>> files;
  if (image >= 0) files.emplace_back(image, kImageFd);
  auto server = Child::spawn(back_end_command(cell, setting_, launch_, folder->socket()), files);
  if (!server) return forward(server);
  auto measured = run_with(&*server, folder->socket(), cell, plan, image);
  if (!measured) {
    // If it has ended, its last line says more.
    if (measured.error().code != kEndedByUser && has_ended(*server) &&
        !server->last_complaint().empty()) {
      return fail(server->last_complaint(), measured.error().code);
    }
    return measured;
  }
  ::kill(server->pid(), SIGTERM);
  server->wait(Child::Clock::now() + kEndPatience);
  return measured;
}

Result<Measurement> ServedRunner::run_with(Child* server, const std::string& socket,
                                           const BlkCell& cell, const CpuPlan& plan, int image) {
  auto served = connect_to(socket, setting_, cell.ring, server, interrupt_);
  if (!served) return forward(served);
  if (served->server == 0) return fail("the kernel does not tell whose socket it is");
  const bool indirect = served->driver->features().indirect;
  if (!indirect && cell.threads > kDirectDepth) {
    return fail(
        fmt::format("--depth {}: without indirect descriptors, which this back end has not, "
                    "{} requests fit into a ring",
                    cell.threads, kDirectDepth));
  }
  if (!plan.vcpus.empty()) {
    if (auto pinned = pin_this_thread(plan.vcpus.front()); !pinned) return forward(pinned);
  }
  DrivenDisk disk{*served->memory, *served->device, *served->driver, served->bytes, served->server};
  if (server == nullptr) disk.bytes = std::min(disk.bytes, setting_.socket_bytes);
  if (disk.bytes < setting_.block_bytes) return fail("the disk has not even one block");
  DriverLoad driver(disk,
                    {.workload = cell.workload,
                     .depth = cell.threads,
                     .block_bytes = setting_.block_bytes,
                     .check = !setting_.null,
                     .image = image},
                    interrupt_);
  if (server == nullptr && !filled_) {
    if (auto filled = driver.fill(); !filled) return forward(filled);
    filled_ = true;
  }
  auto measured = driver.run(launch_.warmup_s, setting_.seconds);
  if (measured) served->device->stop();
  return measured;
}

}  // namespace bellhop::bench

#include "tests/fuzz/machine/world.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "devices/fs/fs_device.h"
#include "devices/net/net_device.h"
#include "devices/vsock/vhost_vsock_device.h"
#include "machine/device_slots.h"
#include "net/stream_pair.h"
#include "testing/elf_builder.h"
#include "testing/test_memory.h"
#include "vhost/vhost_abi.h"

namespace bellhop::fuzz {

namespace {

namespace fs = std::filesystem;
using testing::MemoryNic;
using testing::must;

constexpr std::uint64_t kDiskBytes = 1U << 20;
constexpr unsigned kStreamNic = 1;
constexpr unsigned kMemoryNic = 2;
constexpr unsigned kVhostNic = 4;
constexpr unsigned kVhostVsock = 8;
constexpr unsigned kFaultyDisk = 16;
constexpr unsigned kHostileFs = 32;

constexpr unsigned long kVhostCalls[] = {VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
                                         VHOST_SET_MEM_TABLE,  VHOST_NET_SET_BACKEND,
                                         VHOST_SET_VRING_BASE, VHOST_SET_FEATURES};

/// What all runs share: removed when the program ends.
class Files {
 public:
  static const Files& get() {
    static const Files files;
    return files;
  }
  [[nodiscard]] std::string path(const char* name) const { return folder_ / name; }
  [[nodiscard]] std::string in_memory(const char* name) const { return in_memory_ / name; }

 private:
  Files() {
    const std::string name = "machine_fuzz." + std::to_string(::getpid());
    folder_ = fs::temp_directory_path() / name;
    in_memory_ = fs::path("/dev/shm") / name;
    fs::create_directories(folder_);
    fs::create_directories(in_memory_);
    const auto kernel = ElfBuilder::tiny_kernel();
    std::ofstream(folder_ / "kernel", std::ios::binary)
        .write(reinterpret_cast<const char*>(kernel.data()),
               static_cast<std::streamsize>(kernel.size()));
    for (const std::string& disk : {path("uring"), path("threads"), path("native"), path("faulty"),
                                    in_memory("bystander"), in_memory("inline")}) {
      const std::ofstream file(disk);
      fs::resize_file(disk, kDiskBytes);
    }
  }
  ~Files() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
    fs::remove_all(in_memory_, ignored);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  fs::path folder_;
  fs::path in_memory_;
};

/// A NIC over a stream, as passt's.
class StreamNic final : public NetBackend {
 public:
  explicit StreamNic(UniqueFd socket) : pair_(std::move(socket)) {}
  [[nodiscard]] const NetLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] NetPair& pair(unsigned) noexcept override { return pair_; }
  Status use_pairs(unsigned) override { return {}; }
  Status set_guest_offloads(Offloads) override { return {}; }

 private:
  std::string name_ = "stream";
  NetLimits limits_;
  StreamPair pair_;
};

}  // namespace

World::World(Input& input) {
  configure(input);
  auto machine = Machine::create(
      config_, hypervisor_,
      {.serial_output = [](std::span<const std::byte>) { return true; },
       .marker = [](std::uint32_t, const MachineCounters&) {},
       .host = {.window = window_},
       .more_devices = [this](const SlotWiring& wiring) { return add_devices(wiring); }});
  if (!machine) {
    if (machine.error().message.empty()) broken("a machine is refused without a word");
    return;
  }
  machine_ = std::move(*machine);
}

World::~World() { machine_.reset(); }

void World::configure(Input& input) {
  const Files& files = Files::get();
  config_.kernel = files.path("kernel");
  config_.cpus = 2;
  config_.memory = GuestRam::kBytes;
  config_.backing = MemoryBacking::kShared;
  static constexpr TransportKind kTransports[] = {
      TransportKind::kPci, TransportKind::kPciTransitional, TransportKind::kMmio};
  config_.transport = input.pick(kTransports);
  const std::uint8_t host = input.u8();
  for (unsigned i = 0; i < 1U + (host & 1U); ++i) {
    IoThreadConfig thread;
    thread.name = i == 0 ? "io0" : "io1";
    thread.prefer_epoll = (host & 2) != 0;
    if ((host & 4) != 0) thread.poll_max = {};
    thread.poll_idle = std::chrono::microseconds(200);
    config_.iothreads.push_back(thread);
  }
  static constexpr unsigned kIoEventFds[] = {0, 0, 0, 1, 2, 3, 4, 6};
  config_.max_ioeventfds = kIoEventFds[host >> 3 & 7];
  const NotifyMode notify = (host & 0x40) != 0   ? NotifyMode::kSync
                            : (host & 0x80) != 0 ? NotifyMode::kPoll
                                                 : NotifyMode::kIoEventFd;
  const std::string last = config_.iothreads.back().name;

  const std::uint16_t which = input.u16();
  const auto disk = [&](std::string path, Aio aio, Cache cache, NotifyMode mode) {
    DiskConfig one;
    one.id = "disk" + std::to_string(config_.disks.size());
    one.source =
        RawFileSource{.path = std::move(path), .read_only = false, .cache = cache, .aio = aio};
    one.notify = mode;
    one.queues = 1 + (which & 1U);
    if ((which & 2) != 0) one.queue_size = 16;
    one.iothread = last;
    config_.disks.push_back(std::move(one));
    devices_.push_back(Kind::kBlk);
  };
  disk(files.in_memory("bystander"), Aio::kIoUring, Cache::kWriteback, NotifyMode::kIoEventFd);
  config_.disks.front().iothread = "io0";
  if ((which & 4) != 0) disk(files.path("uring"), Aio::kIoUring, Cache::kWriteback, notify);
  if ((which & 8) != 0) disk(files.path("threads"), Aio::kThreads, Cache::kWriteback, notify);
  if ((which & 16) != 0) disk(files.path("native"), Aio::kNative, Cache::kNone, notify);
  if ((which & 32) != 0) disk(files.in_memory("inline"), Aio::kIoUring, Cache::kWriteback, notify);
  if ((which & 64) != 0) {
    RngConfig one;
    one.id = "rng0";
    one.notify = notify;
    if ((which & 128) != 0) {
      one.max_bytes = 256;
      one.period = std::chrono::milliseconds(5);
    }
    config_.rngs.push_back(std::move(one));
    devices_.push_back(Kind::kRng);
  }
  if ((which & 256) != 0) {
    VsockConfig one;
    one.id = "vsock0";
    one.cid = 3;
    one.uds = files.path("vsock");
    one.notify = notify;
    config_.vsocks.push_back(std::move(one));
    devices_.push_back(Kind::kVsock);
  }
  if ((which & 512) != 0) {
    ConsoleConfig one;
    one.id = "console0";
    one.notify = notify;
    using Port = ConsolePortConfig;
    one.ports = {
        {.end = Port::End::kSocket, .path = files.path("console"), .name = "", .place = ""},
        {.end = Port::End::kPty, .path = "", .name = "second", .place = ""},
        {.end = Port::End::kFile, .path = files.path("output"), .name = "third", .place = ""}};
    config_.consoles.push_back(std::move(one));
    devices_.push_back(Kind::kConsole);
  }
  if ((which & 1024) != 0) {
    BalloonSettings one;
    one.id = "balloon0";
    one.size = 1U << 20;
    one.deflate_on_oom = true;
    one.free_page_reporting = true;
    one.stats_interval = std::chrono::seconds(1);
    one.notify = notify;
    config_.balloons.push_back(std::move(one));
    devices_.push_back(Kind::kBalloon);
  }
  more_ = input.u8();
  // What drivers may have of rings beyond the usual; not the bystander's.
  const auto offer = [&](auto& devices, std::size_t from) {
    for (std::size_t i = from; i < devices.size(); ++i) {
      devices[i].queue_reset = (which & 2048) == 0;
      devices[i].notification_data = (which & 4096) != 0;
      devices[i].in_order = (which & 8192) != 0;
    }
  };
  offer(config_.disks, 1);
  offer(config_.rngs, 0);
  offer(config_.vsocks, 0);
  offer(config_.consoles, 0);
  offer(config_.balloons, 0);
}

Result<std::vector<PreparedDevice>> World::add_devices(const SlotWiring& wiring) {
  std::vector<PreparedDevice> made;
  const NotifyMode notify =
      config_.disks.size() > 1 ? config_.disks.back().notify : NotifyMode::kIoEventFd;
  const auto add = [&](Kind kind, std::unique_ptr<VirtioDevice> device) {
    made.push_back({std::move(device),
                    {.memory = &wiring.memory,
                     .threads = {wiring.iothreads.back().get()},
                     .notify = notify,
                     .ring_features =
                         kind == Kind::kFs ? 0 : virtio::feature_mask(virtio::kFeatureRingReset)}});
    devices_.push_back(kind);
  };
  if ((more_ & kStreamNic) != 0) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
      std::abort();
    }
    stream_ = UniqueFd(ends[1]);
    NetOptions options;
    options.id = "stream";
    options.mac = 0x060504030202;
    add(Kind::kNet,
        std::make_unique<NetDevice>(std::make_shared<StreamNic>(UniqueFd(ends[0])), options));
  }
  if ((more_ & kMemoryNic) != 0) {
    nic_ = std::make_shared<MemoryNic>(2);
    NetOptions options;
    options.id = "net";
    options.mac = 0x060504030203;
    add(Kind::kNet, std::make_unique<NetDevice>(nic_, options));
  }
  if ((more_ & kVhostNic) != 0) {
    vhost_net_.emplace(wiring.memory);
    vhost_nic_ = std::make_shared<MemoryNic>(1);
    const std::array<int, 1> wires{vhost_nic_->pair(0).kernel_fd()};
    NetOptions options;
    options.id = "vhostnet";
    options.mac = 0x060504030204;
    add(Kind::kNet, std::make_unique<NetDevice>(
                        vhost_nic_, options,
                        must(VhostNet::create(wires, [this] { return vhost_net_->open(); }))));
  }
  if ((more_ & kVhostVsock) != 0 && config_.vsocks.empty()) {
    vhost_vsock_.emplace(wiring.memory);
    add(Kind::kVsock,
        std::make_unique<VhostVsockDevice>(
            "vsock0", 3, must(VhostVsock::create(3, [this] { return vhost_vsock_->open(); }))));
  }
  if ((more_ & kFaultyDisk) != 0) {
    auto file = must(open_raw_file({.path = Files::get().path("faulty"),
                                    .read_only = false,
                                    .cache = Cache::kWriteback,
                                    .aio = Aio::kIoUring}));
    faulty_ = std::make_shared<FaultyBackend>(std::move(file));
    BlkOptions options;
    options.id = "faulty";
    options.queue_size = 16;
    add(Kind::kBlk, std::make_unique<BlkDevice>(faulty_, options));
  }
  if ((more_ & kHostileFs) != 0) {
    FsConfig share;
    share.id = "fs0";
    share.tag = "fuzz";
    share.queue_size = 16;
    auto device = FsDevice::create(
        share, [this](FsDevice::Patience patience) { return back_end_.connect(patience); },
        FsDevice::Patience{50});
    if (!device) return forward(device);  // a busy host: no machine this time
    add(Kind::kFs, std::move(*device));
  }
  return made;
}

void World::connect(const std::string& path, std::string_view greeting) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return;
  (void)::send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
  peers_.push_back(std::move(fd));
}

void World::frames(Input& input) {
  std::array<std::byte, 2048> frame{};
  const auto bytes = std::as_bytes(input.bytes(input.below(64)));
  std::ranges::copy(bytes, frame.begin());
  const std::size_t length = input.chance(4) ? bytes.size() : bytes.size() + input.u16() % 1900U;
  const auto whole = std::span<const std::byte>(frame).first(length);
  for (unsigned i = input.chance(4) ? 32 : 1; i > 0; --i) {
    if (nic_) (void)nic_->put(whole, input.below(2));
    if (vhost_nic_) (void)vhost_nic_->put(whole);
    if (stream_.valid()) {
      const std::uint32_t said = input.chance(8) ? input.u32() : static_cast<std::uint32_t>(length);
      const std::array<std::uint8_t, 4> header{
          static_cast<std::uint8_t>(said >> 24), static_cast<std::uint8_t>(said >> 16),
          static_cast<std::uint8_t>(said >> 8), static_cast<std::uint8_t>(said)};
      (void)::send(stream_.get(), header.data(), header.size(), MSG_NOSIGNAL);
      (void)::send(stream_.get(), whole.data(), whole.size(), MSG_NOSIGNAL);
    }
  }
}

void World::happen(Input& input) {
  const Files& files = Files::get();
  switch (input.below(16)) {
    case 0:
    case 1:
      return vm().refuse_next(input.below(16), 1 + input.below(8));
    case 2:
      return vm().set_max_ioeventfds(input.below(8));
    case 3:
    case 4:
      return frames(input);
    case 5:
      if (!config_.consoles.empty()) connect(files.path("console"), "");
      return;
    case 6:
      if (!config_.vsocks.empty()) {
        static constexpr const char* kGreetings[] = {"CONNECT 1\n", "CONNECT 2\n", "CONNECT",
                                                     "CONNECT 99999999999\n", "\n"};
        connect(files.path("vsock"), input.pick(kGreetings));
      }
      return;
    case 7:
      if (!peers_.empty()) {
        const auto at = input.u8() % peers_.size();
        const auto bytes = input.bytes(input.below(64));
        for (unsigned i = input.chance(4) ? 64 : 1; i > 0; --i) {
          (void)::send(peers_[at].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        }
      }
      return;
    case 8:
      if (!peers_.empty()) {
        const auto at = static_cast<std::ptrdiff_t>(input.u8() % peers_.size());
        if (input.chance(2))
          (void)::shutdown(peers_[input.u8() % peers_.size()].get(), SHUT_WR);
        else
          peers_.erase(peers_.begin() + at);
      }
      return;
    case 9: {
      const auto bytes = input.bytes(input.below(32));
      return back_end_.be_hostile({bytes.begin(), bytes.end()});
    }
    case 10:
      if (input.chance(4)) return back_end_.hang_up();
      return back_end_.signal(input.u8());
    case 11:
      if (faulty_) {
        static constexpr int kErrors[] = {-EIO, -ENOSPC, -EAGAIN, -EINVAL};
        faulty_->fail_next(BlockOp{static_cast<std::uint8_t>(input.below(5))}, input.pick(kErrors),
                           1 + input.below(4));
      }
      return;
    case 12:
      if (faulty_) {
        if (input.chance(2))
          faulty_->hold();
        else
          faulty_->release(1 + input.below(4));
      }
      return;
    case 13: {
      const unsigned long call = input.pick(kVhostCalls);
      const int error = input.chance(3) ? 0 : ENOMEM;
      if (vhost_net_) vhost_net_->refuse(call, error);
      if (vhost_vsock_) vhost_vsock_->refuse(call, error);
      return;
    }
    case 14:
      if (nic_) {
        static constexpr int kErrors[] = {0, EIO, EBADFD, EINVAL, ENOBUFS};
        nic_->fail_with(input.pick(kErrors));
        nic_->refuse_settings(input.chance(2));
      }
      if (input.chance(4)) stream_.reset();
      return;
    default: {
      window_->set_size(input.u8(), input.u8());
      const auto bytes = std::as_bytes(input.bytes(input.below(32)));
      (void)machine_->serial_input(bytes);
      if (input.chance(4)) (void)machine_->press_power_button();
      std::array<std::byte, 4096> drain{};
      if (nic_) (void)nic_->get(drain);
      if (stream_.valid()) (void)::recv(stream_.get(), drain.data(), drain.size(), 0);
      for (const UniqueFd& peer : peers_) (void)::recv(peer.get(), drain.data(), drain.size(), 0);
      return;
    }
  }
}

void World::calm() {
  vm().refuse_next(0, 0);
  vm().set_max_ioeventfds(SIZE_MAX);
  if (faulty_) {
    faulty_->release_all();
    faulty_->fail_no_more();
  }
  if (nic_) {
    nic_->fail_with(0);
    nic_->refuse_settings(false);
  }
  for (const unsigned long call : kVhostCalls) {
    if (vhost_net_) vhost_net_->refuse(call, 0);
    if (vhost_vsock_) vhost_vsock_->refuse(call, 0);
  }
  back_end_.be_hostile({});
}

}  // namespace bellhop::fuzz

#include "bench/blk/inprocess_runner.h"

#include <fmt/format.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <vector>

#include "base/thread.h"
#include "bench/harness/bench_image.h"
#include "bench/harness/busy_load.h"
#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "guest/pattern.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"
#include "virtio/device/notify_tuner.h"
#include "virtio/ring/driver_ring.h"

namespace bellhop::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kQueueSize = 256;
constexpr GuestAddress kRing{0x10000};
constexpr std::uint64_t kHeaders = 0x400000;
constexpr std::uint64_t kStatuses = 0x500000;
constexpr std::uint64_t kData = 0x800000;
constexpr std::size_t kReadBack = 512;
constexpr std::uint64_t kGeneration = pattern::kFirstGeneration + 1;
constexpr int kPatienceMs = 10'000;

double clock_s(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The device's side, ready to be kicked.
struct Engine {
  static Result<std::unique_ptr<Engine>> create(const BlkSetting& setting, const BlkCell& cell,
                                                const CpuList& cpus, int image);

  std::optional<GuestMemory> memory;
  std::unique_ptr<IoThread> thread;
  std::unique_ptr<InProcessDevice> device;
  std::optional<DriverRing> driver;
  std::unique_ptr<NotifyTuner> tuner;  ///< where the device is adaptive
  std::uint64_t capacity = 0;          ///< bytes
};

Result<std::unique_ptr<Engine>> Engine::create(const BlkSetting& setting, const BlkCell& cell,
                                               const CpuList& cpus, int image) {
  auto engine = std::make_unique<Engine>();
  const std::uint64_t ram = kData + std::uint64_t{kQueueSize} * setting.block_bytes;
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), ram}};
  auto memory = GuestMemory::create(regions);
  if (!memory) return forward(memory);
  engine->memory.emplace(std::move(*memory));
  auto thread = IoThread::start({.name = "io0", .cpus = cpus});
  if (!thread) return forward(thread);
  engine->thread = std::move(*thread);
  auto file = open_raw_file({.path = fmt::format("/proc/self/fd/{}", image),
                             .read_only = false,
                             .cache = setting.cache,
                             .aio = setting.aio});
  if (!file) return forward(file);
  engine->capacity = (*file)->limits().capacity;
  const std::uint64_t packed =
      cell.ring == RingLayout::kPacked ? virtio::feature_mask(virtio::kFeatureRingPacked) : 0;
  auto device = InProcessDevice::create(
      std::make_unique<BlkDevice>(std::move(*file), BlkOptions{.queue_size = kQueueSize}),
      {.memory = &*engine->memory,
       .threads = {engine->thread.get()},
       .notify = cell.notify,
       .optimize = setting.optimize,
       .ring_features = packed});
  if (!device) return forward(device);
  engine->device = std::move(*device);
  const std::uint64_t features = virtio::kRingFeatures | packed;
  auto driver = DriverRing::create(*engine->memory, kRing, kQueueSize,
                                   InProcessDevice::ring_features(features));
  if (!driver) return forward(driver);
  engine->driver.emplace(std::move(*driver));
  const QueueConfig config = engine->driver->config();
  if (auto started = engine->device->start(features, {&config, 1}); !started) {
    return forward(started);
  }
  if (cell.notify == NotifyMode::kAdaptive) {
    auto tuner = NotifyTuner::create();
    if (!tuner) return forward(tuner);
    engine->tuner = std::move(*tuner);
    engine->tuner->add(engine->device->life());
  }
  return engine;
}

/// The guest's side: one thread's worth of it.
class Load {
 public:
  Load(Engine& engine, const BlkCell& cell, const BlkSetting& setting, int image)
      : engine_(engine),
        driver_(*engine.driver),
        cell_(cell),
        block_bytes_(setting.block_bytes),
        image_(image),
        blocks_(engine.capacity / setting.block_bytes),
        slots_(cell.threads),
        slot_of_head_(kQueueSize) {}

  /// Runs for `warmup_s`, then measures for `seconds`, then waits for what is in flight.
  Result<Measurement> run(double warmup_s, double seconds, const EventFd& interrupt);

 private:
  struct Slot {
    std::uint64_t offset = 0;
    Clock::time_point start;
  };

  [[nodiscard]] bool writes() const {
    return cell_.workload == Workload::kCreate || cell_.workload == Workload::kRandWrite;
  }
  std::uint64_t next_offset();
  void issue(std::size_t index);
  Status finish(std::size_t index, Clock::time_point now);
  void kick();
  Status wait(const EventFd& interrupt);
  Status read_back();

  Engine& engine_;
  DriverRing& driver_;
  const BlkCell& cell_;
  std::uint32_t block_bytes_;
  int image_;
  std::uint64_t blocks_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> slot_of_head_;
  std::uint64_t issued_ = 0;
  std::uint64_t in_flight_ = 0;
  std::uint64_t finished_ = 0;
  std::vector<std::uint32_t> latencies_ns_;
  std::vector<std::uint64_t> written_;
  alignas(16) std::array<std::byte, pattern::kBlockBytes> block_{};
};

std::uint64_t Load::next_offset() {
  const std::uint64_t n = issued_++;
  const bool random =
      cell_.workload == Workload::kRandRead || cell_.workload == Workload::kRandWrite;
  return (random ? pattern::mix(n + 1) : n) % blocks_ * block_bytes_;
}

void Load::issue(std::size_t index) {
  Slot& slot = slots_[index];
  slot.offset = next_offset();
  const GuestAddress header_at(kHeaders + index * sizeof(virtio::BlkRequestHeader));
  const GuestAddress data_at(kData + index * block_bytes_);
  const GuestAddress status_at(kStatuses + index);
  virtio::BlkRequestHeader header{};
  header.type = writes() ? virtio::kBlkTypeOut : virtio::kBlkTypeIn;
  header.sector = slot.offset / 512;
  (void)engine_.memory->write(header_at, std::as_bytes(std::span(&header, 1)));
  for (std::uint32_t at = 0; writes() && at < block_bytes_; at += pattern::kBlockBytes) {
    pattern::fill_block(block_.data(), (slot.offset + at) / pattern::kBlockBytes, kGeneration,
                        kImageSeed);
    (void)engine_.memory->write(GuestAddress(data_at.value() + at), block_);
  }
  const std::array untouched{std::byte{0xff}};
  (void)engine_.memory->write(status_at, untouched);
  slot.start = Clock::now();
  const auto head = driver_.add({{header_at, sizeof header, false},
                                 {data_at, block_bytes_, !writes()},
                                 {status_at, 1, true}});
  slot_of_head_[head.value_or(0)] = index;  // a ring of 256 has room for every thread
  ++in_flight_;
}

Status Load::finish(std::size_t index, Clock::time_point now) {
  const Slot& slot = slots_[index];
  --in_flight_;
  std::array<std::byte, 1> status{};
  (void)engine_.memory->read(GuestAddress(kStatuses + index), status);
  if (status[0] != std::byte{virtio::kBlkStatusOk}) {
    return fail(fmt::format("the request at {} failed: no figure", slot.offset));
  }
  for (std::uint32_t at = 0; !writes() && at < block_bytes_; at += pattern::kBlockBytes) {
    (void)engine_.memory->read(GuestAddress(kData + index * block_bytes_ + at), block_);
    std::uint64_t generation = 0;
    if (!pattern::check_block(block_.data(), (slot.offset + at) / pattern::kBlockBytes, kImageSeed,
                              &generation)) {
      return fail(fmt::format("wrong data at {}: no figure", slot.offset + at));
    }
  }
  if (writes() && written_.size() < kReadBack) written_.push_back(slot.offset);
  ++finished_;
  latencies_ns_.push_back(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - slot.start).count()));
  return {};
}

void Load::kick() { engine_.device->kick(0); }

Status Load::wait(const EventFd& interrupt) {
  pollfd fds[2] = {{engine_.device->call(0).get(), POLLIN, 0}, {interrupt.get(), POLLIN, 0}};
  const int ready = ::poll(fds, 2, kPatienceMs);
  if (fds[1].revents != 0) return fail("interrupted", kEndedByUser);
  if (ready == 0) return fail("requests in flight were not answered", ETIMEDOUT);
  (void)engine_.device->call(0).consume();
  return {};
}

Status Load::read_back() {
  for (const std::uint64_t offset : written_) {
    std::uint64_t generation = 0;
    const ssize_t got = ::pread(image_, block_.data(), block_.size(), static_cast<off_t>(offset));
    if (got != static_cast<ssize_t>(block_.size()) ||
        !pattern::check_block(block_.data(), offset / pattern::kBlockBytes, kImageSeed,
                              &generation)) {
      return fail(fmt::format("wrong data at {}: no figure", offset));
    }
  }
  return {};
}

Result<Measurement> Load::run(double warmup_s, double seconds, const EventFd& interrupt) {
  const auto span = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  struct Mark {
    Clock::time_point time;
    double process_s, thread_s;
    std::uint64_t kicks, spurious, calls;
  };
  const auto mark = [this] {
    const QueueCounters& c = engine_.device->life().counters(0);
    return Mark{Clock::now(),
                clock_s(CLOCK_PROCESS_CPUTIME_ID),
                clock_s(CLOCK_THREAD_CPUTIME_ID),
                c.kicks.get(),
                c.spurious_kicks.get(),
                c.interrupts.get()};
  };
  Clock::time_point limit = Clock::now() + span(warmup_s);
  std::optional<Mark> begin;
  std::optional<Mark> end;
  std::uint64_t operations = 0;
  latencies_ns_.reserve(1 << 20);
  for (std::size_t i = 0; i < slots_.size(); ++i) issue(i);
  if (driver_.offer()) kick();
  while (in_flight_ > 0) {
    const Clock::time_point now = Clock::now();
    if (!end && now >= limit) {
      if (!begin) {
        finished_ = 0;
        latencies_ns_.clear();
        begin = mark();
        limit = begin->time + span(seconds);
      } else {
        end = mark();
        operations = finished_;
      }
    }
    driver_.suppress_interrupts();
    bool some = false;
    while (const auto used = driver_.reap()) {
      some = true;
      const std::size_t index = slot_of_head_[used->id % kQueueSize];
      if (auto good = finish(index, Clock::now()); !good) return forward(good);
      if (!end) issue(index);
    }
    if (driver_.offer()) kick();
    if (!some && in_flight_ > 0 && !driver_.enable_interrupts()) {
      if (auto waited = wait(interrupt); !waited) return forward(waited);
    }
  }
  if (auto same = read_back(); !same) return forward(same);
  if (!begin || !end || operations == 0) return fail("nothing was done in the measured time");

  Measurement m;
  m.seconds = std::chrono::duration<double>(end->time - begin->time).count();
  m.operations = operations;
  m.bytes = operations * block_bytes_;
  m.host_cpu_s = end->process_s - begin->process_s;
  m.vcpu_cpu_s = end->thread_s - begin->thread_s;
  m.io_cpu_s = std::max(0.0, m.host_cpu_s - m.vcpu_cpu_s);
  m.counters.kicks = end->kicks - begin->kicks;
  m.counters.spurious_kicks = end->spurious - begin->spurious;
  m.counters.interrupts = end->calls - begin->calls;
  std::ranges::sort(latencies_ns_);
  const auto percentile = [this](double part) {
    const auto last = static_cast<double>(latencies_ns_.size() - 1);
    return latencies_ns_[static_cast<std::size_t>(part * last)] * 1e-3;
  };
  m.latency = {percentile(0.5), percentile(0.99), percentile(0.999), percentile(1)};
  return m;
}

}  // namespace

Result<Measurement> InprocessRunner::run(const BlkCell& cell, const CpuPlan& plan,
                                         int image) const {
  if (cell.vcpus != 1) return fail("--host inprocess has one driver thread: leave out --vcpus");
  const auto load = BusyLoad::start(plan.busy_processes);
  if (!load) return forward(load);
  auto engine = Engine::create(setting_, cell, plan.io, image);
  if (!engine) return forward(engine);
  Result<Measurement> result;
  // A thread of its own, so that pinning it changes nobody else.
  const Status ran = run_on_thread(ThreadKind::kOther, "the driver", [&] {
    if (auto pinned = pin_this_thread(plan.vcpus.empty() ? CpuList{} : plan.vcpus.front());
        !pinned) {
      result = forward(pinned);
      return;
    }
    result = Load(**engine, cell, setting_, image).run(warmup_s_, setting_.seconds, interrupt_);
  });
  if (!ran) return forward(ran);
  return result;
}

}  // namespace bellhop::bench

#include "bench/blk/inprocess_runner.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>

#include "base/thread.h"
#include "bench/blk/driver_load.h"
#include "bench/harness/busy_load.h"
#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/ring.h"
#include "virtio/device/notify_tuner.h"
#include "virtio/ring/driver_ring.h"

namespace bellhop::bench {

namespace {

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
  const std::array regions{
      GuestMemory::RegionSpec{GuestAddress(0), DriverLoad::memory_bytes(setting.block_bytes)}};
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
  const std::uint64_t more = features_of(cell.ring);
  auto device = InProcessDevice::create(
      std::make_unique<BlkDevice>(std::move(*file),
                                  BlkOptions{.queue_size = DriverLoad::kQueueSize}),
      {.memory = &*engine->memory,
       .threads = {engine->thread.get()},
       .notify = cell.notify,
       .optimize = setting.optimize,
       .ring_features = more});
  if (!device) return forward(device);
  engine->device = std::move(*device);
  const std::uint64_t features = virtio::kRingFeatures | more;
  auto driver = DriverRing::create(*engine->memory, DriverLoad::kRing, DriverLoad::kQueueSize,
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
    const DrivenDisk disk{*(*engine)->memory, *(*engine)->device, *(*engine)->driver,
                          (*engine)->capacity};
    result = DriverLoad(disk,
                        {.workload = cell.workload,
                         .depth = cell.threads,
                         .block_bytes = setting_.block_bytes,
                         .image = image},
                        interrupt_)
                 .run(warmup_s_, setting_.seconds);
  });
  if (!ran) return forward(ran);
  return result;
}

}  // namespace bellhop::bench

// The engine alone: a driver in this process, virtio-blk, a medium that completes at once. No VM
// exit, no kernel: what one request costs in the rings, the runner and the device.

#include <benchmark/benchmark.h>

#include "block/raw_file.h"
#include "devices/blk/blk_device.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::must;

constexpr std::uint16_t kQueueSize = 128;
constexpr GuestAddress kRing{0x10000};
constexpr std::uint64_t kHeaders = 0x400000;
constexpr std::uint64_t kStatus = 0x500000;
constexpr std::uint64_t kData = 0x800000;

/// kSync, so that a kick drains on this very thread and its CPU time is all that is measured.
void run(benchmark::State& state, unsigned depth, RingFeatures features, bool traced) {
  const GuestMemory memory = testing::make_memory();
  FakeDriver driver(memory, kRing, kQueueSize, features);
  // epoll: valgrind, which counts the instructions here, stops at io_uring's waits.
  auto thread = must(IoThread::start({.name = "io0", .cpus = {}, .prefer_epoll = true}));
  const auto host = must(
      InProcessDevice::create(std::make_unique<BlkDevice>(make_null_backend(std::uint64_t{1} << 30),
                                                          BlkOptions{.queue_size = kQueueSize}),
                              {.memory = &memory,
                               .threads = {thread.get()},
                               .notify = NotifyMode::kSync,
                               .ring_features = virtio::feature_mask(virtio::kFeatureRingPacked)}));
  if (traced) host->life().trace_requests();
  const QueueConfig config = driver.config();
  std::uint64_t negotiated = virtio::kRingFeatures;
  if (!features.indirect) negotiated &= ~virtio::feature_mask(virtio::kFeatureIndirectDesc);
  if (features.packed) negotiated |= virtio::feature_mask(virtio::kFeatureRingPacked);
  must(host->start(negotiated, {&config, 1}));

  for (unsigned i = 0; i < depth; ++i) {
    virtio::BlkRequestHeader header{};
    header.type = virtio::kBlkTypeIn;
    header.sector = i * 8;
    (void)memory.write(GuestAddress(kHeaders + i * 16), std::as_bytes(std::span(&header, 1)));
  }
  std::uint64_t requests = 0;
  for (auto _ : state) {
    for (unsigned i = 0; i < depth; ++i) {
      (void)driver.add({{GuestAddress(kHeaders + i * 16), 16, false},
                        {GuestAddress(kData + std::uint64_t{i} * 4096), 4096, true},
                        {GuestAddress(kStatus + i), 1, true}});
    }
    if (driver.offer()) host->kick(0);
    while (driver.reap()) ++requests;
    driver.suppress_interrupts();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(requests));
  state.counters["cpu_per_request"] = benchmark::Counter(
      static_cast<double>(requests), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void request_cpu(benchmark::State& state) {
  run(state, static_cast<unsigned>(state.range(0)),
      {.indirect = state.range(1) != 0, .event_idx = true, .packed = state.range(2) != 0}, false);
}

/// With the stamps of `bellhop explain`.
void traced_request_cpu(benchmark::State& state) {
  run(state, static_cast<unsigned>(state.range(0)), {.indirect = true, .event_idx = true}, true);
}

BENCHMARK(request_cpu)
    ->ArgNames({"depth", "indirect", "packed"})
    ->ArgsProduct({{1, 32}, {0, 1}, {0, 1}});
BENCHMARK(traced_request_cpu)->ArgName("at_once")->Arg(1)->Arg(32);

}  // namespace
}  // namespace bellhop

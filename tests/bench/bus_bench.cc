// What a register access costs before it reaches its device: part of every synchronous
// notification.
#include <benchmark/benchmark.h>

#include <array>

#include "bus/bus.h"

namespace bellhop {
namespace {

class Sink : public BusDevice {
 public:
  void read(std::uint64_t, std::span<std::byte> data) noexcept override {
    benchmark::DoNotOptimize(data.data());
  }
  void write(std::uint64_t offset, std::span<const std::byte>) noexcept override {
    benchmark::DoNotOptimize(offset);
  }
};

void bus_write(benchmark::State& state) {
  Bus bus("mmio");
  Sink sink;
  const auto ranges = static_cast<std::uint64_t>(state.range(0));
  for (std::uint64_t i = 0; i < ranges; ++i) {
    if (!bus.insert(i * 0x10000, 0x4000, sink)) state.SkipWithError("no room on the bus");
  }
  const std::array<std::byte, 2> data{};
  std::uint64_t address = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(bus.write(address * 0x10000 + 0x3000, data));
    address = (address + 7) % ranges;
  }
}
BENCHMARK(bus_write)->Arg(1)->Arg(8)->Arg(64);

}  // namespace
}  // namespace bellhop

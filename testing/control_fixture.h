#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "control/machine_control.h"
#include "machine/address_map.h"
#include "testing/elf_builder.h"
#include "testing/eventually.h"
#include "testing/fake_hypervisor.h"
#include "testing/test_memory.h"

namespace bellhop::testing {

inline void expect_error(const Result<control::Answer>& answer, int code, const char* text) {
  ASSERT_FALSE(answer) << text;
  EXPECT_EQ(answer.error().code, code) << answer.error().message;
  EXPECT_THAT(answer.error().message, ::testing::HasSubstr(text));
}

/// A machine with a disk and a balloon, whose guest the test plays, and its control.
struct ControlledMachine {
  static constexpr std::uint64_t kDiskBytes = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kMemory = std::uint64_t{16} << 20;

  explicit ControlledMachine(const std::function<void(MachineConfig&)>& change =
                                 [](MachineConfig&) {}) {
    const auto elf = ElfBuilder::tiny_kernel();
    if (::write(kernel.get(), elf.data(), elf.size()) != static_cast<ssize_t>(elf.size()) ||
        ::ftruncate(image.get(), kDiskBytes) != 0) {
      std::abort();
    }
    config.kernel = "/proc/self/fd/" + std::to_string(kernel.get());
    config.memory = kMemory;
    DiskConfig disk;
    disk.id = "disk0";
    disk.source = RawFileSource{.path = "/proc/self/fd/" + std::to_string(image.get()),
                                .locking = Locking::kOff};
    config.disks.push_back(disk);
    DiskConfig null;
    null.id = "null0";
    null.source = NullSource{kDiskBytes};
    config.disks.push_back(null);
    BalloonSettings balloon;
    balloon.id = "balloon0";
    config.balloons.push_back(balloon);
    change(config);
    control = must(control::MachineControl::create());
    MachineHooks hooks;
    hooks.serial_output = [](std::span<const std::byte>) { return true; };
    hooks.marker = [this](std::uint32_t, const MachineCounters&) { on_marker(); };
    hooks.ended = [this] { control->machine_has_news(); };
    hooks.let_go = hooks.ended;
    machine = must(Machine::create(config, hypervisor, std::move(hooks)));
    control->connect({.machine = machine.get(),
                      .config = &config,
                      .stop = [this] { machine->stop(); },
                      .stopping = [this] { return stopping.load(); }});
  }
  ~ControlledMachine() {
    machine->stop();
    finish();
  }

  /// Has the machine's loop run, on a thread of its own.
  void run() {
    owner = std::thread([this] { end = control->run(); });
  }
  /// Until the machine has come to its end.
  void finish() {
    if (owner.joinable()) owner.join();
  }
  /// Waits for the answer.
  Result<control::Answer> ask(control::Command command) {
    std::promise<Result<control::Answer>> promise;
    auto answer = promise.get_future();
    control->submit(std::move(command), [&promise](Result<control::Answer> done) {
      promise.set_value(std::move(done));
    });
    if (answer.wait_for(kPatience) != std::future_status::ready) std::abort();
    return answer.get();
  }
  control::MachineState state() {
    return std::get<control::MachineInfo>(*ask(control::GetInfo{})).state;
  }
  FakeVcpu& vcpu() { return *hypervisor.vm()->vcpu(0); }
  /// The guest writes to a port.
  static FakeVcpu::ScriptedExit out(std::uint64_t port, std::uint32_t value) {
    std::vector<std::byte> bytes(4);
    for (unsigned i = 0; i < 4; ++i) bytes[i] = static_cast<std::byte>(value >> 8 * i);
    return {.reason = VcpuExit::Reason::kPioOut, .address = port, .data = std::move(bytes)};
  }
  static FakeVcpu::ScriptedExit triple_fault() {
    return {.reason = VcpuExit::Reason::kShutdown, .address = 0, .data = {}};
  }
  /// Something that keeps the vCPU, and so a pause, busy: see on_marker.
  static FakeVcpu::ScriptedExit marker() { return out(kDebugExitPorts.address + 4, 1); }

  UniqueFd kernel{::memfd_create("kernel", MFD_CLOEXEC)};
  UniqueFd image{::memfd_create("image", MFD_CLOEXEC)};
  MachineConfig config;
  FakeHypervisor hypervisor;
  std::function<void()> on_marker = [] {};
  std::atomic<bool> stopping{false};
  std::unique_ptr<control::MachineControl> control;
  std::unique_ptr<Machine> machine;
  std::thread owner;
  std::optional<Result<MachineEnd>> end;
};

}  // namespace bellhop::testing

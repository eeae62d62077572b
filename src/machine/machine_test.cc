#include "machine/machine.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "machine/address_map.h"
#include "testing/elf_builder.h"
#include "testing/eventually.h"
#include "testing/fake_hypervisor.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::must;
using Reason = VcpuExit::Reason;

constexpr unsigned kCpus = 4;

/// A machine without a guest: the test makes its vCPUs' exits.
class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    const auto kernel = ElfBuilder::tiny_kernel();
    EXPECT_EQ(::write(kernel_.get(), kernel.data(), kernel.size()),
              static_cast<ssize_t>(kernel.size()));
    config_.kernel = fmt::format("/proc/self/fd/{}", kernel_.get());
  }

  void make() {
    MachineHooks hooks;
    hooks.serial_output = [](std::span<const std::byte>) { return true; };
    hooks.marker = [this](std::uint32_t value, const MachineCounters& counters) {
      exits_at_marker_ = counters.userspace_exits;
      marker_ = value;
      if (on_marker_) on_marker_(value);
    };
    machine_ = must(Machine::create(config_, hypervisor_, std::move(hooks)));
  }
  FakeVcpu& vcpu(unsigned index) { return *hypervisor_.vm()->vcpu(index); }
  static FakeVcpu::ScriptedExit shutdown() {
    return {.reason = Reason::kShutdown, .address = 0, .data = {}};
  }
  static FakeVcpu::ScriptedExit out(std::uint64_t port, std::uint32_t value) {
    std::vector<std::byte> bytes(4);
    for (unsigned i = 0; i < 4; ++i) bytes[i] = static_cast<std::byte>(value >> 8 * i);
    return {.reason = Reason::kPioOut, .address = port, .data = std::move(bytes)};
  }

  UniqueFd kernel_{::memfd_create("kernel", MFD_CLOEXEC)};
  MachineConfig config_ = [] {
    MachineConfig config;
    config.cpus = kCpus;
    config.memory = std::uint64_t{8} << 20;
    return config;
  }();
  FakeHypervisor hypervisor_;
  std::unique_ptr<Machine> machine_;
  std::function<void(std::uint32_t)> on_marker_;
  std::atomic<std::uint32_t> marker_{0};
  std::atomic<std::uint64_t> exits_at_marker_{0};
};

// Each vCPU that ends asks all the others to pause: none may be gone by then. Without a pause of
// all first, vCPU 0 would be gone when vCPU 2 ends, and vCPU 1 be waited for.
TEST_F(MachineTest, MayBeDestroyedWhileItsCpusRunAndEnd) {
  make();
  std::atomic<int> there{0};
  on_marker_ = [&there](std::uint32_t milliseconds) {
    ++there;
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  };
  must(machine_->start());
  vcpu(1).push_exit(out(kDebugExitPorts.address + 4, 100));
  vcpu(2).push_exit(out(kDebugExitPorts.address + 4, 50));
  vcpu(2).push_exit(shutdown());
  ASSERT_TRUE(eventually([&there] { return there == 2; }));
  machine_.reset();
}

TEST_F(MachineTest, MayBeDestroyedBeforeItStartsAndAfterItsEnd) {
  make();
  machine_.reset();
  make();
  must(machine_->start());
  vcpu(1).push_exit(out(kDebugExitPorts.address, 7));
  const MachineEnd end = machine_->wait();
  EXPECT_EQ(end.kind, MachineEnd::Kind::kExitPort);
  EXPECT_EQ(end.code, 7U);
  machine_.reset();
}

TEST_F(MachineTest, HaltPollingIsTheHostsUnlessAskedFor) {
  make();
  EXPECT_FALSE(hypervisor_.vm()->halt_poll());
  machine_.reset();
  config_.halt_poll = std::chrono::nanoseconds(0);
  make();
  EXPECT_EQ(hypervisor_.vm()->halt_poll(), std::chrono::nanoseconds(0));
}

TEST_F(MachineTest, SaysWhereItsThreadsMayRun) {
  const CpuList all = allowed_cpus();
  config_.vcpu_affinity = {{all.back()}};
  make();
  std::vector<ThreadPlacement> threads = machine_->placement();
  ASSERT_EQ(threads.size(), kCpus + 1);
  EXPECT_EQ(threads[0].name, "vcpu0");
  EXPECT_EQ(threads[0].cpus, CpuList{all.back()});
  EXPECT_TRUE(threads[0].given);
  EXPECT_EQ(threads[1].cpus, all);
  EXPECT_FALSE(threads[1].given);
  EXPECT_EQ(threads[kCpus].name, "io0");
  EXPECT_EQ(threads[kCpus].cpus, all);
  EXPECT_FALSE(threads[kCpus].given);
  ASSERT_TRUE(machine_->pin_thread("io0", {all.front()}));
  ASSERT_TRUE(machine_->pin_thread("vcpu1", {all.front()}));
  threads = machine_->placement();
  EXPECT_EQ(threads[kCpus].cpus, CpuList{all.front()});
  EXPECT_TRUE(threads[kCpus].given);
  EXPECT_EQ(threads[1].cpus, CpuList{all.front()});
  EXPECT_TRUE(threads[1].given);
}

TEST_F(MachineTest, AMarkerComesWithWhatWasCountedByThen) {
  make();
  must(machine_->start());
  vcpu(0).push_exit(out(kDebugExitPorts.address + 4, 42));
  ASSERT_TRUE(eventually([this] { return marker_ == 42; }));
  EXPECT_EQ(exits_at_marker_, 1U);
}

// Who stops a machine does not want it started again, whatever its guest asked for first.
TEST_F(MachineTest, AStopOutweighsTheResetBeforeIt) {
  make();
  must(machine_->start());
  vcpu(0).push_exit(shutdown());
  EXPECT_EQ(machine_->wait().kind, MachineEnd::Kind::kTripleFault);
  machine_->stop();
  must(machine_->reset());
  EXPECT_EQ(machine_->wait().kind, MachineEnd::Kind::kStopped);
}

TEST_F(MachineTest, AResetRunsEveryCpuAgain) {
  make();
  must(machine_->start());
  vcpu(2).push_exit(shutdown());
  EXPECT_EQ(machine_->wait().kind, MachineEnd::Kind::kTripleFault);
  must(machine_->reset());
  EXPECT_FALSE(machine_->ended());
  for (unsigned i = 0; i < kCpus; ++i) {
    EXPECT_EQ(vcpu(i).resets(), 1U) << i;
    (void)vcpu(i).perform(out(kDebugExitPorts.address + 4, i + 1));
    EXPECT_EQ(marker_, i + 1);
  }
}

}  // namespace
}  // namespace bellhop

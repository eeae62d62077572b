// Whole machines over the host's KVM, with the bench guest driving real queues.

#include <dirent.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "machine/machine.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using nlohmann::json;
using testing::must;

/// An empty file that is gone with the test.
class ScratchFile {
 public:
  explicit ScratchFile(std::uint64_t bytes) {
    std::string name = std::filesystem::temp_directory_path() / "bellhop-test-XXXXXX";
    fd_ = UniqueFd(::mkstemp(name.data()));
    path_ = name;
    if (!fd_.valid() || ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) std::abort();
  }
  ~ScratchFile() { ::unlink(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  UniqueFd fd_;
  std::string path_;
};

std::size_t open_fds() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

struct Variant {
  NotifyMode notify;
  TransportKind transport;
};

class MachineTest : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    auto kvm = open_kvm();
    if (!kvm) GTEST_SKIP() << kvm.error().message;
    hypervisor = std::move(*kvm);
    config.kernel = BELLHOP_BENCH_GUEST;
    config.memory = std::uint64_t{256} << 20;
    config.transport = GetParam().transport;
    config.iothreads = {{}};
    add_disk();
  }
  void add_disk() { add_disk(file); }
  void add_disk(const ScratchFile& image) {
    DiskConfig disk;
    disk.id = "disk" + std::to_string(config.disks.size());
    disk.source =
        RawFileSource{.path = image.path(), .cache = Cache::kWriteback, .aio = Aio::kIoUring};
    disk.notify = GetParam().notify;
    config.disks.push_back(disk);
  }
  std::unique_ptr<Machine> make(const std::string& cmdline) {
    config.cmdline = cmdline;
    return must(Machine::create(config, *hypervisor,
                                {.serial_output =
                                     [this](std::span<const std::byte> bytes) {
                                       const std::lock_guard<std::mutex> hold(mutex);
                                       output.append(reinterpret_cast<const char*>(bytes.data()),
                                                     bytes.size());
                                       return true;
                                     },
                                 .marker = nullptr,
                                 .host = {},
                                 .more_devices = {}}));
  }
  /// The guest's line of that kind; fails the test if there is none.
  json line(const std::string& event) {
    const std::lock_guard<std::mutex> hold(mutex);
    std::size_t at = 0;
    while (at < output.size()) {
      const std::size_t end = std::min(output.find('\n', at), output.size());
      json parsed = json::parse(output.substr(at, end - at), nullptr, false);
      if (parsed.is_object() && parsed.value("event", "") == event) return parsed;
      at = end + 1;
    }
    ADD_FAILURE() << "no '" << event << "' line in: " << output;
    return json::object();
  }
  void clear_output() {
    const std::lock_guard<std::mutex> hold(mutex);
    output.clear();
  }
  /// After hostile cases: every device worked again, and nobody else noticed.
  void expect_contained() {
    EXPECT_EQ(output.find("\"recovered\":false"), std::string::npos) << output;
    EXPECT_NE(output.find("\"recovered\":true"), std::string::npos) << output;
    EXPECT_EQ(output.find("\"bystander_undisturbed\":false"), std::string::npos) << output;
  }
  void expect_verified() {
    const json result = line("result");
    EXPECT_TRUE(result.value("verified", false)) << result.dump();
    EXPECT_EQ(result.value("wrong_blocks", 1), 0);
    EXPECT_GT(result.value("operations", 0), 0);
  }

  std::unique_ptr<Hypervisor> hypervisor;
  ScratchFile file{std::uint64_t{16} << 20};
  MachineConfig config;
  std::mutex mutex;
  std::string output;
};

TEST_P(MachineTest, GuestWritesAndReadsBack) {
  {
    auto machine = make("workload=prepare");
    must(machine->start());
    const MachineEnd end = machine->wait();
    EXPECT_EQ(end.kind, MachineEnd::Kind::kExitPort);
    EXPECT_EQ(end.code, 0U) << output;
  }
  output.clear();
  auto machine = make("workload=randread threads=16 seconds=0.3");
  must(machine->start());
  EXPECT_EQ(machine->wait().code, 0U);
  expect_verified();
  const MachineCounters counters = machine->counters();
  EXPECT_GT(counters.kicks, 0U);
  EXPECT_EQ(counters.bad_chains + counters.broken_queues, 0U);
}

TEST_P(MachineTest, TwoVcpusTwoQueues) {
  config.cpus = 2;
  config.disks[0].queues = 2;
  auto machine = make("workload=randwrite threads=8 seconds=0.3 vcpus=2 queues=2");
  must(machine->start());
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
  // The bench guest's mmio driver has one interrupt, hence one queue.
  EXPECT_EQ(line("result").value("queues", 0), GetParam().transport == TransportKind::kPci ? 2 : 1);
}

TEST_P(MachineTest, EachQueueOfADiskMayHaveAThreadOfItsOwn) {
  config.cpus = 2;
  config.iothreads = {{.name = "io0", .cpus = {}}, {.name = "io1", .cpus = {}}};
  config.disks[0].queues = 2;
  config.disks[0].iothread = "io0:io1";
  config.disks[0].rates.units = 1'000'000;  // what both keep to, together
  auto machine = make("workload=randwrite threads=8 seconds=0.3 vcpus=2 queues=2");
  must(machine->start());
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    machine->pause();
    machine->resume();
  }
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
}

// While requests are in flight in it, and, with two queues, while the other one goes on.
TEST_P(MachineTest, AQueueIsResetAgainAndAgainUnderLoad) {
  config.cpus = 2;
  config.disks[0].queues = 2;
  config.disks[0].queue_reset = true;
  config.disks[0].packed = true;
  config.disks[0].in_order = true;
  const auto run = [&](const std::string& words) {
    SCOPED_TRACE(words);
    clear_output();
    auto machine = make(words);
    must(machine->start());
    EXPECT_EQ(machine->wait().code, 0U) << output;
    EXPECT_EQ(machine->counters().bad_chains + machine->counters().broken_queues, 0U);
    expect_verified();
  };
  run("workload=prepare");
  for (const char* const ring :
       {"indirect", "packed", "direct event_idx=off in_order=on", "packed-direct in_order=on"}) {
    run(std::string("workload=randread threads=8 seconds=0.3 vcpus=2 queue_resets=50 ring=") +
        ring);
    EXPECT_EQ(line("result").value("queue_resets", 0), 50);
  }
  run("workload=randwrite threads=8 seconds=0.3 vcpus=2 queue_resets=50");
  EXPECT_EQ(line("result").value("queue_resets", 0), 50);
  config.disks[0].queue_reset = false;
  clear_output();
  auto refused = make("workload=randread queue_resets=1");
  must(refused->start());
  EXPECT_NE(refused->wait().code, 0U);
  EXPECT_NE(output.find("no reset of single queues is offered"), std::string::npos) << output;
}

TEST_P(MachineTest, PauseAndResumeUnderLoadLoseNothing) {
  auto machine = make("workload=randwrite threads=16 seconds=2");
  must(machine->start());
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    machine->pause();
    machine->resume();
  }
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
}

TEST_P(MachineTest, ResetUnderLoadStartsAnew) {
  auto machine = make("workload=randwrite threads=16 seconds=0.5");
  must(machine->start());
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60 * i));
    machine->pause();
    clear_output();
    must(machine->reset());
  }
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
}

TEST_P(MachineTest, StopEndsARunningGuestAndLeavesNoDescriptors) {
  const std::size_t before = open_fds();
  for (int i = 0; i < 5; ++i) {
    auto machine = make("workload=randwrite threads=16 seconds=100");
    must(machine->start());
    std::this_thread::sleep_for(std::chrono::milliseconds(40 * i));
    machine->stop();
    EXPECT_EQ(machine->wait().kind, MachineEnd::Kind::kStopped);
  }
  EXPECT_EQ(open_fds(), before);
}

TEST_P(MachineTest, MoreQueuesThanIoeventfdsFallBackAndWork) {
  // As on kernels before 2.6.34: six, two of which a vhost user is to have.
  config.max_ioeventfds = 6;
  config.reserved_ioeventfds = 2;
  config.cpus = 1;
  config.disks[0].queues = 8;
  auto machine = make("workload=randwrite threads=8 seconds=0.3 queues=1");
  must(machine->start());
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();

  config.max_ioeventfds = 2;  // none left: every queue is served synchronously, or polled
  output.clear();
  machine.reset();
  machine = make("workload=randwrite threads=8 seconds=0.3 queues=1");
  must(machine->start());
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
}

// Row 17: three vCPUs ring two queues, one of them without a pause and mostly for nothing, while
// the host pauses, resumes and resets the machine.
TEST_P(MachineTest, KickStormsOfSeveralVcpusDuringPausesAndResets) {
  config.cpus = 3;
  config.disks[0].queues = 2;
  auto machine = make("workload=randwrite threads=16 seconds=0.8 vcpus=3 queues=2 storm=on");
  must(machine->start());
  for (int life = 0; life < 4; ++life) {
    if (life != 0) {
      machine->pause();
      clear_output();
      must(machine->reset());
    }
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1 + 3 * i % 10));
      machine->pause();
      machine->resume();
    }
  }
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_verified();
  const json result = line("result");
  EXPECT_GT(result.value("storm_kicks", 0), 1000) << result.dump();
  const MachineCounters counters = machine->counters();
  EXPECT_GT(counters.spurious_kicks, 0U);
  EXPECT_EQ(counters.bad_chains + counters.broken_queues, 0U);
}

// The same from inside: one vCPU resets the device again and again while another one rings, and the
// host pauses both.
TEST_P(MachineTest, KickStormsDuringTheGuestsOwnResets) {
  const ScratchFile second(std::uint64_t{16} << 20);
  add_disk(second);
  config.cpus = 2;
  auto machine = make("hostile=kick-storm vcpus=2");
  must(machine->start());
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    machine->pause();
    machine->resume();
  }
  EXPECT_EQ(machine->wait().code, 0U) << output;
  expect_contained();
}

TEST_P(MachineTest, HostileDriversAreContained) {
  auto machine = make("hostile=all");
  must(machine->start());
  const MachineEnd end = machine->wait();
  EXPECT_EQ(end.kind, MachineEnd::Kind::kExitPort);
  EXPECT_EQ(end.code, 0U) << output;
  expect_contained();
}

// One driver is hostile, and another vCPU writes a second disk and reads it back all the while.
TEST_P(MachineTest, ABystanderIsServedWhileADriverIsHostile) {
  const ScratchFile second(std::uint64_t{16} << 20);
  add_disk(second);
  config.cpus = 2;
  auto machine = make("hostile=all vcpus=2 witness=on");
  must(machine->start());
  const MachineEnd end = machine->wait();
  EXPECT_EQ(end.kind, MachineEnd::Kind::kExitPort);
  EXPECT_EQ(end.code, 0U) << output;
  expect_contained();
  EXPECT_NE(output.find("\"bystander_undisturbed\":true"), std::string::npos) << output;
  const json result = line("result");
  EXPECT_GE(result.value("witness_operations", 0), 2 * result.value("tried", 0)) << result.dump();
}

INSTANTIATE_TEST_SUITE_P(Kvm, MachineTest,
                         ::testing::Values(Variant{NotifyMode::kIoEventFd, TransportKind::kPci},
                                           Variant{NotifyMode::kSync, TransportKind::kPci},
                                           Variant{NotifyMode::kPoll, TransportKind::kPci},
                                           Variant{NotifyMode::kAdaptive, TransportKind::kPci},
                                           Variant{NotifyMode::kIoEventFd, TransportKind::kMmio},
                                           Variant{NotifyMode::kSync, TransportKind::kMmio}),
                         [](const auto& which) {
                           return std::string(to_string(which.param.notify)) +
                                  (which.param.transport == TransportKind::kPci ? "_pci" : "_mmio");
                         });

}  // namespace
}  // namespace bellhop

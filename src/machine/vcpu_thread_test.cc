#include "machine/vcpu_thread.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "testing/eventually.h"
#include "testing/fake_hypervisor.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::must;
using Reason = VcpuExit::Reason;

constexpr std::uint16_t kPort = 0x80;

/// Counts what the guest writes; on demand a write lasts.
struct CountingPort final : BusDevice {
  void read(std::uint64_t, std::span<std::byte>) noexcept override {}
  void write(std::uint64_t, std::span<const std::byte>) noexcept override {
    ++begun;
    while (hold) std::this_thread::yield();
    ++writes;
  }
  std::atomic<bool> hold{false};
  std::atomic<unsigned> begun{0};
  std::atomic<unsigned> writes{0};
};

class VcpuThreadTest : public ::testing::Test {
 protected:
  VcpuThreadTest() {
    must(ports.insert(kPort, 1, port));
    thread = std::make_unique<VcpuThread>(
        must(vm->create_vcpu(0, 1)), 0, CpuList{},
        VcpuThread::Wiring{&ports, &memory, [this](Reason, const std::string&) { ++ends; }});
    vcpu = hypervisor.vm()->vcpu(0);
    must(thread->start());
  }
  void write_port() {
    vcpu->push_exit({.reason = Reason::kPioOut, .address = kPort, .data = {std::byte{1}}});
  }

  FakeHypervisor hypervisor;
  std::unique_ptr<Vm> vm = must(hypervisor.create_vm());
  Bus ports{"ports", 0xffff};
  Bus memory{"memory"};
  CountingPort port;
  std::atomic<unsigned> ends{0};
  FakeVcpu* vcpu = nullptr;
  std::unique_ptr<VcpuThread> thread;
};

TEST_F(VcpuThreadTest, RunsNothingBeforeItIsResumedAndNothingWhilePaused) {
  write_port();
  EXPECT_EQ(port.writes, 0U);
  thread->resume();
  ASSERT_TRUE(eventually([&] { return port.writes == 1; }));
  thread->request_pause();
  thread->wait_paused();
  write_port();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(port.writes, 1U);
  thread->resume();
  EXPECT_TRUE(eventually([&] { return port.writes == 2; }));
}

TEST_F(VcpuThreadTest, WhoHasWaitedFindsItStandingStill) {
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 50; ++i) write_port();
    const unsigned before = port.writes;
    thread->resume();
    ASSERT_TRUE(eventually([&] { return port.writes != before; }));
    for (int i = 0; i < 50; ++i) write_port();
    thread->request_pause();
    thread->wait_paused();
    const unsigned then = port.writes;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    ASSERT_EQ(port.writes, then) << "round " << round;
  }
}

// It has stood still before, which is no answer to who asks now.
TEST_F(VcpuThreadTest, APauseWaitsForTheAccessThatIsUnderWay) {
  port.hold = true;
  write_port();
  thread->resume();
  ASSERT_TRUE(eventually([&] { return port.begun == 1; }));
  thread->request_pause();
  std::atomic<bool> stands_still{false};
  std::thread waiter([&] {
    thread->wait_paused();
    stands_still = true;
  });
  EXPECT_FALSE(eventually([&] { return stands_still.load(); }, std::chrono::milliseconds(20)));
  port.hold = false;
  waiter.join();
  EXPECT_EQ(port.writes, 1U);
}

// Back to back: two who ask for a pause, and a kick from elsewhere, while it comes to a stop.
TEST_F(VcpuThreadTest, EveryPauseIsReachedHoweverManyAskForIt) {
  std::atomic<bool> done{false};
  std::thread kicker([&] {
    while (!done) {
      vcpu->kick();
      std::this_thread::yield();
    }
  });
  for (unsigned round = 1; round <= 2000; ++round) {
    write_port();
    thread->resume();
    std::thread other;
    if (round % 8 == 0) other = std::thread([&] { thread->request_pause(); });
    thread->request_pause();
    thread->request_pause();
    thread->wait_paused();
    if (other.joinable()) other.join();
  }
  done = true;
  kicker.join();
  // The kicks that were left over end nothing but a run.
  thread->resume();
  EXPECT_TRUE(eventually([&] { return port.writes == 2000; })) << port.writes;
  EXPECT_EQ(ends, 0U);
}

TEST_F(VcpuThreadTest, APauseOvertakenByAResumeIsNone) {
  for (unsigned round = 1; round <= 2000; ++round) {
    thread->request_pause();
    thread->resume();
    write_port();
    if (!eventually([&] { return port.writes == round; })) {
      FAIL() << "it stands still in round " << round;
    }
  }
}

TEST_F(VcpuThreadTest, EndsWhileTheGuestRunsAndWhileItIsPaused) {
  thread->resume();
  thread.reset();  // joins: a vCPU that is not woken hangs here
  VcpuThread paused(must(vm->create_vcpu(1, 2)), 1, {}, {&ports, &memory, {}});
  must(paused.start());
}

TEST_F(VcpuThreadTest, AnEndIsToldOnceAndItPausesByItself) {
  vcpu->push_exit({.reason = Reason::kShutdown, .address = 0, .data = {}});
  write_port();
  thread->resume();
  thread->wait_paused();
  ASSERT_TRUE(eventually([&] { return ends == 1; }));
  thread->wait_paused();
  EXPECT_EQ(port.writes, 0U) << "nothing runs after the end";
  thread->resume();
  EXPECT_TRUE(eventually([&] { return port.writes == 1; })) << "after a reset it goes on";
  EXPECT_EQ(ends, 1U);
}

}  // namespace
}  // namespace bellhop

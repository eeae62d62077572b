#include "machine/vcpu_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "testing/fake_hypervisor.h"

namespace bellhop {
namespace {

class VcpuThreadTest : public testing::Test {
 protected:
  VcpuThreadTest() {
    auto vcpu = std::make_unique<FakeVcpu>(0);
    vcpu_ = vcpu.get();
    thread_ = std::make_unique<VcpuThread>(
        std::move(vcpu), 0, CpuList{},
        VcpuThread::Wiring{.ports = &ports_,
                           .memory = &memory_,
                           .ended = [this](VcpuExit::Reason reason, std::string /*text*/) {
                             reason_ = reason;
                             ++ends_;
                           }});
  }

  Bus ports_{"I/O ports", 0xffff};
  Bus memory_{"memory"};
  std::atomic<VcpuExit::Reason> reason_{VcpuExit::Reason::kOther};
  std::atomic<unsigned> ends_{0};
  FakeVcpu* vcpu_ = nullptr;
  std::unique_ptr<VcpuThread> thread_;
};

// Each round ends with the thread paused. One more kick than pauses, or one fewer, would leave it
// running or never stop it.
TEST_F(VcpuThreadTest, KicksThatFollowOneAnotherStopItOnceEach) {
  ASSERT_TRUE(thread_->start());
  for (unsigned round = 0; round < 500; ++round) {
    thread_->resume();
    std::thread other([this] {
      for (unsigned i = 0; i < 3; ++i) thread_->request_pause();
    });
    for (unsigned i = 0; i < 3; ++i) thread_->request_pause();
    thread_->wait_paused();
    other.join();
    ASSERT_TRUE(thread_->vcpu().reset()) << "it stands still";
  }
  // None of them is owed any more: it runs until it is asked again.
  thread_->resume();
  const auto answered = vcpu_->perform(
      {.reason = VcpuExit::Reason::kPioOut, .address = 0x80, .data = {std::byte{1}}, .detail = 0});
  EXPECT_EQ(answered.size(), 1U);
  EXPECT_EQ(ends_, 0U);
}

TEST_F(VcpuThreadTest, GoesDuringKicks) {
  ASSERT_TRUE(thread_->start());
  thread_->resume();
  for (unsigned i = 0; i < 100; ++i) {
    thread_->request_pause();
    thread_->resume();
  }
  thread_->request_pause();
  thread_.reset();  // joins: a lost kick hangs here
}

TEST_F(VcpuThreadTest, AnExitThatEndsItIsToldOnce) {
  ASSERT_TRUE(thread_->start());
  thread_->resume();
  vcpu_->push_exit({.reason = VcpuExit::Reason::kShutdown, .address = 0, .data = {}, .detail = 0});
  while (ends_ == 0) std::this_thread::yield();
  thread_->request_pause();
  thread_->wait_paused();
  EXPECT_EQ(ends_, 1U);
  EXPECT_EQ(reason_, VcpuExit::Reason::kShutdown);
}

}  // namespace
}  // namespace bellhop

#include "testing/fake_hypervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace bellhop {
namespace {

using ::testing::ElementsAre;

class FakeVmTest : public ::testing::Test {
 protected:
  EventFd event() { return std::move(EventFd::create().value()); }
  FakeVm vm_;
};

TEST_F(FakeVmTest, IoeventfdMatchesLikeKvm) {
  const EventFd word = event();
  const EventFd one = event();
  const EventFd any = event();
  ASSERT_TRUE(vm_.attach_ioeventfd(word, {IoSpace::kMmio, 0x1000, 4, std::nullopt}));
  ASSERT_TRUE(vm_.attach_ioeventfd(one, {IoSpace::kMmio, 0x1000, 2, 1}));
  ASSERT_TRUE(vm_.attach_ioeventfd(any, {IoSpace::kPio, 0x1000, 0, std::nullopt}));
  EXPECT_TRUE(vm_.guest_write(IoSpace::kMmio, 0x1000, 77, 4));
  EXPECT_TRUE(vm_.guest_write(IoSpace::kMmio, 0x1000, 1, 2));
  EXPECT_FALSE(vm_.guest_write(IoSpace::kMmio, 0x1000, 2, 2));
  EXPECT_FALSE(vm_.guest_write(IoSpace::kMmio, 0x1000, 1, 1));
  EXPECT_FALSE(vm_.guest_write(IoSpace::kMmio, 0x1002, 1, 2));
  EXPECT_TRUE(vm_.guest_write(IoSpace::kPio, 0x1000, 9, 1));
  EXPECT_TRUE(vm_.guest_write(IoSpace::kPio, 0x1000, 9, 4));
  EXPECT_EQ(word.consume(), 1U);
  EXPECT_EQ(one.consume(), 1U);
  EXPECT_EQ(any.consume(), 2U);
}

TEST_F(FakeVmTest, IoeventfdCollisionsAndLimits) {
  const EventFd first = event();
  const EventFd second = event();
  vm_.set_max_ioeventfds(2);
  ASSERT_TRUE(vm_.attach_ioeventfd(first, {IoSpace::kMmio, 0x10, 2, 0}));
  EXPECT_EQ(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x10, 2, 0}).error().code, EEXIST);
  EXPECT_EQ(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x10, 0, {}}).error().code, EEXIST);
  EXPECT_EQ(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x10, 3, {}}).error().code, EINVAL);
  ASSERT_TRUE(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x10, 2, 1}));
  EXPECT_EQ(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x20, 2, {}}).error().code, ENOSPC);
  EXPECT_EQ(vm_.detach_ioeventfd(second, {IoSpace::kMmio, 0x10, 2, 0}).error().code, ENOENT);
  ASSERT_TRUE(vm_.detach_ioeventfd(first, {IoSpace::kMmio, 0x10, 2, 0}));
  EXPECT_TRUE(vm_.attach_ioeventfd(second, {IoSpace::kMmio, 0x20, 2, {}}));
  EXPECT_EQ(vm_.ioeventfds().size(), 2U);
}

TEST_F(FakeVmTest, IrqfdsFollowTheirRoutes) {
  const EventFd interrupt = event();
  const MsiMessage old_message{0xfee00000, 0x41};
  const MsiMessage new_message{0xfee01000, 0x42};
  const unsigned gsi = vm_.allocate_msi_route().value();
  EXPECT_GE(gsi, 24U);
  ASSERT_TRUE(vm_.set_msi_route(gsi, old_message));
  ASSERT_TRUE(vm_.attach_irqfd(interrupt, gsi));
  EXPECT_EQ(vm_.attach_irqfd(interrupt, gsi).error().code, EBUSY);
  interrupt.signal();
  ASSERT_TRUE(vm_.set_msi_route(gsi, new_message));
  interrupt.signal();
  interrupt.signal();
  EXPECT_EQ(vm_.deliver_interrupts(), 1U);
  EXPECT_THAT(vm_.delivered(), ElementsAre(old_message, new_message));
  ASSERT_TRUE(vm_.detach_irqfd(interrupt, gsi));
  interrupt.signal();
  EXPECT_EQ(vm_.deliver_interrupts(), 0U);
  EXPECT_EQ(interrupt.consume(), 1U) << "a detached irqfd is nobody's";
  vm_.free_msi_route(gsi);
  EXPECT_FALSE(vm_.set_msi_route(gsi, old_message));
  EXPECT_EQ(vm_.routes(), 0U);
}

TEST(FakeVcpuTest, ScriptedExitsAndKicks) {
  FakeHypervisor host;
  const auto vm = std::move(host.create_vm().value());
  const auto vcpu = std::move(vm->create_vcpu(0, 1).value());
  FakeVcpu& script = *host.vm()->vcpu(0);
  unsigned interrupted = 0;
  std::thread thread([&] {
    for (;;) {
      const auto exit = vcpu->run();
      if (exit->reason == VcpuExit::Reason::kInterrupted) ++interrupted;
      if (exit->reason == VcpuExit::Reason::kMmioRead) exit->data[0] = std::byte{42};
      if (exit->reason == VcpuExit::Reason::kShutdown) return;
    }
  });
  const auto answer =
      script.perform({VcpuExit::Reason::kMmioRead, 0x1000, std::vector<std::byte>(1), 0});
  EXPECT_THAT(answer, ElementsAre(std::byte{42}));
  vcpu->kick();
  // Kicks come first, so this ends the loop after the kick was seen.
  script.push_exit({VcpuExit::Reason::kShutdown, 0, {}, 0});
  thread.join();
  EXPECT_EQ(interrupted, 1U);
  EXPECT_EQ(vcpu->exits(), 2U);
}

}  // namespace
}  // namespace bellhop

#include "machine/vm_binder.h"

#include <gtest/gtest.h>

#include <vector>

#include "testing/fake_hypervisor.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::must;

IoEventMatch doorbell(std::uint64_t index) {
  return {.address = 0xe0003000 + 4 * index, .length = 0, .datamatch = std::nullopt};
}

IoEventMatch match_at(std::uint64_t address) {
  return {.space = IoSpace::kMmio, .address = address, .length = 0, .datamatch = std::nullopt};
}

struct Host {
  explicit Host(std::size_t room) {
    hypervisor.set_max_ioeventfds(room);
    vm = must(hypervisor.create_vm());
    for (int i = 0; i < 8; ++i) events.push_back(must(EventFd::create()));
  }
  unsigned attach_all(VmBinder& binder) {
    unsigned attached = 0;
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (binder.attach_doorbell(events[i], doorbell(i), Server::kDevice)) ++attached;
    }
    return attached;
  }
  FakeHypervisor hypervisor;
  std::unique_ptr<Vm> vm;
  std::vector<EventFd> events;
};

TEST(VmBinder, HostThatRefusesTheSeventh) {
  Host host(6);
  VmBinder binder(*host.vm, 0, 0);
  EXPECT_EQ(host.attach_all(binder), 6U);
  const auto refused = binder.attach_doorbell(host.events[7], doorbell(7), Server::kDevice);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ENOSPC);
  binder.detach_doorbell(host.events[0], doorbell(0));
  EXPECT_TRUE(binder.attach_doorbell(host.events[7], doorbell(7), Server::kDevice).has_value());
}

// Queues that share an address are told apart by the value that is written; 0 is one like others.
TEST(VmBinder, EachValueHasItsOwnDoorbell) {
  Host host(8);
  auto& vm = *host.hypervisor.vm();
  VmBinder binder(vm, 0, 0);
  const auto match = [](std::uint64_t value) {
    return IoEventMatch{.address = 0xd0000050, .length = 4, .datamatch = value};
  };
  for (std::uint64_t value = 0; value < 3; ++value) {
    ASSERT_TRUE(
        binder.attach_doorbell(host.events[value], match(value), Server::kDevice).has_value())
        << value;
  }
  for (const std::uint64_t value : {1U, 0U, 2U, 0U}) {
    EXPECT_TRUE(vm.guest_write(IoSpace::kMmio, 0xd0000050, value, 4)) << value;
  }
  EXPECT_FALSE(vm.guest_write(IoSpace::kMmio, 0xd0000050, 3, 4)) << "nobody's";
  EXPECT_EQ(host.events[0].consume(), 2U);
  EXPECT_EQ(host.events[1].consume(), 1U);
  EXPECT_EQ(host.events[2].consume(), 1U);
  binder.detach_doorbell(host.events[0], match(0));
  EXPECT_FALSE(vm.guest_write(IoSpace::kMmio, 0xd0000050, 0, 4));
  EXPECT_TRUE(vm.guest_write(IoSpace::kMmio, 0xd0000050, 1, 4));
}

TEST(VmBinder, WhatIsKeptIsForThoseWhoNeedIt) {
  Host host(8);
  VmBinder binder(*host.vm, 6, 2);
  EXPECT_EQ(host.attach_all(binder), 4U);
  IoEventMatch required = doorbell(20);
  EXPECT_TRUE(binder.attach_doorbell(host.events[4], required, Server::kProcess).has_value());
  required.address += 4;
  EXPECT_TRUE(binder.attach_doorbell(host.events[5], required, Server::kProcess).has_value());
  required.address += 4;
  EXPECT_FALSE(binder.attach_doorbell(host.events[6], required, Server::kProcess));
  // One that is given back is kept again, and not for others.
  binder.detach_doorbell(host.events[4], doorbell(20));
  EXPECT_FALSE(binder.attach_doorbell(host.events[6], doorbell(6), Server::kDevice));
  required.address = doorbell(20).address;
  EXPECT_TRUE(binder.attach_doorbell(host.events[4], required, Server::kProcess).has_value());
}

TEST(VmBinder, KeepsRoomForAVhostUser) {
  Host host(6);
  VmBinder binder(*host.vm, 6, 2);
  EXPECT_EQ(host.attach_all(binder), 4U);
  // The two are really there for another user.
  EXPECT_TRUE(host.vm->attach_ioeventfd(host.events[6], match_at(0x1000)).has_value());
  EXPECT_TRUE(host.vm->attach_ioeventfd(host.events[7], match_at(0x2000)).has_value());
}

}  // namespace
}  // namespace bellhop

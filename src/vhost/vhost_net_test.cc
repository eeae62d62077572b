#include "vhost/vhost_net.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>

#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/fake_vhost.h"
#include "testing/test_memory.h"
#include "vhost/vhost_abi.h"
#include "virtio/abi/net.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::FakeDriver;
using testing::FakeVhost;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;

constexpr std::uint64_t kAll = ~std::uint64_t{0};

/// The fake kernel's are among them.
std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A NIC of one pair, its rings not yet given to the kernel. The driver does nothing.
struct VhostNetTest : ::testing::Test {
  VhostNetTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()),
              0);
    tap = UniqueFd(ends[0]);
    far = UniqueFd(ends[1]);
    for (unsigned i = 0; i < 2; ++i) {
      QueueConfig config;
      config.size = 16;
      config.ready = true;
      config.desc = GuestAddress(0x1000 * (i + 1));
      config.driver = GuestAddress(0x1000 * (i + 1) + 0x400);
      config.device = GuestAddress(0x1000 * (i + 1) + 0x800);
      rings[i] = must(SplitRing::activate(memory, config, {}, counters));
    }
  }
  [[nodiscard]] std::array<int, 1> taps() const { return {tap.get()}; }
  auto create() {
    return VhostNet::create(taps(), [this] { return kernel.open(); });
  }
  OffloadedRing handed(unsigned ring) { return {rings[ring]->areas(), 0, &kick, &call, &fault}; }

  GuestMemory memory = make_memory();
  FakeVhost kernel{memory};
  QueueCounters counters;
  UniqueFd tap;
  UniqueFd far;
  EventFd kick = must(EventFd::create());
  EventFd call = must(EventFd::create());
  EventFd fault = must(EventFd::create());
  std::array<std::optional<SplitRing>, 2> rings;
};

TEST_F(VhostNetTest, SaysWhyItCannotBe) {
  kernel.refuse_open(ENOENT);
  EXPECT_FALSE(create());
  kernel.refuse_open(0);
  kernel.lack_features(feature_mask(kFeatureEventIdx));
  const auto old = create();
  ASSERT_FALSE(old);
  EXPECT_THAT(old.error().message, HasSubstr("/dev/vhost-net of this kernel lacks features"));
  EXPECT_EQ(kernel.open_handles(), 0U);
}

TEST_F(VhostNetTest, ADeviceThatIsMissingIsNamedWithWhatHelps) {
  const auto missing = open_vhost("/dev/no-such-vhost", "vhost_none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message, "/dev/no-such-vhost is missing (modprobe vhost_none)");
  EXPECT_EQ(missing.error().code, ENODEV) << "the host's fault, not of what was asked for";
}

TEST_F(VhostNetTest, EachRefusalNamesWhatWasRefused) {
  struct Case {
    unsigned long request;
    const char* words;
  };
  for (const auto& [request, words] : {
           Case{VHOST_SET_MEM_TABLE, "the memory map"},
           Case{VHOST_SET_VRING_NUM, "the size of a ring"},
           Case{VHOST_SET_VRING_BASE, "the place in a ring"},
           Case{VHOST_SET_VRING_ADDR, "the addresses of a ring"},
           Case{VHOST_SET_VRING_KICK, "an event for kicks"},
           Case{VHOST_SET_VRING_CALL, "an event for interrupts"},
           Case{VHOST_SET_VRING_ERR, "an event for faults"},
           Case{VHOST_NET_SET_BACKEND, "the tap"},
       }) {
    const auto net = must(create());
    must(net->begin(kAll));
    kernel.refuse(request, ENOMEM);
    const std::size_t before = open_descriptors();
    const auto started = net->ring(0).start(handed(0));
    ASSERT_FALSE(started) << words;
    EXPECT_EQ(open_descriptors(), before) << words << ": the kernel keeps an event of ours";
    EXPECT_THAT(started.error().message, HasSubstr(std::string("refuses ") + words));
    EXPECT_EQ(started.error().code, ENOMEM);
    kernel.refuse(request, 0);
    // The refusal is over: it works.
    ASSERT_TRUE(net->ring(0).start(handed(0)).has_value()) << words;
    EXPECT_EQ(net->served(), 1U);
    (void)net->ring(0).stop();
  }
  for (const unsigned long request : {static_cast<unsigned long>(VHOST_SET_OWNER),
                                      static_cast<unsigned long>(VHOST_GET_FEATURES)}) {
    kernel.refuse(request, EIO);
    EXPECT_FALSE(create());
    kernel.refuse(request, 0);
  }
  EXPECT_EQ(kernel.open_handles(), 0U);
  EXPECT_EQ(kernel.wrong_calls(), 0U);
}

TEST_F(VhostNetTest, ARefusedRingIsNotServedLater) {
  const auto net = must(create());
  must(net->begin(kAll));
  kernel.refuse(VHOST_NET_SET_BACKEND, EBUSY);
  ASSERT_FALSE(net->ring(0).start(handed(0)));
  kernel.refuse(VHOST_NET_SET_BACKEND, 0);
  must(net->set_link(false));
  must(net->set_link(true));
  EXPECT_EQ(net->served(), 0U);
  EXPECT_EQ(kernel.serving(), 0U);
}

// The driver kicked when nobody listened, or had been told not to.
TEST_F(VhostNetTest, WhatWasOfferedWithoutALinkIsServedWithIt) {
  const auto net = must(create());
  must(net->begin(feature_mask(kFeatureVersion1)));
  must(net->set_link(false));
  FakeDriver driver(memory, GuestAddress(0x10000), 16);
  const auto ring = must(SplitRing::activate(memory, driver.config(), {}, counters));
  must(net->ring(1).start({ring.areas(), 0, &kick, &call, &fault}));
  ASSERT_TRUE(driver.add({{GuestAddress(0x20000), 100, false}}));
  (void)driver.offer();
  must(net->set_link(true));
  EXPECT_TRUE(eventually([&] { return driver.reap().has_value(); }));
  EXPECT_EQ(kernel.served(), 1U);
  EXPECT_EQ(net->starts(), 1U);
  EXPECT_EQ(net->ring(1).stop(), 1U);
}

// The kernel offers more than rings and frames need: a log of pages, headers of its own making.
TEST_F(VhostNetTest, TheKernelIsGivenNoFeatureOfOthers) {
  const auto net = must(create());
  must(net->begin(kAll));
  EXPECT_EQ(kernel.acked_features(), kRingFeatures | feature_mask(kNetFeatureMrgRxbuf));
  must(net->begin(feature_mask(kFeatureVersion1)));
  EXPECT_EQ(kernel.acked_features(), feature_mask(kFeatureVersion1));
}

TEST_F(VhostNetTest, GoesOnWhereItWas) {
  const auto net = must(create());
  must(net->begin(kAll));
  for (unsigned round = 0; round < 3; ++round) {
    must(net->ring(1).start(handed(1)));
    EXPECT_EQ(kernel.serving(), 1U);
    const std::uint32_t next = net->ring(1).stop();
    EXPECT_EQ(next, 0U);
  }
  EXPECT_EQ(kernel.serving(), 0U);
}

// The kernel gives back what it takes: the used index says as much.
TEST_F(VhostNetTest, AKernelThatDoesNotSayWhereItWasIsNotNeededFor) {
  const auto net = must(create());
  must(net->begin(kAll));
  must(net->ring(1).start(handed(1)));
  kernel.refuse(VHOST_GET_VRING_BASE, EIO);
  const std::array<std::byte, 2> five{std::byte{5}, std::byte{0}};
  ASSERT_TRUE(memory.write(GuestAddress(0x2800 + 2), five));
  EXPECT_EQ(net->ring(1).stop(), 5U);
}

TEST_F(VhostNetTest, LinkAndPairsDecideWhatIsServed) {
  const auto net = must(create());
  must(net->begin(kAll));
  must(net->set_link(false));
  must(net->ring(0).start(handed(0)));
  must(net->ring(1).start(handed(1)));
  EXPECT_EQ(net->served(), 0U);
  must(net->set_link(true));
  EXPECT_EQ(net->served(), 2U);
  EXPECT_EQ(kernel.serving(), 2U);
  must(net->use_pairs(0));
  EXPECT_EQ(net->served(), 0U);
  must(net->use_pairs(1));
  EXPECT_EQ(kernel.serving(), 2U);
  must(net->use_pairs(0));
  (void)net->ring(0).stop();
  (void)net->ring(1).stop();
  EXPECT_EQ(kernel.serving(), 0U);
  // The next driver has one pair until it asks for more, whatever the last one had.
  must(net->begin(kAll));
  must(net->ring(0).start(handed(0)));
  EXPECT_EQ(kernel.serving(), 1U);
  (void)net->ring(0).stop();
  EXPECT_EQ(kernel.wrong_calls(), 0U);
}

}  // namespace
}  // namespace bellhop

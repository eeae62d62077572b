#include "devices/net/vhost_user_net_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

#include "devices/net/net_device.h"
#include "devices/net/nic_config.h"
#include "memory/fault_guard.h"
#include "testing/eventually.h"
#include "testing/fake_back_end.h"
#include "testing/memory_nic.h"
#include "testing/offload_fixture.h"
#include "transport/vhost_user/vhost_user_server.h"
#include "virtio/abi/net.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::FakeBackEnd;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;
using vhost_user::Channel;

struct VhostUserNetTest : ::testing::Test, testing::OffloadFixture {
  static constexpr std::uint64_t kBase = feature_mask(vhost_user::kFeatureProtocol) | kRingFeatures;
  static constexpr std::uint64_t kOwn =
      feature_mask(kNetFeatureMac) | feature_mask(kNetFeatureStatus);
  static constexpr MacAddress kMac = 0x563412000002;  // 02:00:00:12:34:56

  ~VhostUserNetTest() override { finish(); }
  void SetUp() override {
#ifdef BELLHOP_UNDER_TSAN
    GTEST_SKIP()
        << "the back end has a mapping of its own, which the sanitizer takes for other memory";
#endif
  }
  Result<std::unique_ptr<VhostUserNetDevice>> make(std::uint16_t mtu = 0) {
    return VhostUserNetDevice::create(
        {.id = "net0", .mac = kMac, .mtu = mtu, .queue_size = 64},
        [this](Channel::Patience patience) { return back_end.connect(patience); },
        Channel::Patience(5000));
  }
  std::string fault() {
    const auto made = make();
    return made ? std::string("nothing") : made.error().message;
  }
  NetConfig read() {
    NetConfig seen{};
    negotiation->life().read_config(0, std::as_writable_bytes(std::span(&seen, 1)));
    return seen;
  }

  FakeBackEnd back_end;
};

TEST_F(VhostUserNetTest, ItsAddressIsItsOwnAndItsOffloadsAreTheBackEnds) {
  const std::uint64_t frames = feature_mask(kNetFeatureCsum) | feature_mask(kNetFeatureGuestTso4) |
                               feature_mask(kNetFeatureHostUso) | feature_mask(kNetFeatureMrgRxbuf);
  const std::uint64_t not_ours = feature_mask(kNetFeatureCtrlVq) | feature_mask(kNetFeatureMq) |
                                 feature_mask(kNetFeatureGuestAnnounce) |
                                 feature_mask(kNetFeatureCtrlGuestOffloads) |
                                 feature_mask(kNetFeatureMtu) | feature_mask(kFeatureRingPacked);
  back_end.offer(kBase | frames | not_ours, 0xffff, 1);
  serve(must(make()));
  EXPECT_EQ(negotiation->life().offered_features(), kRingFeatures | frames | kOwn);
  EXPECT_EQ(negotiation->life().queue_count(), 2U);
  const NetConfig seen = read();
  EXPECT_EQ(load_mac(reinterpret_cast<const std::byte*>(seen.mac)), kMac);
  EXPECT_EQ(seen.status, kNetStatusLinkUp);
  EXPECT_EQ(seen.max_virtqueue_pairs, 1U);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(back_end.acked_features() & (kOwn | not_ours), 0U)
      << "the back end hears of nothing that it has not offered";
  EXPECT_EQ(back_end.acked_features() & frames, frames);
  EXPECT_EQ(back_end.serving(), 2U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserNetTest, TheMtuIsToldToBoth) {
  serve(must(make(9000)));
  EXPECT_NE(negotiation->life().offered_features() & feature_mask(kNetFeatureMtu), 0U);
  EXPECT_EQ(read().mtu, 9000U);
  EXPECT_EQ(back_end.mtu(), 9000U);
}

TEST_F(VhostUserNetTest, ABackEndThatDiesTakesTheLinkDown) {
  serve(must(make()));
  ASSERT_EQ(bring_up(), kUp);
  back_end.hang_up();
  EXPECT_TRUE(eventually([&] { return needs_reset() && read().status == 0; }));
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(read().status, kNetStatusLinkUp);
  EXPECT_EQ(back_end.serving(), 2U);
}

TEST_F(VhostUserNetTest, SaysWhatABackEndLacks) {
  back_end.offer(kBase, 0, 0);
  EXPECT_EQ(fault(), "nothing") << "one pair needs none of the protocol's features";
  back_end.offer(kBase, 1U << vhost_user::kProtocolMq, 0);
  EXPECT_THAT(fault(), HasSubstr("the back end has 0 queues, not 1"));
  back_end.offer(kRingFeatures, ~0U, 1);
  EXPECT_THAT(fault(), HasSubstr("lacks features 0x40000000"));
}

TEST(MakeVhostUserNic, SaysWhatIsMissing) {
  NicConfig config;
  config.source = VhostUserNic{.socket = "/nowhere/socket"};
  EXPECT_EQ(config.offloaded_queues(), 2U);
  const GuestMemory shared = make_memory();
  EXPECT_THAT(make_device(config, {.memory = &shared}).error().message,
              HasSubstr("--net: vhost-user=/nowhere/socket: cannot connect: No such file"));
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  EXPECT_THAT(make_device(config, {.memory = &own}).error().message,
              HasSubstr("memory is not shared"));
}

// Both ends are ours: the device in front of what `bellhop serve net` has, over a wire in memory.
TEST_F(VhostUserNetTest, FramesGoBothWaysThroughOneThatIsServed) {
  must(FaultGuard::install());
  std::string folder = (std::filesystem::temp_directory_path() / "frontXXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const auto wire = std::make_shared<testing::MemoryNic>();
  const auto far_thread = must(IoThread::start({}));
  auto server = must(VhostUserServer::start(
      {.listener = must(UnixListener::listen(folder + "/net.sock", 0600)),
       .device = must(VhostUserDevice::create(
           std::make_unique<NetDevice>(wire, NetOptions{.mac = 0x112233445566}),
           {.memory = nullptr, .threads = {far_thread.get()}, .notify = NotifyMode::kIoEventFd})),
       .patience = Channel::Patience(5000)}));
  NicConfig config;
  config.id = "net0";
  config.mac = kMac;
  config.source = VhostUserNic{.socket = folder + "/net.sock", .mtu = 1400};
  serve(must(make_device(config, {.memory = &memory})));
  ASSERT_EQ(bring_up(), kUp);
  constexpr std::size_t kBytes = sizeof(NetHeader) + 100;
  const GuestAddress at(0x100000);
  for (unsigned round = 1; round <= 50; ++round) {
    std::vector<std::byte> frame(kBytes);
    std::fill(frame.begin() + sizeof(NetHeader), frame.end(), static_cast<std::byte>(round));
    ASSERT_TRUE(memory.write(at, frame));
    ASSERT_TRUE(works(1, {{at, kBytes, false}}));
    std::vector<std::byte> got(2048);
    ASSERT_TRUE(eventually([&] { return wire->get(got) == kBytes; }));
    EXPECT_EQ(got[kBytes - 1], static_cast<std::byte>(round));

    // Whatever address it is for: which one the guest has only the front end knows.
    const GuestAddress room(testing::kHighBase + 0x80000);
    ASSERT_TRUE(drivers[0].add({{room, 2048, true}}));
    if (drivers[0].offer()) negotiation->life().notify(0);
    store_mac(kMac, frame.data() + sizeof(NetHeader));
    frame[sizeof(NetHeader) + 20] = static_cast<std::byte>(round + 1);
    ASSERT_TRUE(wire->put(frame));
    ASSERT_TRUE(eventually([&] { return drivers[0].reap().has_value(); }));
    ASSERT_TRUE(memory.read(room, std::span(got).first(kBytes)));
    EXPECT_EQ(got[sizeof(NetHeader) + 20], static_cast<std::byte>(round + 1));
  }
  EXPECT_EQ(server->device().refused(), 0U);
  finish();
  server.reset();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace bellhop

#include "devices/net/vhost_user_net_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

#include "base/thread.h"
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
  Result<std::unique_ptr<VhostUserNetDevice>> make(std::uint16_t mtu = 0, std::uint16_t pairs = 1) {
    return VhostUserNetDevice::create(
        {.id = "net0", .mac = kMac, .mtu = mtu, .queue_size = 64, .pairs = pairs},
        [this](Channel::Patience patience) { return back_end.connect(patience); },
        Channel::Patience(5000));
  }
  std::string fault(std::uint16_t pairs = 1) {
    const auto made = make(0, pairs);
    return made ? std::string("nothing") : made.error().message;
  }
  NetConfig read() {
    NetConfig seen{};
    negotiation->life().read_config(0, std::as_writable_bytes(std::span(&seen, 1)));
    return seen;
  }

  /// The device's answer to a command on its control queue, the last one of those that there are.
  std::optional<std::uint8_t> command(std::initializer_list<std::uint8_t> bytes, unsigned queue) {
    const GuestAddress at(0x100000);
    const GuestAddress ack(0x100100);
    std::vector<std::byte> request;
    for (const std::uint8_t byte : bytes) request.push_back(std::byte{byte});
    must(memory.write(at, request) ? Status() : fail("no memory"));
    must(memory.write(ack, std::array{std::byte{0xee}}) ? Status() : fail("no memory"));
    if (!works(queue, {{at, static_cast<std::uint32_t>(request.size()), false}, {ack, 1, true}})) {
      return std::nullopt;
    }
    std::array<std::byte, 1> answer{};
    must(memory.read(ack, answer) ? Status() : fail("no memory"));
    return std::to_integer<std::uint8_t>(answer[0]);
  }
  std::optional<std::uint8_t> use_pairs(std::uint8_t count, unsigned queue = 4) {
    return command({kNetControlMq, kNetControlMqPairsSet, count, 0}, queue);
  }
  /// Of the rings, those that the back end was told last to serve.
  void watch_rings() {
    back_end.set_hook([this](const vhost_user::Message& message, Channel&) {
      vhost_user::VringState state;
      if (message.request() == vhost_user::Request::kSetVringEnable && message.read(state)) {
        const unsigned bit = 1U << state.index;
        state.num != 0 ? enabled |= bit : enabled &= ~bit;
      }
      return false;
    });
  }

  std::atomic<unsigned> enabled{0};
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

TEST_F(VhostUserNetTest, RingsArePackedOrInOrderIfItIsAskedForAndTheBackEndHasIt) {
  constexpr std::uint64_t kRings = feature_mask(kFeatureRingPacked) | feature_mask(kFeatureInOrder);
  back_end.offer(kBase | feature_mask(kFeatureRingPacked), 0xffff, 1);
  const auto device = must(VhostUserNetDevice::create(
      {.id = "net0", .mac = kMac, .more_ring_features = kRings | feature_mask(kFeatureRingReset)},
      [this](Channel::Patience patience) { return back_end.connect(patience); }));
  EXPECT_EQ(device->traits().ring_features, kRingFeatures | feature_mask(kFeatureRingPacked));
  EXPECT_TRUE(check_rings(*device, 0));
  EXPECT_TRUE(check_rings(*device, feature_mask(kFeatureRingPacked)));
  EXPECT_THAT(check_rings(*device, kRings).error().message, HasSubstr("(in-order=on)"));
  const auto plain = must(make());
  EXPECT_EQ(plain->traits().ring_features, kRingFeatures);
  EXPECT_THAT(check_rings(*plain, kRings).error().message, HasSubstr("(packed=on)"));
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

TEST_F(VhostUserNetTest, SeveralPairsAreUsedAsTheDriverSays) {
  watch_rings();
  serve(must(make(0, 2)));
  const std::uint64_t several = feature_mask(kNetFeatureMq) | feature_mask(kNetFeatureCtrlVq);
  EXPECT_EQ(negotiation->life().offered_features() & several, several);
  EXPECT_EQ(negotiation->life().queue_count(), 5U);
  EXPECT_EQ(read().max_virtqueue_pairs, 2U);
  EXPECT_NE(&negotiation->life().thread(4), &negotiation->life().thread(0))
      << "who waits for the back end is nobody that others wait for";
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_NE(back_end.acked_features() & feature_mask(kNetFeatureMq), 0U);
  EXPECT_EQ(enabled, 0b0011U) << "the first pair, until the driver says otherwise";
  EXPECT_EQ(use_pairs(2), kNetControlOk);
  EXPECT_EQ(enabled, 0b1111U);
  negotiation->life().pause();
  EXPECT_EQ(enabled, 0U);
  negotiation->life().resume();
  EXPECT_EQ(enabled, 0b1111U) << "as they were";
  EXPECT_EQ(use_pairs(1), kNetControlOk);
  EXPECT_EQ(enabled, 0b0011U);
  // What makes no sense changes nothing.
  EXPECT_EQ(use_pairs(0), kNetControlError);
  EXPECT_EQ(use_pairs(3), kNetControlError);
  EXPECT_EQ(command({kNetControlMq, kNetControlMqPairsSet, 2}, 4), kNetControlError);
  EXPECT_EQ(command({kNetControlMq, kNetControlMqPairsSet, 2, 0, 0}, 4), kNetControlError);
  EXPECT_EQ(command({kNetControlMq, kNetControlMqPairsSet + 1, 2, 0}, 4), kNetControlError);
  EXPECT_EQ(command({kNetControlRx, kNetControlRxPromisc, 1}, 4), kNetControlError);
  EXPECT_EQ(command({kNetControlRx, kNetControlMqPairsSet, 2, 0}, 4), kNetControlError);
  EXPECT_EQ(enabled, 0b0011U);
  const auto stats = negotiation->life().stats();
  EXPECT_EQ(stats.at(2).value, 9U) << stats.at(2).name;
  EXPECT_EQ(stats.at(3).value, 7U) << stats.at(3).name;
  // Another driver begins with one.
  EXPECT_EQ(use_pairs(2), kNetControlOk);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(enabled, 0b0011U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
  back_end.set_hook({});
}

// 5.1.2: its control queue comes after the first pair, and there is nothing that it may say there.
TEST_F(VhostUserNetTest, ADriverOfOnePairHasTheControlQueueBehindIt) {
  watch_rings();
  back_end.offer(kBase | feature_mask(kNetFeatureMq), 0xffff, 2);
  serve(must(make(0, 2)));
  declined = feature_mask(kNetFeatureMq);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(enabled, 0b0011U);
  EXPECT_EQ(use_pairs(1, 2), kNetControlError);
  EXPECT_EQ(use_pairs(2, 2), kNetControlError);
  EXPECT_EQ(enabled, 0b0011U);
  EXPECT_EQ(back_end.serving(), 2U);
  back_end.set_hook({});
}

TEST_F(VhostUserNetTest, ABackEndThatRefusesAPairIsSaidToTheDriver) {
  serve(must(make(0, 2)));
  ASSERT_EQ(bring_up(), kUp);
  std::vector<vhost_user::VringState> told;
  std::mutex mutex;
  back_end.set_hook([&](const vhost_user::Message& message, Channel& channel) {
    vhost_user::VringState state;
    if (message.request() != vhost_user::Request::kSetVringEnable || !message.read(state)) {
      return false;
    }
    const std::lock_guard<std::mutex> hold(mutex);
    told.push_back(state);
    const std::uint64_t refused = state.index == 3 && state.num == 1 ? 1 : 0;
    (void)channel.send(message.request(), vhost_user::kReply,
                       std::as_bytes(std::span(&refused, 1)));
    return true;
  });
  EXPECT_EQ(use_pairs(2), kNetControlError);
  back_end.set_hook({});
  const std::lock_guard<std::mutex> hold(mutex);
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[2].index, 2U);
  EXPECT_EQ(told[2].num, 0U) << "no pair is half in use";
  EXPECT_FALSE(needs_reset());
}

TEST_F(VhostUserNetTest, SaysWhatABackEndLacks) {
  back_end.offer(kBase, 0, 0);
  EXPECT_EQ(fault(), "nothing") << "one pair needs none of the protocol's features";
  back_end.offer(kBase, 1U << vhost_user::kProtocolMq, 0);
  EXPECT_THAT(fault(), HasSubstr("the back end has 0 queues, not 1"));
  back_end.offer(kBase | feature_mask(kNetFeatureMq), 0, 2);
  EXPECT_THAT(fault(2), HasSubstr("lacks the protocol feature MQ"));
  back_end.offer(kBase | feature_mask(kNetFeatureMq), 1U << vhost_user::kProtocolMq, 1);
  EXPECT_THAT(fault(2), HasSubstr("the back end has 1 queues, not 2"));
  // It has four rings, and may count pairs; six are not there, however it counts.
  const std::uint64_t counts = 1U << vhost_user::kProtocolMq | 1U << vhost_user::kProtocolReplyAck;
  back_end.offer(kBase | feature_mask(kNetFeatureMq), counts, 2);
  EXPECT_EQ(fault(2), "nothing");
  back_end.offer(kBase | feature_mask(kNetFeatureMq), counts, 4);
  EXPECT_THAT(fault(3), HasSubstr("the back end has 4 queues, number 5 is not among them"));
  back_end.offer(kBase, 1U << vhost_user::kProtocolMq, 2);
  EXPECT_THAT(fault(2), HasSubstr("does not offer several pairs of queues (VIRTIO_NET_F_MQ)"));
  back_end.offer(kRingFeatures, ~0U, 1);
  EXPECT_THAT(fault(), HasSubstr("lacks features 0x40000000"));
}

// The thread of its control queue could not be had: a machine that runs makes no loops any more.
TEST_F(VhostUserNetTest, SeveralPairsAreForTheStart) {
  set_confinement([](ThreadKind) { return Status(); });
  std::string one;
  std::string several;
  must(run_on_thread(ThreadKind::kMainAdds, "a test", [&] {
    one = fault(1);
    several = fault(2);
  }));
  set_confinement(nullptr);
  EXPECT_EQ(one, "nothing");
  EXPECT_THAT(several, HasSubstr("at the machine's start alone"));
  EXPECT_EQ(back_end.connections(), 1U) << "the back end is not troubled";
}

TEST(MakeVhostUserNic, SaysWhatIsMissing) {
  NicConfig config;
  config.source = VhostUserNic{.socket = "/nowhere/socket", .pairs = 3};
  EXPECT_EQ(config.offloaded_queues(), 6U);
  const GuestMemory shared = make_memory();
  EXPECT_THAT(make_device(config, {.memory = &shared}).error().message,
              HasSubstr("--net: vhost-user=/nowhere/socket: cannot connect: No such file"));
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  EXPECT_THAT(make_device(config, {.memory = &own}).error().message,
              HasSubstr("memory is not shared"));
}

/// Both ends are ours: the device in front of what `bellhop serve net` has, over a wire in memory.
struct VhostUserNetBothTest : VhostUserNetTest {
  ~VhostUserNetBothTest() override {
    finish();
    server.reset();
    std::filesystem::remove_all(folder);
  }
  void start(unsigned pairs) {
    must(FaultGuard::install());
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    wire = std::make_shared<testing::MemoryNic>(pairs);
    server = must(VhostUserServer::start(
        {.listener = must(UnixListener::listen(folder + "/net.sock", 0600)),
         .device = must(VhostUserDevice::create(
             std::make_unique<NetDevice>(wire, NetOptions{.mac = 0x112233445566}),
             {.memory = nullptr, .threads = {far_thread.get()}, .notify = NotifyMode::kIoEventFd})),
         .patience = Channel::Patience(5000)}));
    NicConfig config;
    config.id = "net0";
    config.mac = kMac;
    config.source = VhostUserNic{.socket = folder + "/net.sock", .mtu = 1400, .pairs = pairs};
    serve(must(make_device(config, {.memory = &memory})));
    ASSERT_EQ(bring_up(), kUp);
  }
  /// A frame each way by the pair, known by `mark`.
  void exchange(unsigned pair, std::uint8_t mark) {
    constexpr std::size_t kBytes = sizeof(NetHeader) + 100;
    const GuestAddress at(0x100000);
    std::vector<std::byte> frame(kBytes);
    std::fill(frame.begin() + sizeof(NetHeader), frame.end(), std::byte{mark});
    ASSERT_TRUE(memory.write(at, frame));
    ASSERT_TRUE(works(2 * pair + 1, {{at, kBytes, false}}));
    std::vector<std::byte> got(2048);
    ASSERT_TRUE(eventually([&] { return wire->get(got, pair) == kBytes; }));
    EXPECT_EQ(got[kBytes - 1], std::byte{mark});

    // Whatever address it is for: which one the guest has only the front end knows.
    const GuestAddress room(testing::kHighBase + 0x80000);
    testing::FakeDriver& rx = drivers[2 * std::size_t{pair}];
    ASSERT_TRUE(rx.add({{room, 2048, true}}));
    if (rx.offer()) negotiation->life().notify(2 * pair);
    store_mac(kMac, frame.data() + sizeof(NetHeader));
    frame[sizeof(NetHeader) + 20] = static_cast<std::byte>(mark + 1);
    ASSERT_TRUE(wire->put(frame, pair));
    ASSERT_TRUE(eventually([&] { return rx.reap().has_value(); }));
    ASSERT_TRUE(memory.read(room, std::span(got).first(kBytes)));
    EXPECT_EQ(got[sizeof(NetHeader) + 20], static_cast<std::byte>(mark + 1));
  }

  std::string folder = (std::filesystem::temp_directory_path() / "frontXXXXXX").string();
  std::shared_ptr<testing::MemoryNic> wire;
  std::unique_ptr<IoThread> far_thread = must(IoThread::start({}));
  std::unique_ptr<VhostUserServer> server;
};

TEST_F(VhostUserNetBothTest, FramesGoBothWays) {
  start(1);
  for (std::uint8_t round = 1; round <= 50; ++round) exchange(0, round);
  EXPECT_EQ(server->device().refused(), 0U);
}

TEST_F(VhostUserNetBothTest, FramesGoByEachPairThatTheDriverUses) {
  start(2);
  EXPECT_EQ(wire->pairs_in_use(), 1U);
  exchange(0, 7);
  for (std::uint8_t round = 1; round <= 20; ++round) {
    ASSERT_EQ(use_pairs(2), kNetControlOk);
    ASSERT_EQ(wire->pairs_in_use(), 2U) << "the back end has done it before the driver hears so";
    exchange(0, round);
    exchange(1, static_cast<std::uint8_t>(round + 100));
    ASSERT_EQ(use_pairs(1), kNetControlOk);
    ASSERT_EQ(wire->pairs_in_use(), 1U);
    exchange(0, static_cast<std::uint8_t>(round + 1));
  }
  EXPECT_EQ(server->device().refused(), 0U);
}

}  // namespace
}  // namespace bellhop

#include "devices/blk/vhost_user_blk_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

#include "devices/blk/blk_device.h"
#include "devices/blk/disk_config.h"
#include "memory/fault_guard.h"
#include "testing/eventually.h"
#include "testing/fake_back_end.h"
#include "testing/memory_backend.h"
#include "testing/offload_fixture.h"
#include "transport/vhost_user/vhost_user_server.h"
#include "virtio/abi/blk.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::FakeBackEnd;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;
using vhost_user::Channel;
using vhost_user::Message;
using vhost_user::Request;

/// The device behind its negotiation, between a driver and a back end that is hostile as told.
struct VhostUserBlkTest : ::testing::Test, testing::OffloadFixture {
  static constexpr std::uint64_t kBase = feature_mask(vhost_user::kFeatureProtocol) | kRingFeatures;
  static constexpr std::uint64_t kMostProtocol = 0xffff;

  VhostUserBlkTest() {
    space.capacity = 2048;
    space.seg_max = 126;
    space.blk_size = 4096;
    space.writeback = 1;
    space.num_queues = 64;
    tell_space();
  }
  ~VhostUserBlkTest() override { finish(); }
  void SetUp() override {
#ifdef BELLHOP_UNDER_TSAN
    GTEST_SKIP()
        << "the back end has a mapping of its own, which the sanitizer takes for other memory";
#endif
  }

  void tell_space() {
    const auto bytes = std::as_bytes(std::span(&space, 1));
    back_end.set_config({bytes.begin(), bytes.end()});
  }
  Result<std::unique_ptr<VhostUserBlkDevice>> make(std::uint16_t queues = 1) {
    return VhostUserBlkDevice::create(
        {.id = "disk0", .queues = queues, .queue_size = 64},
        [this](Channel::Patience patience) { return back_end.connect(patience); },
        Channel::Patience(500));
  }
  std::string fault(std::uint16_t queues = 1) {
    const auto made = make(queues);
    return made ? std::string("nothing") : made.error().message;
  }
  BlkConfig read() {
    BlkConfig seen{};
    negotiation->life().read_config(0, std::as_writable_bytes(std::span(&seen, 1)));
    return seen;
  }
  void write_writeback(std::uint8_t value) {
    negotiation->life().write_config(offsetof(BlkConfig, writeback),
                                     std::as_bytes(std::span(&value, 1)));
  }
  std::uint8_t back_ends_writeback() {
    return std::to_integer<std::uint8_t>(back_end.config()[offsetof(BlkConfig, writeback)]);
  }
  std::uint64_t stat(std::string_view name) {
    for (const DeviceStat& one : negotiation->life().stats()) {
      if (one.name == name) return one.value;
    }
    ADD_FAILURE() << name;
    return 0;
  }
  bool echoes(unsigned queue) {
    const std::array<std::uint8_t, 4> sent{1, 2, 3, 4};
    if (!memory.write(GuestAddress(0x100000), std::as_bytes(std::span(sent)))) return false;
    return works(queue, {{GuestAddress(0x100000), 4, false}, {GuestAddress(0x101000), 4, true}});
  }

  BlkConfig space{};
  FakeBackEnd back_end;
};

TEST_F(VhostUserBlkTest, ShowsWhatTheBackEndHasAndItsOwnNumberOfQueues) {
  serve(must(make(3)));
  const BlkConfig seen = read();
  EXPECT_EQ(seen.capacity, 2048U);
  EXPECT_EQ(seen.seg_max, 62U) << "as a ring of 64 has room for";
  EXPECT_EQ(seen.blk_size, 4096U);
  EXPECT_EQ(seen.writeback, 1U);
  EXPECT_EQ(seen.num_queues, 3U);
  // Piece by piece, too.
  std::uint8_t low = 0;
  negotiation->life().read_config(34, std::as_writable_bytes(std::span(&low, 1)));
  EXPECT_EQ(low, 3U);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(back_end.serving(), 3U);
  for (unsigned queue = 0; queue < 3; ++queue) EXPECT_TRUE(echoes(queue));
  EXPECT_EQ(stat("vhost_user_queues"), 3U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserBlkTest, OffersNothingThatItOrTheBackEndDoesNotKnow) {
  const std::uint64_t disk = feature_mask(kBlkFeatureFlush) | feature_mask(kBlkFeatureReadOnly) |
                             feature_mask(kBlkFeatureDiscard);
  const std::uint64_t strange = feature_mask(kBlkFeatureZoned) |
                                feature_mask(kBlkFeatureSecureErase) |
                                feature_mask(kFeatureRingPacked) | feature_mask(kFeatureInOrder) |
                                feature_mask(kFeatureAccessPlatform) | feature_mask(0);
  back_end.offer(kBase | disk | strange, kMostProtocol, 4);
  serve(must(make()));
  EXPECT_EQ(negotiation->life().offered_features(), kRingFeatures | disk);
  finish();
  // Rings without an event index are rings.
  back_end.offer((kBase & ~feature_mask(kFeatureEventIdx)) | disk, kMostProtocol, 4);
  serve(must(make()));
  EXPECT_EQ(negotiation->life().offered_features(),
            (kRingFeatures & ~feature_mask(kFeatureEventIdx)) | disk);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_TRUE(echoes(0));
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserBlkTest, SaysWhatABackEndLacks) {
  EXPECT_EQ(fault(4), "nothing");
  back_end.offer(kBase, kMostProtocol, 4);
  EXPECT_EQ(fault(1), "nothing");
  EXPECT_THAT(fault(2), HasSubstr("lacks features 0x1000")) << "a driver looks for MQ";
  back_end.offer(FakeBackEnd::kAllFeatures, kMostProtocol, 2);
  EXPECT_THAT(fault(4), HasSubstr("the back end has 2 queues, not 4"));
  back_end.offer(FakeBackEnd::kAllFeatures, kMostProtocol, 0);
  EXPECT_THAT(fault(1), HasSubstr("the back end has 0 queues, not 1"));
  back_end.offer(FakeBackEnd::kAllFeatures, kMostProtocol & ~(1U << vhost_user::kProtocolConfig),
                 4);
  EXPECT_THAT(fault(1), HasSubstr("lacks the protocol feature CONFIG"));
  back_end.offer(FakeBackEnd::kAllFeatures & ~feature_mask(kFeatureVersion1), kMostProtocol, 4);
  EXPECT_THAT(fault(1), HasSubstr("lacks features 0x100000000"));
  back_end.offer(FakeBackEnd::kAllFeatures, kMostProtocol, 4);
  back_end.set_config(std::vector<std::byte>(59));
  EXPECT_THAT(fault(1), HasSubstr("configuration space is answered by 0 bytes"));
}

TEST_F(VhostUserBlkTest, TheWriteCacheIsTheBackEndsUntilAReset) {
  serve(must(make()));
  ASSERT_EQ(bring_up(), kUp);
  write_writeback(0);
  EXPECT_EQ(back_ends_writeback(), 0U);
  EXPECT_EQ(read().writeback, 0U);
  write_writeback(1);
  write_writeback(0);
  negotiation->write_status(0);
  EXPECT_EQ(back_ends_writeback(), 1U) << "as no driver has written it";
  EXPECT_EQ(read().writeback, 1U);
  EXPECT_EQ(stat("guest_faults"), 0U);
}

TEST_F(VhostUserBlkTest, ADriverWritesNothingElse) {
  back_end.offer(kBase, kMostProtocol, 4);  // no CONFIG_WCE
  serve(must(make()));
  ASSERT_EQ(bring_up(), kUp);
  const auto before = back_end.config();
  write_writeback(0);
  const std::array<std::byte, 4> four{};
  for (std::uint32_t at = 0; at <= 56; at += 4) negotiation->life().write_config(at, four);
  EXPECT_EQ(back_end.config(), before);
  EXPECT_EQ(stat("guest_faults"), 16U);
}

TEST_F(VhostUserBlkTest, ACapacityThatChangesIsTold) {
  serve(must(make()));
  ASSERT_EQ(bring_up(), kUp);
  const auto generation = negotiation->life().config_generation();
  space.capacity = 4096;
  tell_space();
  ASSERT_TRUE(back_end.tell_config_change());
  EXPECT_TRUE(eventually([&] { return negotiation->life().config_generation() != generation; }));
  EXPECT_EQ(read().capacity, 4096U);
  // Before there is a driver, too.
  negotiation->write_status(0);
  space.capacity = 8192;
  tell_space();
  ASSERT_TRUE(back_end.tell_config_change());
  EXPECT_EQ(read().capacity, 8192U);
}

TEST_F(VhostUserBlkTest, ABackEndThatDiesNeedsAResetAndTheNextOneIsTaken) {
  serve(must(make(2)));
  for (std::uint64_t life = 1; life <= 3; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(echoes(1));
    write_writeback(0);
    back_end.hang_up();
    EXPECT_TRUE(eventually([&] { return needs_reset(); }));
    EXPECT_EQ(stat("lost_connections"), life);
    write_writeback(1);
    EXPECT_EQ(read().capacity, space.capacity) << "as it was";
    space.capacity += 8;
    tell_space();
  }
  back_end.refuse_connections(true);
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  back_end.refuse_connections(false);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(read().capacity, space.capacity);
  EXPECT_TRUE(echoes(0));
}

TEST_F(VhostUserBlkTest, ABackEndThatDiesOrIsSilentAtAnyMessage) {
  for (const bool dies : {true, false}) {
    for (const Request which :
         {Request::kSetFeatures, Request::kSetBackendReqFd, Request::kGetConfig,
          Request::kSetConfig, Request::kSetMemTable, Request::kSetVringKick,
          Request::kSetVringEnable, Request::kGetVringBase}) {
      SCOPED_TRACE(static_cast<unsigned>(which));
      serve(must(make()));
      (void)bring_up();
      back_end.hang_up();
      ASSERT_TRUE(eventually([&] { return needs_reset(); }));
      back_end.set_hook([=](const Message& message, Channel& channel) {
        if (message.request() != which) return false;
        if (dies) (void)::shutdown(channel.fd(), SHUT_RDWR);
        return true;
      });
      (void)bring_up();
      write_writeback(0);
      negotiation->life().pause();
      negotiation->life().resume();
      EXPECT_TRUE(eventually([&] { return needs_reset(); }));
      negotiation->write_status(0);
      back_end.set_hook({});
      ASSERT_TRUE(bring_up() == kUp || bring_up() == kUp);
      ASSERT_TRUE(echoes(0));
      finish();
    }
  }
}

TEST(MakeVhostUserDisk, SaysWhatIsMissing) {
  DiskConfig config;
  config.source = VhostUserDisk{.socket = "/nowhere/socket"};
  EXPECT_EQ(config.offloaded_queues(), 1U);
  EXPECT_TRUE(config.shares_memory());
  const GuestMemory shared = make_memory();
  EXPECT_THAT(make_device(config, {.memory = &shared}).error().message,
              HasSubstr("--disk: vhost-user=/nowhere/socket: cannot connect: No such file"));
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  EXPECT_THAT(make_device(config, {.memory = &own}).error().message,
              HasSubstr("memory is not shared"));
}

/// Both ends are ours: the device in front of what `bellhop serve blk` has.
struct ServedDiskTest : ::testing::Test, testing::OffloadFixture {
  static constexpr std::size_t kDiskBytes = 1 << 20;

  ServedDiskTest() {
    must(FaultGuard::install());
    std::string name = (std::filesystem::temp_directory_path() / "frontXXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder = name;
    auto device = std::make_unique<BlkDevice>(medium, BlkOptions{.id = "far", .queues = 2});
    served = device.get();
    server = must(VhostUserServer::start(
        {.listener = must(UnixListener::listen(name + "/disk.sock", 0600)),
         .device = must(VhostUserDevice::create(
             std::move(device),
             {.memory = nullptr, .threads = {far_thread.get()}, .notify = NotifyMode::kIoEventFd})),
         .patience = Channel::Patience(5000)}));
    DiskConfig config;
    config.id = "disk0";
    config.queues = 2;
    config.source = VhostUserDisk{.socket = name + "/disk.sock"};
    serve(must(make_device(config, {.memory = &memory})));
  }
  ~ServedDiskTest() override {
    finish();
    server.reset();
    std::filesystem::remove_all(folder);
  }
  void SetUp() override {
#ifdef BELLHOP_UNDER_TSAN
    GTEST_SKIP()
        << "the back end has a mapping of its own, which the sanitizer takes for other memory";
#endif
  }
  /// A request of one sector; its status.
  std::uint8_t request(unsigned queue, std::uint32_t type, std::uint64_t sector) {
    const BlkRequestHeader header{.type = type, .reserved = 0, .sector = sector};
    const std::byte unanswered{0xee};
    EXPECT_TRUE(memory.write(kHeader, std::as_bytes(std::span(&header, 1))));
    EXPECT_TRUE(memory.write(kStatus, {&unanswered, 1}));
    EXPECT_TRUE(works(queue, {{kHeader, sizeof header, false},
                              {kData, kBlkSectorBytes, type == kBlkTypeIn},
                              {kStatus, 1, true}}));
    std::byte status{};
    EXPECT_TRUE(memory.read(kStatus, {&status, 1}));
    return std::to_integer<std::uint8_t>(status);
  }
  static constexpr GuestAddress kHeader{0x100000};
  static constexpr GuestAddress kData{testing::kHighBase + 0x80000};
  static constexpr GuestAddress kStatus{0x102000};

  std::string folder;
  std::shared_ptr<MemoryBackend> medium = std::make_shared<MemoryBackend>(kDiskBytes);
  std::unique_ptr<IoThread> far_thread = must(IoThread::start({}));
  BlkDevice* served = nullptr;
  std::unique_ptr<VhostUserServer> server;
};

TEST_F(ServedDiskTest, WhatIsWrittenIsReadAgain) {
  BlkConfig seen{};
  negotiation->life().read_config(0, std::as_writable_bytes(std::span(&seen, 1)));
  EXPECT_EQ(seen.capacity, kDiskBytes / kBlkSectorBytes);
  EXPECT_EQ(seen.num_queues, 2U);
  for (int life = 0; life < 3; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    for (unsigned sector = 0; sector < 64; ++sector) {
      const auto mark = static_cast<std::byte>(sector + static_cast<unsigned>(life) * 7 + 1);
      ASSERT_TRUE(memory.write(kData, std::vector(kBlkSectorBytes, mark)));
      ASSERT_EQ(request(sector % 2, kBlkTypeOut, sector), kBlkStatusOk);
      EXPECT_EQ(medium->bytes()[sector * kBlkSectorBytes + 511], mark);
      ASSERT_TRUE(memory.write(kData, std::vector<std::byte>(kBlkSectorBytes)));
      ASSERT_EQ(request(1 - sector % 2, kBlkTypeIn, sector), kBlkStatusOk);
      std::vector<std::byte> got(kBlkSectorBytes);
      ASSERT_TRUE(memory.read(kData, got));
      EXPECT_EQ(got, std::vector(kBlkSectorBytes, mark));
    }
    EXPECT_EQ(request(0, kBlkTypeIn, kDiskBytes), kBlkStatusIoError);
    negotiation->life().pause();
    negotiation->life().resume();
    EXPECT_EQ(request(1, kBlkTypeIn, 1), kBlkStatusOk);
  }
  EXPECT_EQ(server->device().refused(), 0U);
  EXPECT_EQ(server->connections(), 1U);
}

TEST_F(ServedDiskTest, ADiskThatGrowsIsSeenToGrow) {
  ASSERT_EQ(bring_up(), kUp);
  const auto generation = negotiation->life().config_generation();
  medium->bytes().resize(2 * kDiskBytes);
  medium->mutable_limits().capacity = 2 * kDiskBytes;
  must(served->look_at_capacity());
  EXPECT_TRUE(eventually([&] { return negotiation->life().config_generation() != generation; }));
  BlkConfig seen{};
  negotiation->life().read_config(0, std::as_writable_bytes(std::span(&seen, 1)));
  EXPECT_EQ(seen.capacity, 2 * kDiskBytes / kBlkSectorBytes);
  EXPECT_EQ(server->device().refused(), 0U);
}

}  // namespace
}  // namespace bellhop

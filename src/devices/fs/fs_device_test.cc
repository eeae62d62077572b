#include "devices/fs/fs_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "testing/eventually.h"
#include "testing/fake_back_end.h"
#include "testing/offload_fixture.h"

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

/// The device behind a transport's core, between a driver and a back end.
struct FsDeviceTest : ::testing::Test, testing::OffloadFixture {
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP()
        << "the back end has a mapping of its own, which the sanitizer takes for other memory";
#endif
  }
  static constexpr unsigned kQueues = 3;

  Result<std::unique_ptr<FsDevice>> make() {
    const FsConfig config{
        .id = "fs0", .tag = "shared", .socket = "s", .num_queues = kQueues - 1, .iothread = {}};
    return FsDevice::create(
        config, [this](Channel::Patience patience) { return back_end.connect(patience); },
        Channel::Patience(200));
  }
  FsDeviceTest() { serve(must(make())); }
  ~FsDeviceTest() override { finish(); }

  bool answers(unsigned queue) {
    const std::array<std::uint8_t, 4> sent{1, 2, 3, 4};
    const GuestAddress request(0x100000);
    const GuestAddress answer(testing::kHighBase + 0x80000);
    if (!memory.write(request, std::as_bytes(std::span(sent)))) return false;
    if (!works(queue, {{request, 4, false}, {answer, 4, true}})) return false;
    std::array<std::uint8_t, 4> got{};
    (void)memory.read(answer, std::as_writable_bytes(std::span(got)));
    return got == std::array<std::uint8_t, 4>{2, 3, 4, 5};
  }
  /// Ring 1 is said to be elsewhere when it rests.
  void pause_at(std::uint32_t index, std::uint32_t num) {
    back_end.set_hook([=](const Message& message, Channel& channel) {
      vhost_user::VringState asked;
      if (message.request() != Request::kGetVringBase || !message.read(asked) || asked.index != 1) {
        return false;
      }
      const vhost_user::VringState said{.index = index, .num = num};
      (void)channel.send(message.request(), vhost_user::kReply, std::as_bytes(std::span(&said, 1)));
      return true;
    });
    core->pause();
    back_end.set_hook({});
    core->resume();
  }
  std::uint64_t losses() { return core->stats().at(1).value; }

  FakeBackEnd back_end;
};

TEST_F(FsDeviceTest, TheBackEndServesAllQueues) {
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_EQ(back_end.serving(), kQueues);
  EXPECT_NE(back_end.acked_features() & feature_mask(kFeatureVersion1), 0U);
  EXPECT_NE(back_end.acked_features() & feature_mask(vhost_user::kFeatureProtocol), 0U);
  for (int i = 0; i < 50; ++i) {
    for (unsigned queue = 0; queue < kQueues; ++queue) ASSERT_TRUE(answers(queue));
  }
  EXPECT_EQ(core->stats()[0].value, kQueues);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(FsDeviceTest, ShowsItsTagAndItsQueues) {
  FsConfigSpace space{};
  core->write_config(0, std::as_bytes(std::span(&space, 1)));
  core->read_config(0, std::as_writable_bytes(std::span(&space, 1)));
  EXPECT_STREQ(space.tag, "shared");
  EXPECT_EQ(space.num_request_queues, kQueues - 1);
}

TEST_F(FsDeviceTest, WithoutAcknowledgementsItWorksAsWell) {
  back_end.offer(FakeBackEnd::kAllFeatures, 1U << vhost_user::kProtocolMq, kQueues);
  core->write_status(0);
  back_end.hang_up();  // the next life begins with a new connection
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  EXPECT_TRUE(bring_up() == kUp || bring_up() == kUp);
  EXPECT_TRUE(answers(1));
}

TEST_F(FsDeviceTest, PausesAndStartsAnew) {
  for (int life = 0; life < 5; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(answers(1));
    core->pause();
    EXPECT_EQ(back_end.serving(), 0U);
    core->resume();
    EXPECT_EQ(back_end.serving(), kQueues);
    ASSERT_TRUE(answers(1));
    ASSERT_TRUE(answers(2));
  }
  core->write_status(0);
  EXPECT_EQ(back_end.serving(), 0U);
  EXPECT_EQ(back_end.connections(), 1U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(FsDeviceTest, ABackEndThatDiesNeedsAResetAndTheNextOneIsTaken) {
  for (int life = 1; life <= 3; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(answers(1));
    back_end.hang_up();
    EXPECT_TRUE(eventually([&] { return needs_reset(); }));
    EXPECT_EQ(losses(), static_cast<std::uint64_t>(life));
    EXPECT_EQ(core->stats()[0].value, 0U);
    core->notify(1);
  }
  back_end.refuse_connections(true);
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  back_end.refuse_connections(false);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_TRUE(answers(1));
}

TEST_F(FsDeviceTest, ABackEndThatDiesWhilePaused) {
  ASSERT_EQ(bring_up(), kUp);
  core->pause();
  back_end.hang_up();
  core->resume();
  EXPECT_TRUE(eventually([&] { return needs_reset(); }));
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_TRUE(answers(2));
}

// Whatever message it is, at the start of a life or at its end: the device needs a reset at most.
TEST_F(FsDeviceTest, ABackEndThatDiesOrIsSilentAtAnyMessage) {
  constexpr Request kAll[] = {Request::kSetFeatures,    Request::kSetMemTable,
                              Request::kSetVringNum,    Request::kSetVringBase,
                              Request::kSetVringAddr,   Request::kSetVringErr,
                              Request::kSetVringCall,   Request::kSetVringKick,
                              Request::kSetVringEnable, Request::kGetVringBase};
  for (const bool dies : {true, false}) {
    for (const Request which : kAll) {
      SCOPED_TRACE(static_cast<unsigned>(which));
      core->write_status(0);
      back_end.hang_up();  // so that the memory is told again
      (void)bring_up();
      back_end.set_hook([=](const Message& message, Channel& channel) {
        if (message.request() != which) return false;
        if (dies) (void)::shutdown(channel.fd(), SHUT_RDWR);
        return true;
      });
      (void)bring_up();
      core->pause();
      core->resume();
      EXPECT_TRUE(eventually([&] { return needs_reset(); }));
      core->write_status(0);
      back_end.set_hook({});
      ASSERT_TRUE(bring_up() == kUp || bring_up() == kUp);
      ASSERT_TRUE(answers(1));
    }
  }
}

TEST_F(FsDeviceTest, ABackEndThatRefusesAMessage) {
  back_end.set_hook([](const Message& message, Channel& channel) {
    if (message.request() != Request::kSetVringKick) return false;
    const std::uint64_t refused = 1;
    (void)channel.send(message.request(), vhost_user::kReply,
                       std::as_bytes(std::span(&refused, 1)));
    return true;
  });
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  back_end.set_hook({});
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_TRUE(answers(1));
  EXPECT_EQ(back_end.connections(), 1U);
}

TEST_F(FsDeviceTest, ABaseThatCannotBe) {
  ASSERT_EQ(bring_up(), kUp);
  ASSERT_TRUE(answers(1));
  for (const vhost_user::VringState wrong :
       {vhost_user::VringState{.index = 7, .num = 1}, {.index = 1, .num = 0x10001}}) {
    pause_at(wrong.index, wrong.num);
    EXPECT_TRUE(eventually([&] { return needs_reset(); }));
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(answers(1));
  }
}

// The guest may have spoilt the other number: what was given back is what was done.
TEST_F(FsDeviceTest, ABaseFarFromTheUsedIndex) {
  ASSERT_EQ(bring_up(), kUp);
  ASSERT_TRUE(answers(1));
  back_end.shift_bases(5000);
  core->pause();
  back_end.shift_bases(0);
  core->resume();
  EXPECT_EQ(back_end.connections(), 1U);
  EXPECT_FALSE(needs_reset());
  EXPECT_TRUE(answers(2));
}

TEST_F(FsDeviceTest, ABrokenRingNeedsAReset) {
  ASSERT_EQ(bring_up(), kUp);
  drivers[1].set_avail_idx(0x4000);
  core->notify(1);
  EXPECT_TRUE(eventually([&] { return needs_reset(); }));
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_TRUE(answers(1));
}

TEST_F(FsDeviceTest, SaysWhatABackEndLacks) {
  const auto fault = [this] {
    const auto made = make();
    return made ? std::string("nothing") : made.error().message;
  };
  back_end.offer(feature_mask(kFeatureVersion1), ~0U, 4);
  EXPECT_THAT(fault(), HasSubstr("vhost-user: the back end lacks features 0x70000000"));
  back_end.offer(FakeBackEnd::kAllFeatures, 0, 4);
  EXPECT_THAT(fault(), HasSubstr("lacks the protocol feature MQ"));
  back_end.offer(FakeBackEnd::kAllFeatures, FakeBackEnd::kAllFeatures, 2);
  EXPECT_THAT(fault(), HasSubstr("the back end has 2 queues, not 3"));
}

TEST(MakeFsDevice, SaysWhatIsMissing) {
  FsConfig config{.id = "fs0", .tag = "t", .socket = "/nowhere/socket", .iothread = {}};
  const GuestMemory shared = make_memory();
  EXPECT_THAT(make_device(config, shared).error().message,
              HasSubstr("--fs: socket=/nowhere/socket: cannot connect: No such file"));
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  EXPECT_THAT(make_device(config, own).error().message, HasSubstr("memory is not shared"));
}

}  // namespace
}  // namespace bellhop

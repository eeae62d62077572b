// What the front end agrees on beside rings: features that are wanted, the configuration space and
// its changes, the MTU. The rest of it is in vhost_user_front_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "testing/eventually.h"
#include "testing/fake_back_end.h"
#include "testing/test_memory.h"
#include "vhost_user/vhost_user_front.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using testing::FakeBackEnd;
using ::testing::HasSubstr;
using testing::must;

class VhostUserConfigTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = 60;
  static constexpr std::uint64_t kNeeded = std::uint64_t{1} << 32;
  static constexpr std::uint64_t kWanted = 0x6;
  static constexpr std::uint64_t kProtocol = std::uint64_t{1} << kFeatureProtocol;
  static constexpr std::uint64_t kPlain = 1U << kProtocolConfig | 1U << kProtocolReplyAck;

  VhostUserConfigTest() { back_end.set_config(numbered(1)); }

  static std::vector<std::byte> numbered(unsigned first) {
    std::vector<std::byte> bytes(kBytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(first + i);
    return bytes;
  }
  Result<std::unique_ptr<VhostUserFront>> make(std::uint16_t mtu = 0) {
    auto front =
        VhostUserFront::create({.name = "disk7",
                                .features = kNeeded,
                                .wanted = kWanted,
                                .config_bytes = kBytes,
                                .mtu = mtu,
                                .patience = patience},
                               [this](Channel::Patience limit) { return back_end.connect(limit); });
    if (front) (*front)->on_change([this] { ++changes; });
    return front;
  }
  std::string fault() {
    const auto made = make();
    return made ? std::string("nothing") : made.error().message;
  }
  static std::vector<std::byte> read(VhostUserFront& front) {
    std::vector<std::byte> bytes(kBytes);
    front.read_config(0, bytes);
    return bytes;
  }
  void use(VhostUserFront& front) {
    must(front.begin(kNeeded));
    must(front.watch(*thread));
  }
  void say(const Header& header, std::size_t bytes = sizeof(Header)) {
    ASSERT_GE(::send(back_end.request_fd(), &header, bytes, MSG_NOSIGNAL), 0);
  }

  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  std::atomic<unsigned> changes{0};
  Channel::Patience patience{5000};
  FakeBackEnd back_end;
};

TEST_F(VhostUserConfigTest, OfWhatIsWantedItTakesWhatIsOffered) {
  back_end.offer(kNeeded | kProtocol | 4 | 8, kPlain, 1);
  const auto front = must(make());
  EXPECT_EQ(front->features(), kNeeded | 4);
  must(front->begin(~std::uint64_t{0}));
  EXPECT_EQ(back_end.acked_features(), kNeeded | kProtocol | 4);
}

TEST_F(VhostUserConfigTest, WhatADriverWasOfferedTheNextBackEndMustHave) {
  back_end.offer(kNeeded | kProtocol | 4, kPlain, 1);
  const auto front = must(make());
  use(*front);
  back_end.hang_up();
  ASSERT_TRUE(eventually([&] { return !front->connected(); }));
  back_end.offer(kNeeded | kProtocol | 2, kPlain, 1);
  EXPECT_THAT(front->begin(kNeeded).error().message, HasSubstr("lacks features 0x4"));
  EXPECT_FALSE(front->connected());
  back_end.offer(kNeeded | kProtocol | 6, kPlain, 1);
  must(front->begin(kNeeded));
  EXPECT_TRUE(front->connected());
  EXPECT_EQ(front->features(), kNeeded | 4) << "no more than the driver knows of";
}

TEST_F(VhostUserConfigTest, OneQueueNeedsNoQueueNumbers) {
  back_end.offer(kNeeded | kProtocol, kPlain, 0);
  EXPECT_EQ(fault(), "nothing") << "without MQ nobody asks";
  back_end.offer(kNeeded | kProtocol, kPlain | 1U << kProtocolMq, 0);
  EXPECT_EQ(fault(), "vhost-user: the back end has 0 queues, not 1");
  back_end.offer(kNeeded | kProtocol, 1U << kProtocolMq, 1);
  EXPECT_EQ(fault(), "vhost-user: the back end lacks the protocol feature CONFIG");
}

TEST_F(VhostUserConfigTest, TheConfigurationIsTheBackEnds) {
  const auto front = must(make());
  EXPECT_EQ(read(*front), numbered(1));
  std::vector<std::byte> part(3);
  front->read_config(32, part);
  EXPECT_EQ(part, (std::vector<std::byte>{std::byte{33}, std::byte{34}, std::byte{35}}));

  const std::byte written{0xab};
  must(front->write_config(32, {&written, 1}));
  EXPECT_EQ(back_end.config()[32], written);
  EXPECT_EQ(back_end.config()[33], std::byte{34});
  EXPECT_EQ(read(*front)[32], written);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserConfigTest, AnswersThatAreNoConfiguration) {
  const std::size_t all = sizeof(ConfigHead) + kBytes;
  struct Answer {
    std::size_t bytes;
    ConfigHead head;
  };
  for (const Answer& wrong :
       {Answer{0, {}}, Answer{4, {}}, Answer{sizeof(ConfigHead), {0, 0, 0}},
        Answer{all - 1, {0, kBytes, 0}}, Answer{all + 1, {0, kBytes, 0}},
        Answer{all, {1, kBytes, 0}}, Answer{all, {0, kBytes - 1, 0}}, Answer{all, {0, ~0U, 0}}}) {
    back_end.set_hook([&](const Message& message, Channel& channel) {
      if (message.request() != Request::kGetConfig) return false;
      std::vector<std::byte> bytes(std::max(wrong.bytes, sizeof wrong.head));
      std::memcpy(bytes.data(), &wrong.head, sizeof wrong.head);
      bytes.resize(wrong.bytes);
      (void)channel.send(message.request(), kReply, bytes);
      return true;
    });
    EXPECT_THAT(fault(), HasSubstr("vhost-user: the configuration space is answered by"))
        << wrong.bytes;
  }
  // Too little of it is told by an empty answer.
  back_end.set_hook({});
  back_end.set_config(std::vector<std::byte>(kBytes - 1));
  EXPECT_THAT(fault(), HasSubstr("answered by 0 bytes, not 72"));
}

TEST_F(VhostUserConfigTest, AChangeIsHeardAndAskedForByWhoReads) {
  const auto front = must(make());
  use(*front);
  for (unsigned round = 1; round <= 5; ++round) {
    changes = 0;
    back_end.set_config(numbered(10 * round));
    ASSERT_TRUE(back_end.tell_config_change());
    ASSERT_TRUE(eventually([&] { return changes != 0; }));
    EXPECT_EQ(read(*front), numbered(10 * round));
  }
}

TEST_F(VhostUserConfigTest, AChangeWhileNobodyWatchesIsSeenByWhoReads) {
  const auto front = must(make());
  back_end.set_config(numbered(50));
  EXPECT_EQ(read(*front), numbered(1)) << "it has not said so";
  ASSERT_TRUE(back_end.tell_config_change());
  EXPECT_EQ(read(*front), numbered(50));
  EXPECT_EQ(changes, 1U);
}

TEST_F(VhostUserConfigTest, AFloodOfChangesIsOneUntilItIsRead) {
  const auto front = must(make());
  use(*front);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(back_end.tell_config_change());
  ASSERT_TRUE(eventually([&] { return changes != 0; }));
  thread->run_sync([] {});
  EXPECT_EQ(changes, 1U);
  EXPECT_EQ(read(*front), numbered(1));
  // A few at a time, as often as it is read.
  EXPECT_TRUE(eventually([&] {
    (void)read(*front);
    return changes > 1;
  }));
  EXPECT_TRUE(front->connected());
}

TEST_F(VhostUserConfigTest, AChangeThatWantsAnAnswerGetsOne) {
  const auto front = must(make());
  use(*front);
  // In two parts.
  const Header header{.request = kBackendConfigChange, .flags = kVersion | kNeedReply, .size = 0};
  ASSERT_EQ(::send(back_end.request_fd(), &header, 5, 0), 5);
  thread->run_sync([] {});
  ASSERT_EQ(::send(back_end.request_fd(), reinterpret_cast<const char*>(&header) + 5, 7, 0), 7);
  struct {
    Header head;
    std::uint32_t low, high;
  } reply{};
  ASSERT_EQ(::recv(back_end.request_fd(), &reply, sizeof reply, MSG_WAITALL), 20);
  EXPECT_EQ(reply.head.request, kBackendConfigChange);
  EXPECT_EQ(reply.head.flags, kVersion | kReply);
  EXPECT_EQ(reply.head.size, 8U);
  EXPECT_EQ(reply.low | reply.high, 0U);
  EXPECT_TRUE(eventually([&] { return changes == 1; }));
}

// The channel ends, for the back ends after it too; all else goes on.
TEST_F(VhostUserConfigTest, WhatElseABackEndSaysFirst) {
  for (const Header& wrong :
       {Header{1, kVersion, 0}, Header{3, kVersion, 0}, Header{~0U, ~0U, ~0U},
        Header{kBackendConfigChange, 2, 0}, Header{kBackendConfigChange, kVersion | kReply, 0},
        Header{kBackendConfigChange, kVersion, 1}}) {
    const auto front = must(make());
    use(*front);
    say(wrong);
    std::byte none{};
    EXPECT_EQ(::recv(back_end.request_fd(), &none, 1, MSG_WAITALL), 0) << "its end is closed";
    back_end.set_config(numbered(90));
    EXPECT_FALSE(back_end.tell_config_change());
    EXPECT_EQ(read(*front), numbered(1));
    EXPECT_TRUE(front->connected());
    back_end.hang_up();
    ASSERT_TRUE(eventually([&] { return !front->connected(); }));
    must(front->begin(kNeeded));
    EXPECT_EQ(read(*front), numbered(90)) << "asked for with the connection";
    back_end.set_config(numbered(1));
  }
}

TEST_F(VhostUserConfigTest, ANewConnectionsConfigurationIsTold) {
  const auto front = must(make());
  use(*front);
  back_end.hang_up();
  ASSERT_TRUE(eventually([&] { return changes == 1; })) << "it is not connected any more";
  back_end.set_config(numbered(20));
  EXPECT_EQ(read(*front), numbered(1));
  use(*front);
  EXPECT_GE(changes, 2U);
  EXPECT_EQ(read(*front), numbered(20));
  // What the one before has said is not the next one's.
  ASSERT_TRUE(back_end.tell_config_change());
  EXPECT_TRUE(eventually([&] { return read(*front) == numbered(20); }));
}

TEST_F(VhostUserConfigTest, ABackEndThatIsSilentWhenItIsAskedAgain) {
  patience = Channel::Patience(500);
  const auto front = must(make());
  use(*front);
  back_end.set_hook([](const Message& message, Channel&) {
    return message.request() == Request::kGetConfig || message.request() == Request::kSetConfig;
  });
  ASSERT_TRUE(back_end.tell_config_change());
  ASSERT_TRUE(eventually([&] { return changes != 0; }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read(*front), numbered(1)) << "as it was";
  const std::byte byte{};
  EXPECT_FALSE(front->write_config(32, {&byte, 1}));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_TRUE(eventually([&] { return front->losses() == 1; }));
}

TEST_F(VhostUserConfigTest, TheMtuIsToldToWhoTakesIt) {
  back_end.offer(kNeeded | kProtocol, kPlain, 1);
  (void)must(make(9000));
  EXPECT_EQ(back_end.mtu(), 0U);
  back_end.offer(kNeeded | kProtocol, kPlain | 1U << kProtocolMtu, 1);
  (void)must(make());
  EXPECT_EQ(back_end.mtu(), 0U);
  (void)must(make(9000));
  EXPECT_EQ(back_end.mtu(), 9000U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

}  // namespace
}  // namespace bellhop

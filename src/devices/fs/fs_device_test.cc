#include "devices/fs/fs_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <mutex>

#include "base/log_limiter.h"
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

/// The device behind its negotiation, between a driver and a back end.
struct FsDeviceTest : ::testing::Test, testing::OffloadFixture {
  void SetUp() override {
#ifdef BELLHOP_UNDER_TSAN
    GTEST_SKIP()
        << "the back end has a mapping of its own, which the sanitizer takes for other memory";
#endif
  }
  static constexpr unsigned kQueues = 3;

  Result<std::unique_ptr<FsDevice>> make() {
    FsConfig config;
    config.id = "fs0";
    config.tag = "shared";
    config.num_queues = kQueues - 1;
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
    negotiation->life().pause();
    back_end.set_hook({});
    negotiation->life().resume();
  }
  std::uint64_t losses() { return negotiation->life().stats().at(1).value; }

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
  EXPECT_EQ(negotiation->life().stats()[0].value, kQueues);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(FsDeviceTest, ShowsItsTagAndItsQueues) {
  FsConfigSpace space{};
  negotiation->life().write_config(0, std::as_bytes(std::span(&space, 1)));
  negotiation->life().read_config(0, std::as_writable_bytes(std::span(&space, 1)));
  EXPECT_STREQ(space.tag, "shared");
  EXPECT_EQ(space.num_request_queues, kQueues - 1);
}

TEST_F(FsDeviceTest, WithoutAcknowledgementsItWorksAsWell) {
  back_end.offer(FakeBackEnd::kAllFeatures, 1U << vhost_user::kProtocolMq, kQueues);
  negotiation->write_status(0);
  back_end.hang_up();  // the next life begins with a new connection
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  EXPECT_TRUE(bring_up() == kUp || bring_up() == kUp);
  EXPECT_TRUE(answers(1));
}

TEST_F(FsDeviceTest, PausesAndStartsAnew) {
  for (int life = 0; life < 5; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(answers(1));
    negotiation->life().pause();
    EXPECT_EQ(back_end.serving(), 0U);
    negotiation->life().resume();
    EXPECT_EQ(back_end.serving(), kQueues);
    ASSERT_TRUE(answers(1));
    ASSERT_TRUE(answers(2));
  }
  negotiation->write_status(0);
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
    EXPECT_EQ(negotiation->life().stats()[0].value, 0U);
    negotiation->life().notify(1);
  }
  back_end.refuse_connections(true);
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  back_end.refuse_connections(false);
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_TRUE(answers(1));
}

TEST_F(FsDeviceTest, AThousandResetsWithABackEndThatRefusesMakeFewLines) {
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(bring_up(), kUp);
  // First one that dies in each life, then one that lets nobody in.
  for (int life = 0; life < 100; ++life) {
    back_end.hang_up();
    (void)eventually([&] { return needs_reset(); });
    (void)bring_up();
  }
  back_end.hang_up();
  back_end.refuse_connections(true);
  for (int life = 0; life < 1000; ++life) EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  finish();
  const std::string all = ::testing::internal::GetCapturedStderr();
  // Those of the connection and those of the device's life.
  EXPECT_LE(std::ranges::count(all, '\n'), 2 * (log::Limiter::kBurst + 1)) << all;
  EXPECT_THAT(all.substr(all.rfind('\n', all.size() - 2) + 1),
              HasSubstr("more lines were left out since)"));
}

TEST_F(FsDeviceTest, ABackEndThatDiesWhilePaused) {
  ASSERT_EQ(bring_up(), kUp);
  negotiation->life().pause();
  back_end.hang_up();
  negotiation->life().resume();
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
      negotiation->write_status(0);
      back_end.hang_up();  // so that the memory is told again
      (void)bring_up();
      back_end.set_hook([=](const Message& message, Channel& channel) {
        if (message.request() != which) return false;
        if (dies) (void)::shutdown(channel.fd(), SHUT_RDWR);
        return true;
      });
      (void)bring_up();
      negotiation->life().pause();
      negotiation->life().resume();
      EXPECT_TRUE(eventually([&] { return needs_reset(); }));
      negotiation->write_status(0);
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
  negotiation->life().pause();
  back_end.shift_bases(0);
  negotiation->life().resume();
  EXPECT_EQ(back_end.connections(), 1U);
  EXPECT_FALSE(needs_reset());
  EXPECT_TRUE(answers(2));
}

// ---- what it may do to that which it shares with us ----

/// Keeps all events that it is sent, and does to them what would make others wait for it.
class Tormentor {
 public:
  void take(const Message& message) {
    const std::lock_guard<std::mutex> hold(mutex_);
    for (const UniqueFd& fd : message.fds) {
      fds_.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    }
  }
  /// Nothing to be read, for who reads next.
  void empty() {
    each([](int fd) {
      std::uint64_t count = 0;
      (void)::fcntl(fd, F_SETFL, O_NONBLOCK);
      (void)!::read(fd, &count, sizeof count);
      (void)::fcntl(fd, F_SETFL, 0);
    });
  }
  /// No room, for who writes next.
  void fill() {
    empty();
    each([](int fd) {
      const std::uint64_t all = UINT64_MAX - 1;
      (void)::fcntl(fd, F_SETFL, O_NONBLOCK);
      (void)!::write(fd, &all, sizeof all);
      (void)::fcntl(fd, F_SETFL, 0);
    });
  }
  void release() {
    const std::lock_guard<std::mutex> hold(mutex_);
    fds_.clear();
  }

 private:
  template <class Act>
  void each(Act act) {
    const std::lock_guard<std::mutex> hold(mutex_);
    for (const UniqueFd& fd : fds_) act(fd.get());
  }
  std::mutex mutex_;
  std::vector<UniqueFd> fds_;
};

TEST_F(FsDeviceTest, SharedEventsMakeNobodyWait) {
  const EventFd call = must(EventFd::create());
  Tormentor tormentor;
  std::atomic<bool> full{false};
  back_end.set_hook([&](const Message& message, Channel& channel) {
    switch (message.request()) {
      case Request::kSetVringKick:
      case Request::kSetVringCall:
      case Request::kSetVringErr:
        tormentor.take(message);
        return false;
      case Request::kSetVringEnable:
      case Request::kGetVringBase: {
        // The last message before the ring is kicked, or before its kick is taken back. Of the
        // first nothing comes: who serves the ring would read from what is full.
        if (full) tormentor.fill();
        if (!full) tormentor.empty();
        if (message.request() == Request::kGetVringBase || !full) return false;
        const std::uint64_t good = 0;
        (void)channel.send(message.request(), vhost_user::kReply,
                           std::as_bytes(std::span(&good, 1)));
        return true;
      }
      default:
        return false;
    }
  });
  // Who waits for it does so for ever, with the device's lock: let go by ourselves, and a fault.
  std::promise<void> done;
  std::atomic<bool> hung{false};
  std::thread rescue([&, ends = done.get_future()] {
    while (ends.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
      hung = true;
      full ? tormentor.empty() : tormentor.fill();
    }
  });
  for (const bool now_full : {false, true, false, true}) {
    full = now_full;
    // A fault that is filled is a fault, too.
    EXPECT_EQ(bring_up() & kUp, kUp);
    for (unsigned i = 0; i < kQueues; ++i) negotiation->life().set_queue_interrupt(i, &call);
    negotiation->life().notify(1);
    negotiation->life().pause();
    negotiation->life().resume();
    negotiation->life().set_memory_access(MemoryAccess::kForbidden);
    negotiation->life().set_memory_access(MemoryAccess::kAllowed);
    negotiation->write_status(0);
    tormentor.release();
  }
  done.set_value();
  rescue.join();
  EXPECT_FALSE(hung) << "a thread waited for what the back end has done";
  back_end.set_hook({});
  back_end.hang_up();
  ASSERT_TRUE(bring_up() == kUp || bring_up() == kUp);
  EXPECT_TRUE(answers(1));
}

// A thread that serves others, and a guest that is told of each.
TEST_F(FsDeviceTest, AFaultThatIsSignalledWithoutEndIsHeardOnce) {
  std::mutex mutex;
  UniqueFd fault;
  back_end.set_hook([&](const Message& message, Channel&) {
    if (message.request() == Request::kSetVringErr) {
      const std::lock_guard<std::mutex> hold(mutex);
      fault = UniqueFd(::fcntl(message.fds.at(0).get(), F_DUPFD_CLOEXEC, 0));
    }
    return false;
  });
  ASSERT_EQ(bring_up(), kUp);
  const std::lock_guard<std::mutex> hold(mutex);
  const std::uint64_t one = 1;
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(::write(fault.get(), &one, sizeof one), 8);
    thread->run_sync([] {});
  }
  EXPECT_TRUE(eventually([&] { return needs_reset(); }));
  EXPECT_EQ(negotiation->life().counters(kQueues - 1).broken.get(), 1U);
}

TEST_F(FsDeviceTest, TheGuestsMemoryKeepsItsSize) {
  std::atomic<unsigned> refused{0};
  back_end.set_hook([&](const Message& message, Channel&) {
    if (message.request() != Request::kSetMemTable) return false;
    for (const UniqueFd& fd : message.fds) {
      if (::ftruncate(fd.get(), 0) != 0) ++refused;
      if (::ftruncate(fd.get(), 1 << 30) != 0) ++refused;
      if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0) ++refused;
      (void)::fcntl(fd.get(), F_SETFL, O_APPEND | O_NONBLOCK);
      (void)::fchmod(fd.get(), 0);
    }
    return false;
  });
  ASSERT_EQ(bring_up(), kUp);
  EXPECT_EQ(refused, 3 * memory.regions().size());
  EXPECT_TRUE(answers(1));
  EXPECT_TRUE(answers(2));
}

TEST_F(FsDeviceTest, ABrokenRingNeedsAReset) {
  ASSERT_EQ(bring_up(), kUp);
  drivers[1].set_avail_idx(0x4000);
  negotiation->life().notify(1);
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
  FsConfig config;
  config.tag = "t";
  config.socket = "/nowhere/socket";
  const GuestMemory shared = make_memory();
  EXPECT_THAT(make_device(config, {.memory = &shared}).error().message,
              HasSubstr("--fs: socket=/nowhere/socket: cannot connect: No such file"));
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  EXPECT_THAT(make_device(config, {.memory = &own}).error().message,
              HasSubstr("memory is not shared"));
}

}  // namespace
}  // namespace bellhop

// The front end against a back end that follows a script: what is sent, in which order, and what
// becomes of each wrong answer. A back end that serves rings is in the tests of virtio-fs.
#include "vhost_user/vhost_user_front.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <bit>
#include <mutex>

#include "testing/fake_back_end.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using namespace vhost_user;
using ::testing::ElementsAre;
using testing::FakeBackEnd;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kProtocolBit = std::uint64_t{1} << kFeatureProtocol;
constexpr std::uint64_t kNeeded = 0x7'0000'0000;
constexpr std::uint64_t kBothProtocols = 1U << kProtocolMq | 1U << kProtocolReplyAck;

class VhostUserFrontTest : public ::testing::Test {
 protected:
  static constexpr unsigned kRings = 2;
  static constexpr std::uint16_t kSize = 16;
  static constexpr auto kPatience = 250ms;

  VhostUserFrontTest() {
    for (EventFd* event : {&call, &other}) *event = must(EventFd::create());
    for (unsigned i = 0; i < kRings; ++i) {
      kicks[i] = must(EventFd::create());
      faults[i] = must(EventFd::create());
      // Empty, for a back end that looks.
      const OffloadedRing one = ring(i);
      const auto next = static_cast<std::uint16_t>(one.base);
      std::memcpy(one.avail + virtio::kAvailIdxOffset, &next, sizeof next);
    }
    listen();
  }
  Result<std::unique_ptr<VhostUserFront>> make() {
    return VhostUserFront::create(
        {.name = "fs7", .queues = kRings, .features = kNeeded, .patience = kPatience},
        [this](Channel::Patience patience) { return back_end.connect(patience); });
  }
  /// Ring `index` with its areas at different places of the guest's memory.
  OffloadedRing ring(unsigned index) {
    std::byte* const base = memory.regions()[1].host + 0x10000 * index;
    return {{.memory = &memory,
             .desc = base,
             .avail = base + 0x1000,
             .used = base + 0x2000,
             .size = kSize},
            static_cast<std::uint16_t>(0xfff0 + index),
            &kicks[index],
            &call,
            &faults[index]};
  }
  void set_used_index(unsigned index, std::uint16_t value) {
    std::memcpy(ring(index).used + virtio::kUsedIdxOffset, &value, sizeof value);
  }

  /// What came, without its descriptors.
  struct Seen {
    Request request{};
    std::uint32_t flags = 0;
    std::vector<std::byte> payload;
    std::size_t fds = 0;
    template <class T>
    [[nodiscard]] T as() const {
      T value{};
      EXPECT_EQ(payload.size(), sizeof value);
      std::memcpy(&value, payload.data(), std::min(payload.size(), sizeof value));
      return value;
    }
  };
  void note(const Message& message) {
    const std::lock_guard<std::mutex> hold(mutex);
    Seen& one = seen.emplace_back();
    one.request = message.request();
    one.flags = message.header.flags;
    one.payload.assign(message.payload.begin(), message.payload.begin() + message.header.size);
    one.fds = message.fds.size();
    const bool event = one.request == Request::kSetVringKick ||
                       one.request == Request::kSetVringCall ||
                       one.request == Request::kSetVringErr;
    if (!event || message.fds.empty()) return;
    events.push_back(name_of(message.fds[0].get()));
  }
  /// Which event a descriptor is. While nobody else listens for it.
  std::string name_of(int fd) {
    const std::uint64_t mark = 77;
    EXPECT_EQ(::write(fd, &mark, sizeof mark), 8);
    for (const auto& [name, event] :
         {std::pair("kick 0", &kicks[0]), std::pair("kick 1", &kicks[1]), std::pair("call", &call),
          std::pair("other", &other), std::pair("fault 0", &faults[0]),
          std::pair("fault 1", &faults[1])}) {
      if (event->consume() == mark) return name;
    }
    return "none of them";
  }
  std::vector<Seen> take_seen() {
    const std::lock_guard<std::mutex> hold(mutex);
    return std::exchange(seen, {});
  }
  static std::vector<Request> requests(const std::vector<Seen>& all) {
    std::vector<Request> list;
    list.reserve(all.size());
    for (const Seen& one : all) list.push_back(one.request);
    return list;
  }
  void listen() {
    back_end.set_hook([this](const Message& message, Channel&) {
      note(message);
      return false;
    });
  }
  /// Message `which` is answered by `bytes`, as they are; with an empty answer by nothing.
  void answer(Request which, const std::vector<std::byte>& bytes, bool hang_up = false) {
    back_end.set_hook([=](const Message& message, Channel& channel) {
      if (message.request() != which) return false;
      (void)::send(channel.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (hang_up) (void)::shutdown(channel.fd(), SHUT_RDWR);
      return true;
    });
  }
  static std::vector<std::byte> reply(Request request, std::uint32_t flags, std::size_t bytes,
                                      std::uint64_t value = 0) {
    const Header header{.request = static_cast<std::uint32_t>(request),
                        .flags = flags,
                        .size = static_cast<std::uint32_t>(bytes)};
    std::vector<std::byte> all(sizeof header + bytes);
    std::memcpy(all.data(), &header, sizeof header);
    std::memcpy(all.data() + sizeof header, &value, std::min(bytes, sizeof value));
    return all;
  }
  /// One life with all that there is in it. Errors: the first.
  Status live(VhostUserFront& front) {
    if (auto begun = front.begin(kNeeded); !begun) return begun;
    if (auto watched = front.watch(*thread); !watched) return watched;
    for (unsigned i = 0; i < kRings; ++i) {
      if (auto done = front.ring(i).start(ring(i)); !done) return done;
      runs[i] = true;
    }
    return {};
  }
  /// Those that live() has started; where ring 0 is said to be.
  std::uint32_t end(VhostUserFront& front) {
    std::uint32_t first = 0;
    for (unsigned i = 0; i < kRings; ++i) {
      if (!std::exchange(runs[i], false)) continue;
      const std::uint32_t at = front.ring(i).stop();
      if (i == 0) first = at;
    }
    return first;
  }
  template <class Condition>
  static bool soon(Condition condition) {
    const auto deadline = Clock::now() + 10s;
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  GuestMemory memory = make_memory();
  EventFd call, other;
  std::array<EventFd, kRings> kicks;
  std::array<EventFd, kRings> faults;
  std::array<bool, kRings> runs{};
  std::mutex mutex;
  std::vector<Seen> seen;
  std::vector<std::string> events;
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  FakeBackEnd back_end;
};

TEST_F(VhostUserFrontTest, ARingsLifeMessageByMessage) {
  const auto front = must(make());
  EXPECT_THAT(requests(take_seen()),
              ElementsAre(Request::kSetOwner, Request::kGetFeatures, Request::kGetProtocolFeatures,
                          Request::kSetProtocolFeatures, Request::kGetQueueNum));
  ASSERT_TRUE(front->begin(0x2'0000'0000 | std::uint64_t{1} << 40));
  const auto begun = take_seen();
  ASSERT_THAT(requests(begun), ElementsAre(Request::kSetFeatures));
  EXPECT_EQ(begun[0].as<std::uint64_t>(), 0x2'0000'0000 | kProtocolBit)
      << "no more than the device has";

  ASSERT_TRUE(front->ring(1).start(ring(1)));
  const auto started = take_seen();
  ASSERT_THAT(requests(started),
              ElementsAre(Request::kSetMemTable, Request::kSetVringNum, Request::kSetVringBase,
                          Request::kSetVringAddr, Request::kSetVringErr, Request::kSetVringCall,
                          Request::kSetVringKick, Request::kSetVringEnable));
  for (const Seen& one : started) EXPECT_EQ(one.flags, kVersion | kNeedReply);
  // The map of memory, one descriptor for each region.
  ASSERT_EQ(started[0].payload.size(), 8 + 2 * sizeof(MemoryRegion));
  EXPECT_EQ(started[0].fds, 2U);
  MemoryTable table;
  std::memcpy(&table, started[0].payload.data(), started[0].payload.size());
  EXPECT_EQ(table.count, 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& region = memory.regions()[i];
    EXPECT_EQ(table.regions[i].guest_address, region.base.value());
    EXPECT_EQ(table.regions[i].size, region.size);
    EXPECT_EQ(table.regions[i].user_address, reinterpret_cast<std::uintptr_t>(region.host));
    EXPECT_EQ(table.regions[i].mmap_offset, region.file_offset);
  }
  EXPECT_EQ(started[1].as<VringState>().index, 1U);
  EXPECT_EQ(started[1].as<VringState>().num, kSize);
  EXPECT_EQ(started[2].as<VringState>().index, 1U);
  EXPECT_EQ(started[2].as<VringState>().num, 0xfff1U);
  const auto at = started[3].as<VringAddresses>();
  EXPECT_EQ(at.index, 1U);
  EXPECT_EQ(at.flags, 0U);
  EXPECT_EQ(at.log, 0U);
  EXPECT_EQ(at.desc, reinterpret_cast<std::uintptr_t>(ring(1).desc));
  EXPECT_EQ(at.avail, reinterpret_cast<std::uintptr_t>(ring(1).avail));
  EXPECT_EQ(at.used, reinterpret_cast<std::uintptr_t>(ring(1).used));
  for (std::size_t i = 4; i < 7; ++i) {
    EXPECT_EQ(started[i].as<std::uint64_t>(), 1U);
    EXPECT_EQ(started[i].fds, 1U);
  }
  EXPECT_EQ(started[7].as<VringState>().index, 1U);
  EXPECT_EQ(started[7].as<VringState>().num, 1U);
  EXPECT_THAT(std::exchange(events, {}), ElementsAre("fault 1", "call", "kick 1"));
  EXPECT_EQ(front->served(), 1U);

  front->ring(1).call_changed(&other);
  front->ring(1).call_changed(nullptr);
  const auto changed = take_seen();
  ASSERT_THAT(requests(changed), ElementsAre(Request::kSetVringCall, Request::kSetVringCall));
  EXPECT_EQ(changed[1].fds, 1U) << "back ends take no event for a fault";
  EXPECT_THAT(std::exchange(events, {}), ElementsAre("other", "none of them"));

  set_used_index(1, 0xfff1);
  EXPECT_EQ(front->ring(1).stop(), 0xfff1U);
  EXPECT_EQ(front->served(), 0U);
  const auto stopped = take_seen();
  ASSERT_THAT(requests(stopped), ElementsAre(Request::kSetVringEnable, Request::kGetVringBase));
  EXPECT_EQ(stopped[0].as<VringState>().index, 1U);
  EXPECT_EQ(stopped[0].as<VringState>().num, 0U);
  EXPECT_EQ(stopped[1].as<VringState>().index, 1U);
  EXPECT_EQ(stopped[1].flags, kVersion) << "the value is the answer";

  // The memory is told once.
  ASSERT_TRUE(front->ring(0).start(ring(0)));
  const auto again = take_seen();
  EXPECT_EQ(again[0].request, Request::kSetVringNum);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserFrontTest, WithoutAnInterruptAtTheStart) {
  const auto front = must(make());
  ASSERT_TRUE(front->begin(kNeeded));
  OffloadedRing silent = ring(0);
  silent.call = nullptr;
  ASSERT_TRUE(front->ring(0).start(silent));
  EXPECT_THAT(events, ElementsAre("fault 0", "none of them", "kick 0"));
}

TEST_F(VhostUserFrontTest, AsksForNoAcknowledgementsThatWereNotAgreedOn) {
  back_end.offer(FakeBackEnd::kAllFeatures, 1U << kProtocolMq, kRings);
  const auto front = must(make());
  ASSERT_TRUE(live(*front));
  set_used_index(0, 0xfff0);
  EXPECT_EQ(front->ring(0).stop(), 0xfff0U);
  for (const Seen& one : take_seen()) {
    EXPECT_EQ(one.flags, kVersion) << static_cast<unsigned>(one.request);
    if (one.request == Request::kSetProtocolFeatures) {
      EXPECT_EQ(one.as<std::uint64_t>(), 1U << kProtocolMq);
    }
  }
}

TEST_F(VhostUserFrontTest, TakesOfTheProtocolWhatItKnows) {
  const auto front = must(make());
  const auto all = take_seen();
  ASSERT_EQ(all[3].request, Request::kSetProtocolFeatures);
  EXPECT_EQ(all[3].as<std::uint64_t>(), kBothProtocols);
  // Acknowledged from the next message on.
  EXPECT_EQ(all[0].flags, kVersion);
}

TEST_F(VhostUserFrontTest, ABackEndThatLacksSomething) {
  const auto fault = [this] {
    const auto made = make();
    return made ? std::string("nothing") : made.error().message;
  };
  back_end.offer(kNeeded | kProtocolBit, kBothProtocols, kRings);
  EXPECT_EQ(fault(), "nothing");
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t mask = std::uint64_t{1} << bit;
    if (((kNeeded | kProtocolBit) & mask) == 0) continue;
    back_end.offer(FakeBackEnd::kAllFeatures & ~mask, kBothProtocols, kRings);
    EXPECT_THAT(fault(), HasSubstr("lacks features 0x")) << bit;
  }
  back_end.offer(kNeeded | kProtocolBit, 1U << kProtocolReplyAck, kRings);
  EXPECT_THAT(fault(), HasSubstr("lacks the protocol feature MQ"));
  back_end.offer(kNeeded | kProtocolBit, kBothProtocols, kRings - 1);
  EXPECT_EQ(fault(), "vhost-user: the back end has 1 queues, not 2");
  back_end.refuse_connections(true);
  EXPECT_EQ(fault(), "nobody listens");
}

// Each message of a life is answered wrongly in each way. Nothing but an error comes of it, soon;
// the connection is given up, and the next life is as the first.
TEST_F(VhostUserFrontTest, EveryWrongAnswerToEveryMessage) {
  constexpr Request kAll[] = {Request::kSetFeatures,    Request::kSetMemTable,
                              Request::kSetVringNum,    Request::kSetVringBase,
                              Request::kSetVringAddr,   Request::kSetVringErr,
                              Request::kSetVringCall,   Request::kSetVringKick,
                              Request::kSetVringEnable, Request::kGetVringBase};
  auto front = must(make());
  unsigned lost = 0;
  for (const Request which : kAll) {
    const std::uint32_t good = kVersion | kReply;
    const auto right = reply(which, good, 8);
    const std::vector<std::vector<std::byte>> wrong{
        reply(Request::kSetOwner, good, 8),  // to another message
        reply(which, kVersion, 8),           // no answer
        reply(which, kReply | 2, 8),         // version 2
        reply(which, good, 0),
        reply(which, good, 4),
        reply(which, good, 7),
        reply(which, good, 9),
        reply(which, good, 16),
        reply(which, good, kMaxPayload),
        reply(which, good, kMaxPayload + 1),
        {right.begin(), right.begin() + 5},  // and no more: too late
        {right.begin(), right.begin() + 15},
        {},
    };
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      // Those that say too little cost their patience: of each, one that waits and one that goes.
      const bool short_of = i >= wrong.size() - 3;
      SCOPED_TRACE("message " + std::to_string(static_cast<unsigned>(which)) + ", answer " +
                   std::to_string(i));
      listen();
      if (which == Request::kSetMemTable) front = must(make());  // it is told once
      const auto begin = Clock::now();
      const std::uint64_t losses = front->losses();
      answer(which, wrong[i], short_of && i != wrong.size() - 1);
      const bool at_end = which == Request::kGetVringBase;
      const auto lived = live(*front);
      EXPECT_EQ(lived.has_value(), at_end);
      if (!lived) {
        EXPECT_THAT(lived.error().message, HasSubstr("vhost-user: "));
      }
      set_used_index(0, 0x1234);
      const bool ran = runs[0];
      const std::uint32_t at = end(*front);
      if (ran) {
        EXPECT_EQ(at, 0x1234U) << "it says nothing that can be believed";
      }
      EXPECT_LT(Clock::now() - begin, kPatience + 5s);
      EXPECT_EQ(front->served(), 0U);
      // Without features there was nobody yet to be told.
      if (which != Request::kSetFeatures) {
        EXPECT_TRUE(soon([&] { return front->losses() == losses + 1; }));
      }
      // A later life begins with a connection of its own.
      listen();
      const unsigned before = back_end.connections();
      ASSERT_TRUE(live(*front));
      EXPECT_EQ(back_end.connections(), before + 1);
      EXPECT_EQ(front->served(), kRings);
      end(*front);
      ++lost;
    }
  }
  EXPECT_GT(lost, 100U);
  EXPECT_EQ(back_end.wrong_messages(), 0U);
}

TEST_F(VhostUserFrontTest, WrongAnswersBeforeThereIsADriver) {
  for (const Request which :
       {Request::kGetFeatures, Request::kGetProtocolFeatures, Request::kGetQueueNum}) {
    for (const auto& bytes :
         {reply(which, kVersion | kReply, 4, ~0U), reply(which, kVersion, 8, ~0U),
          reply(Request::kSetOwner, kVersion | kReply, 8, ~0U), std::vector<std::byte>()}) {
      answer(which, bytes);
      const auto made = make();
      ASSERT_FALSE(made);
      EXPECT_THAT(made.error().message, HasSubstr("vhost-user: "));
    }
  }
}

TEST_F(VhostUserFrontTest, ADescriptorBesideAnAnswer) {
  const auto front = must(make());
  back_end.set_hook([](const Message& message, Channel& channel) {
    if (message.request() != Request::kSetFeatures) return false;
    const std::uint64_t zero = 0;
    const std::array fds{channel.fd()};
    (void)channel.send(message.request(), kReply, std::as_bytes(std::span(&zero, 1)), fds);
    return true;
  });
  EXPECT_THAT(front->begin(kNeeded).error().message, HasSubstr("is answered by message"));
}

// What is refused is an error, and no reason to part.
TEST_F(VhostUserFrontTest, ARefusalOfEachMessage) {
  for (const Request which :
       {Request::kSetFeatures, Request::kSetMemTable, Request::kSetVringNum, Request::kSetVringBase,
        Request::kSetVringAddr, Request::kSetVringErr, Request::kSetVringCall,
        Request::kSetVringKick, Request::kSetVringEnable}) {
    SCOPED_TRACE(static_cast<unsigned>(which));
    const auto front = must(make());
    for (const std::uint64_t code : {std::uint64_t{1}, std::uint64_t{1} << 63}) {
      if (which == Request::kSetMemTable && code != 1) continue;  // it is told once
      answer(which, reply(which, kVersion | kReply, 8, code));
      const auto lived = live(*front);
      ASSERT_FALSE(lived);
      EXPECT_EQ(lived.error().message, "vhost-user: the back end refuses message " +
                                           std::to_string(static_cast<unsigned>(which)));
      end(*front);
      EXPECT_EQ(front->served(), 0U);
      listen();
      ASSERT_TRUE(live(*front));
      EXPECT_EQ(front->served(), kRings);
      end(*front);
    }
    EXPECT_EQ(front->losses(), 0U);
  }
  EXPECT_EQ(back_end.connections(), 9U) << "one for each front";
}

// virtio 1.3, 2.8.1: its places are indices with a wrap counter, both in one number.
TEST_F(VhostUserFrontTest, WhereAPackedRingIsSaidToBe) {
  const auto front = must(make());
  std::atomic<std::uint32_t> told = 0;
  back_end.set_hook([&told](const Message& message, Channel&) {
    VringState state;
    if (message.request() == Request::kSetVringBase && message.read(state)) told = state.num;
    return false;
  });
  const auto stopped_at = [&](std::uint32_t num) {
    OffloadedRing packed = ring(1);
    packed.packed = true;
    packed.base = 0x80038003;
    back_end.shift_bases(num - 0x8003U);  // it keeps the lower half of what it is told
    EXPECT_TRUE(front->begin(kNeeded));
    EXPECT_TRUE(front->ring(1).start(packed));
    EXPECT_EQ(told, 0x80038003U);
    return front->ring(1).stop();
  };
  EXPECT_EQ(stopped_at(0x00050005), 0x00050005U);
  EXPECT_EQ(stopped_at(0x80000000 | (kSize - 1)), 0x80000000 | (kSize - 1));
  EXPECT_EQ(back_end.connections(), 1U);
  // Outside of the ring: what else it says is not to be believed either.
  EXPECT_EQ(stopped_at(kSize), 0x80038003U);
  EXPECT_EQ(stopped_at(kSize << 16 | 1), 0x80038003U);
  EXPECT_EQ(back_end.connections(), 2U);
  back_end.shift_bases(0);
  back_end.set_hook({});
}

TEST_F(VhostUserFrontTest, WhereARingIsSaidToBe) {
  const auto front = must(make());
  const auto stopped_at = [&](std::uint16_t used, unsigned index, std::uint32_t num) {
    EXPECT_TRUE(live(*front));
    set_used_index(1, used);
    back_end.shift_bases(num - ring(1).base);
    if (index != 1) {
      const VringState said{.index = index, .num = num};
      answer(Request::kGetVringBase, reply(Request::kGetVringBase, kVersion | kReply, 8,
                                           std::bit_cast<std::uint64_t>(said)));
    }
    runs[1] = false;
    const std::uint32_t at = front->ring(1).stop();
    back_end.shift_bases(0);
    listen();
    end(*front);
    return at;
  };
  EXPECT_EQ(stopped_at(100, 1, 100), 100U);
  EXPECT_EQ(stopped_at(100, 1, 100 + kSize), 100U + kSize);
  EXPECT_EQ(stopped_at(100, 1, 101 + kSize), 100U) << "more than there are entries";
  EXPECT_EQ(stopped_at(100, 1, 99), 100U) << "less than was given back";
  EXPECT_EQ(stopped_at(0xfffe, 1, 2), 2U);
  EXPECT_EQ(back_end.connections(), 1U);
  // No such number, or of another ring: what else it says is not to be believed either.
  EXPECT_EQ(stopped_at(100, 1, 0x10064), 100U);
  EXPECT_EQ(stopped_at(100, 0, 101), 100U);
  ASSERT_TRUE(live(*front));
  EXPECT_EQ(back_end.connections(), 3U);
}

TEST_F(VhostUserFrontTest, AnEndIsToldToEveryRingThatIsServed) {
  const auto front = must(make());
  ASSERT_TRUE(front->begin(kNeeded));
  ASSERT_TRUE(front->watch(*thread));
  ASSERT_TRUE(front->ring(0).start(ring(0)));
  ASSERT_TRUE(front->ring(1).start(ring(1)));
  (void)front->ring(1).stop();
  EXPECT_EQ(front->served(), 1U);
  back_end.hang_up();
  EXPECT_TRUE(soon([&] { return front->losses() == 1; }));
  thread->run_sync([] {});
  EXPECT_EQ(faults[0].consume(), 1U);
  EXPECT_EQ(faults[1].consume(), 0U) << "not served";
  EXPECT_EQ(front->served(), 0U);
  // Who looks at it again is told nothing new.
  ASSERT_TRUE(front->watch(*thread));
  for (int i = 0; i < 3; ++i) thread->run_sync([] {});
  EXPECT_EQ(front->losses(), 1U);
  EXPECT_EQ(faults[0].consume(), 0U);
  // The rest of that life goes on without a back end.
  set_used_index(0, 5);
  EXPECT_EQ(front->ring(0).stop(), 5U);
  EXPECT_FALSE(front->ring(1).start(ring(1)));
  front->ring(1).call_changed(nullptr);
  // The next one is told of the memory as well.
  (void)take_seen();
  ASSERT_TRUE(live(*front));
  EXPECT_EQ(front->losses(), 1U);
  EXPECT_EQ(front->served(), kRings);
  EXPECT_EQ(faults[0].consume() + faults[1].consume(), 0U);
  EXPECT_EQ(back_end.connections(), 2U);
  const auto all = requests(take_seen());
  EXPECT_EQ(std::ranges::count(all, Request::kSetMemTable), 1);
  EXPECT_EQ(std::ranges::count(all, Request::kSetOwner), 1);
}

TEST_F(VhostUserFrontTest, AnEndBeforeARingIsReadyIsToldToItAsSoonAsItIs) {
  back_end.offer(FakeBackEnd::kAllFeatures, 1U << kProtocolMq, kRings);  // nothing waits for it
  const auto front = must(make());
  ASSERT_TRUE(front->begin(kNeeded));
  ASSERT_TRUE(front->watch(*thread));
  // Its end of the connection is closed for writing: what it is sent still arrives.
  back_end.set_hook([](const Message& message, Channel& channel) {
    if (message.request() == Request::kSetVringNum) (void)::shutdown(channel.fd(), SHUT_WR);
    return false;
  });
  ASSERT_TRUE(front->ring(0).start(ring(0)));
  EXPECT_TRUE(soon([&] { return faults[0].consume() == 1; }));
  ASSERT_TRUE(front->ring(1).start(ring(1)));
  EXPECT_EQ(faults[1].consume(), 1U);
}

TEST_F(VhostUserFrontTest, NobodyIsToldOnceItIsNotWatched) {
  const auto front = must(make());
  ASSERT_TRUE(live(*front));
  front->unwatch();
  back_end.hang_up();
  std::this_thread::sleep_for(20ms);
  thread->run_sync([] {});
  EXPECT_EQ(front->losses(), 0U);
  EXPECT_EQ(faults[0].consume(), 0U);
}

TEST_F(VhostUserFrontTest, AnotherBackEndMayHaveOtherFeatures) {
  const auto front = must(make());
  ASSERT_TRUE(live(*front));
  end(*front);
  back_end.hang_up();
  ASSERT_TRUE(soon([&] { return front->losses() == 1; }));
  back_end.offer((kNeeded & ~(std::uint64_t{1} << 32)) | kProtocolBit, kBothProtocols, kRings);
  EXPECT_THAT(live(*front).error().message, HasSubstr("lacks features 0x100000000"));
  back_end.offer(FakeBackEnd::kAllFeatures, kBothProtocols, 1);
  EXPECT_THAT(live(*front).error().message, HasSubstr("has 1 queues, not 2"));
  // Fewer features of the protocol are none of the driver's business.
  back_end.offer(kNeeded | kProtocolBit, 1U << kProtocolMq, kRings);
  (void)take_seen();
  ASSERT_TRUE(live(*front));
  for (const Seen& one : take_seen()) EXPECT_EQ(one.flags & kNeedReply, 0U);
  EXPECT_EQ(back_end.acked_features(), kNeeded | kProtocolBit);
}

// Every answer comes in time, and all of a device's start together does not: a vCPU, and with it
// the device's lock, waits for it.
TEST_F(VhostUserFrontTest, ABackEndThatIsSlowAtEachMessage) {
  const auto front = must(make());
  back_end.set_hook([](const Message&, Channel&) {
    std::this_thread::sleep_for(kPatience / 4);
    return false;
  });
  const auto begin = Clock::now();
  const auto lived = live(*front);
  ASSERT_FALSE(lived);
  EXPECT_EQ(lived.error().code, ETIMEDOUT);
  end(*front);
  EXPECT_LT(Clock::now() - begin, 3 * kPatience);
}

TEST_F(VhostUserFrontTest, MemoryThatCannotBeShared) {
  const GuestMemory own = make_memory(1U << 20, 1U << 20, MemoryBacking::kPrivate);
  const auto front = must(make());
  ASSERT_TRUE(front->begin(kNeeded));
  OffloadedRing wrong = ring(0);
  wrong.memory = &own;
  EXPECT_THAT(front->ring(0).start(wrong).error().message, HasSubstr("cannot be shared"));
}

}  // namespace
}  // namespace bellhop

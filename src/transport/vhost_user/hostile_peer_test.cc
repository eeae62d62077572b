// Front ends that break the protocol, and peers that take things away: refused, counted, contained.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>

#include <bit>

#include "testing/vhost_user_server_fixture.h"
#include "vhost_user/message_names.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using Client = testing::VhostUserClient;

class HostilePeerTest : public ::testing::TestWithParam<bool>,
                        public testing::VhostUserServerFixture {
 protected:
  HostilePeerTest() : VhostUserServerFixture(GetParam()) {}

  /// Whether a good front end is served, once the hostile one has gone.
  void expect_good_service() {
    Client good(kRings);
    start(good);
    for (unsigned i = 0; i < kRings; ++i) EXPECT_TRUE(good.echo(i));
  }
  static bool set_memory(Client& client, std::span<const MemoryRegion> regions,
                         std::span<const int> fds) {
    MemoryTable table;
    table.count = static_cast<std::uint32_t>(regions.size());
    std::ranges::copy(regions, table.regions);
    const auto all = std::as_bytes(std::span(&table, 1));
    return client.tell(Request::kSetMemTable, all.first(8 + regions.size() * sizeof(MemoryRegion)),
                       fds, kNeedReply);
  }
  /// Bytes as they are, without a channel's help.
  static void send_raw(Client& client, std::span<const std::byte> bytes) {
    ASSERT_EQ(::send(client.socket(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
};
INSTANTIATE_TEST_SUITE_P(Loops, HostilePeerTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(HostilePeerTest, EveryMessageIsKnownByNameAndRefusedWhereItIsNotServed) {
  // Of all, with a payload that none of them has.
  const std::array<std::byte, 3> odd{};
  for (std::uint32_t number = 0; number <= 50; ++number) {
    const bool known = number >= 1 && number <= 44;
    EXPECT_EQ(message_name(number).find("message"), known ? std::string::npos : 0U) << number;
    Client client;
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.negotiate());
    const std::uint64_t before = device().refused();
    if (Request{number} == Request::kGetConfig) {
      const auto reply = client.ask_raw(Request{number}, odd);
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->header.size, 0U) << "no configuration";
    } else if (Request{number} == Request::kSetDeviceStateFd ||
               Request{number} == Request::kCheckDeviceState) {
      const auto reply = client.ask_raw(Request{number}, odd);
      std::uint64_t failed = 0;
      ASSERT_TRUE(reply && reply->read(failed));
      EXPECT_NE(failed, 0U) << number;
      EXPECT_TRUE(reply->fds.empty());
    } else if (is_answered(number)) {
      // A front end that waits for an answer that does not come would wait for ever.
      EXPECT_FALSE(client.ask_raw(Request{number}, odd)) << number;
      EXPECT_TRUE(client.is_closed()) << number;
    } else if (Request{number} == Request::kSetBackendReqFd) {
      EXPECT_FALSE(client.tell(Request{number}, odd)) << "no descriptor";
    } else {
      EXPECT_FALSE(client.tell(Request{number}, odd)) << number;
      EXPECT_TRUE(client.set_memory()) << number;
    }
    EXPECT_EQ(device().refused(), before + 1) << number;
  }
  expect_good_service();
}

TEST_P(HostilePeerTest, WithoutAcknowledgementsARefusalIsSilent) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit, 0));
  ASSERT_TRUE(client.tell(Request::kSetVringNum, VringState{.index = 77, .num = 16}));
  ASSERT_TRUE(client.tell(Request::kIotlbMsg));
  EXPECT_TRUE(client.ask<std::uint64_t>(Request::kGetStatus))
      << "the next answer is the next one's";
  EXPECT_EQ(device().refused(), 2U);
}

TEST_P(HostilePeerTest, NoFrameAtAll) {
  const auto header = [](std::uint32_t flags, std::uint32_t size) {
    return std::bit_cast<std::array<std::byte, sizeof(Header)>>(
        Header{.request = 1, .flags = flags, .size = size});
  };
  for (const auto& bytes :
       {header(0, 0), header(3, 0), header(kVersion, 513), header(kVersion, 0xffff'ffff)}) {
    Client client;
    ASSERT_TRUE(client.connect(path));
    send_raw(client, bytes);
    EXPECT_TRUE(client.is_closed());
  }
  expect_good_service();
}

TEST_P(HostilePeerTest, HalfAMessageAndSilence) {
  Client client(kRings);
  start(client);
  const std::array<std::byte, 5> half{std::byte{1}};
  send_raw(client, half);
  EXPECT_TRUE(client.is_closed()) << "after the patience that it has for half a message";
  expect_good_service();
}

TEST_P(HostilePeerTest, SilenceAloneIsNoFault) {
  Client client(kRings);
  start(client);
  std::this_thread::sleep_for(2 * kHalfSaid);
  EXPECT_TRUE(client.echo(0));
}

TEST_P(HostilePeerTest, TooManyDescriptors) {
  const std::vector<int> many(2 * kMaxFds, STDERR_FILENO);
  Client client;
  const std::size_t before = open_descriptors();
  ASSERT_TRUE(client.connect(path));
  // More than a channel of ours would send.
  const Header header{.request = 5, .flags = kVersion, .size = 0};
  std::array<std::byte, CMSG_SPACE(2 * kMaxFds * sizeof(int))> control{};
  iovec part{.iov_base = const_cast<Header*>(&header), .iov_len = sizeof header};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(many.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), many.data(), many.size() * sizeof(int));
  ASSERT_GT(::sendmsg(client.socket(), &message, MSG_NOSIGNAL), 0);
  EXPECT_TRUE(client.is_closed());
  client.disconnect();
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; }));
  // Those that nobody asked for are closed.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  const std::size_t connected = open_descriptors();
  for (unsigned n = 0; n < 20; ++n) {
    ASSERT_TRUE(client.tell(Request::kSetOwner, {}, std::array{0, 1, 2}));
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() == connected; }));
}

TEST_P(HostilePeerTest, DescriptorsThatAreNoEventfds) {
  Client client(kRings);
  start(client);
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const UniqueFd reading(pipe[0]);
  const UniqueFd writing(pipe[1]);
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  for (const int fd :
       {reading.get(), writing.get(), zero.get(), client.socket(), client.memory.regions()[0].fd}) {
    for (const Request request :
         {Request::kSetVringKick, Request::kSetVringCall, Request::kSetVringErr}) {
      if (request == Request::kSetVringCall && fd == client.socket()) continue;  // PeerSocketTest
      EXPECT_FALSE(client.set_event(request, 0, fd)) << fd;
    }
  }
  EXPECT_TRUE(client.echo(0)) << "what was there stays";
  EXPECT_FALSE(client.tell(Request::kSetVringKick, std::uint64_t{0})) << "none";
  EXPECT_FALSE(client.tell(Request::kSetVringKick, std::uint64_t{kRings})) << "no such ring";
  EXPECT_FALSE(client.tell(Request::kSetVringKick, std::uint64_t{1} << 40));
  EXPECT_TRUE(client.echo(0));
  // Without a descriptor there is nothing to wait for; interrupts can do without.
  EXPECT_FALSE(client.tell(Request::kSetVringKick, kVringNoFd));
  EXPECT_TRUE(client.tell(Request::kSetVringCall, kVringNoFd | 1));
  EXPECT_TRUE(client.echo(1));
}

TEST_P(HostilePeerTest, EventfdsThatBlock) {
  Client client(kRings);
  start(client);
  for (unsigned n = 0; n < 20; ++n) {
    for (const auto& ring : client.rings) {
      // The open file description is shared: this is the server's end as well.
      const auto set_flags = [](const EventFd& event, int flags) {
        return ::fcntl(event.get(), F_SETFL, flags) == 0;
      };
      ASSERT_TRUE(set_flags(ring->call, O_NONBLOCK));
      // A counter at its maximum lets nobody write.
      (void)ring->call.consume();
      const std::uint64_t full = UINT64_MAX - 1;
      (void)!::write(ring->call.get(), &full, sizeof full);
      ASSERT_TRUE(set_flags(ring->call, 0));
      ASSERT_TRUE(set_flags(ring->kick, n % 2 == 0 ? 0 : O_NONBLOCK));
    }
    ASSERT_TRUE(client.echo(n % kRings)) << n;
  }
}

TEST_P(HostilePeerTest, MemoryThatMakesNoSense) {
  Client client(kRings);
  start(client);
  const MemoryRegion good = client.region(0);
  const int fd = client.memory.regions()[0].fd;
  const auto with = [&](auto change) {
    MemoryRegion region = good;
    change(region);
    return region;
  };
  const std::vector<std::pair<const char*, MemoryRegion>> wrong{
      {"empty", with([](auto& r) { r.size = 0; })},
      {"no whole pages", with([](auto& r) { r.size -= 1; })},
      {"misaligned", with([](auto& r) { r.guest_address += 1; })},
      {"offset misaligned", with([](auto& r) { r.mmap_offset += 8, r.size -= 4096; })},
      {"past its file", with([](auto& r) { r.mmap_offset = std::uint64_t{1} << 40; })},
      {"longer than its file", with([](auto& r) { r.size = std::uint64_t{1} << 40; })},
      {"guest address wraps", with([](auto& r) { r.guest_address = ~std::uint64_t{4095}; })},
      {"user address wraps", with([](auto& r) { r.user_address = ~std::uint64_t{4095}; })},
      {"size wraps", with([](auto& r) { r.size = ~std::uint64_t{4095}; })},
      {"offset and size wrap",
       with([](auto& r) { r.mmap_offset = r.size = std::uint64_t{1} << 63; })},
  };
  for (const auto& [why, region] : wrong) {
    EXPECT_FALSE(set_memory(client, std::array{region}, std::array{fd})) << why;
    ASSERT_TRUE(client.echo(0)) << why;
  }
  const auto below = with([](auto& r) { r.size = 8192, r.guest_address = std::uint64_t{1} << 40; });
  EXPECT_FALSE(set_memory(client, std::array{good, below}, std::array{fd, fd}))
      << "the front end's addresses overlap";
  const auto twice = with([](auto& r) { r.user_address += std::uint64_t{1} << 40; });
  EXPECT_FALSE(set_memory(client, std::array{good, twice}, std::array{fd, fd}))
      << "the guest's addresses overlap";
  EXPECT_FALSE(set_memory(client, {}, {})) << "none";
  EXPECT_FALSE(set_memory(client, std::array{good}, {})) << "no descriptor";
  EXPECT_FALSE(set_memory(client, std::array{good}, std::array{fd, fd})) << "one too many";
  std::array<std::byte, 8> nine{std::byte{9}};
  EXPECT_FALSE(client.tell(Request::kSetMemTable, nine, {}, kNeedReply));
  ASSERT_TRUE(client.echo(0));
}

TEST_P(HostilePeerTest, FilesThatAreNoMemory) {
  Client client(kRings);
  start(client);
  MemoryRegion region = client.region(0);
  region.size = 4096;
  const auto refused = [&](int fd) {
    return !set_memory(client, std::array{region}, std::array{fd});
  };
  const std::string name = "/proc/self/fd/" + std::to_string(client.memory.regions()[0].fd);
  const UniqueFd read_only(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only.valid());
  EXPECT_TRUE(refused(read_only.get()));
  const UniqueFd sealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(sealed.get(), 4096), 0);
  ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_TRUE(refused(sealed.get()));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(refused(zero.get()));
  const UniqueFd proc(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(refused(proc.get()));
  EXPECT_TRUE(refused(client.socket()));
  EXPECT_TRUE(refused(client.rings[0]->kick.get()));
  EXPECT_TRUE(client.echo(0));
}

TEST_P(HostilePeerTest, RingsThatLieWhereNoneMay) {
  Client client(kRings);
  start(client);
  const VringAddresses good = client.addresses(0);
  const auto try_with = [&](auto change) {
    VringAddresses at = good;
    change(at);
    return client.tell(Request::kSetVringAddr, at);
  };
  const std::uint64_t end = client.region(0).user_address + client.region(0).size;
  EXPECT_FALSE(try_with([](auto& at) { at.desc = 0; }));
  EXPECT_FALSE(try_with([](auto& at) { at.desc = ~std::uint64_t{15}; }));
  EXPECT_FALSE(try_with([](auto& at) { at.desc += 1; }));
  EXPECT_FALSE(try_with([](auto& at) { at.avail += 1; }));
  EXPECT_FALSE(try_with([](auto& at) { at.used += 2; }));
  EXPECT_FALSE(try_with([&](auto& at) { at.desc = end - 16; }));
  EXPECT_FALSE(try_with([&](auto& at) { at.avail = end - 2; }));
  EXPECT_FALSE(try_with([&](auto& at) { at.used = end - 4; }));
  EXPECT_FALSE(try_with([&](auto& at) { at.used = end - 2; }));
  EXPECT_FALSE(try_with([](auto& at) { at.used = at.avail; }));
  EXPECT_EQ(device().running(), kRings - 1);
  EXPECT_FALSE(try_with([](auto& at) { at.flags = 2; })) << "flags that nobody knows";
  EXPECT_TRUE(client.tell(Request::kSetVringAddr, good));
  EXPECT_TRUE(client.echo(0));
}

TEST_P(HostilePeerTest, MemoryThatShrinksUnderUs) {
  for (unsigned round = 0; round < 5; ++round) {
    // Not sealed, as most front ends make it.
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 16 << 20), 0);
    Client client(1);
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.negotiate());
    // The client's ring is copied: the two memories are the same at the start.
    const auto& region = client.memory.regions()[0];
    ASSERT_EQ(::pwrite(file.get(), region.host, 1 << 20, 0), 1 << 20);
    ASSERT_TRUE(set_memory(client, std::array{client.region(0)}, std::array{file.get()}));
    ASSERT_TRUE(client.start_ring(0));
    // A request, as the driver would put it there.
    client.offer(0, bytes("gone"));
    ASSERT_EQ(::pwrite(file.get(), region.host, 1 << 20, 0), 1 << 20);
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(round * 4096)), 0);
    client.rings[0]->kick.signal();
    EXPECT_TRUE(client.is_closed()) << round;
  }
  expect_good_service();
}

TEST_P(HostilePeerTest, AHundredThousandMessagesWithoutAnAnswerBeingRead) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  const auto header = std::bit_cast<std::array<std::byte, sizeof(Header)>>(
      Header{.request = 1, .flags = kVersion, .size = 0});
  for (unsigned n = 0; n < 100'000; ++n) {
    pollfd room{.fd = client.socket(), .events = POLLOUT, .revents = 0};
    (void)::poll(&room, 1, 10'000);
    if (::send(client.socket(), header.data(), header.size(), MSG_NOSIGNAL) < 0) break;
  }
  EXPECT_TRUE(client.is_closed()) << "it reads nothing";
  expect_good_service();
}

TEST_P(HostilePeerTest, ABackendChannelThatNobodyReads) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit,
                               Client::kAcks | 1U << kProtocolBackendReq | 1U << kProtocolConfig));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(client.tell(Request::kSetBackendReqFd, {}, std::array{zero.get()}, kNeedReply));
  echo->change_config();
  EXPECT_TRUE(client.ask<std::uint64_t>(Request::kGetStatus));
  EXPECT_TRUE(client.set_memory());
}

}  // namespace
}  // namespace bellhop

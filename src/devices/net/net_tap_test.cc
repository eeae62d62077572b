// A NIC over a tap of the host's own kernel: numbered frames both ways between its driver and a
// packet socket, in a network namespace of the test's thread.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <thread>

#include "base/unique_fd.h"
#include "net/tap.h"
#include "testing/eventually.h"
#include "testing/net_fixture.h"
#include "testing/udp_frames.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::kManyFrames;
using testing::must;
using testing::NetFixture;

constexpr std::size_t kFrameBytes = 80;
// On the way in one direction at most: less than the tap's queue and the socket's buffer hold, so
// that nothing needs to be dropped.
constexpr std::uint64_t kWindow = 256;
constexpr std::byte kType[] = {std::byte{0x88}, std::byte{0xb5}};  // for experiments

void in_namespace(const std::function<void()>& body) {
  bool entered = false;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    entered = true;
    body();
  });
  thread.join();
  if (!entered) GTEST_SKIP() << "no right to make a network namespace";
}

/// ip(8), in the namespace.
void ip(const std::string& words) {
  const int status = std::system(("ip " + words).c_str());  // NOLINT
  ASSERT_EQ(status, 0) << "ip " << words << " (it is in the package iproute2)";
}

UniqueFd packet_socket(const std::string& name) {
  UniqueFd socket(
      ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_802_EX1)));
  const int bytes = 4 << 20;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_802_EX1);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return socket;
}

/// Who serves the rings, and how it is kicked.
enum class Way : std::uint8_t { kIoEventFd, kSync, kVhost };
std::string name_of(Way way) {
  if (way == Way::kVhost) return "vhost";
  return way == Way::kSync ? "sync" : "ioeventfd";
}

class NetTapTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (by_kernel() && ::access(VhostNet::kDevice, R_OK | W_OK) != 0) {
      GTEST_SKIP() << "this host has no " << VhostNet::kDevice;
    }
  }
  static bool by_kernel() { return GetParam() == Way::kVhost; }
  void start() {
    fixture = std::make_unique<NetFixture>(
        GetParam() == Way::kSync ? NotifyMode::kSync : NotifyMode::kIoEventFd,
        must(open_tap({.name = "bell0", .fds = {}, .pairs = 1, .mtu = 0})), NetOptions{},
        by_kernel() ? NetFixture::Mover::kVhost : NetFixture::Mover::kDevice);
    host = packet_socket("bell0");
    fixture->start();
  }
  static std::array<std::byte, kNetHeaderBytes + kFrameBytes> make(std::uint64_t number) {
    std::array<std::byte, kNetHeaderBytes + kFrameBytes> frame{};
    std::ranges::fill(std::span(frame).subspan(kNetHeaderBytes), static_cast<std::byte>(number));
    std::byte* const ethernet = frame.data() + kNetHeaderBytes;
    std::fill_n(ethernet, 6, std::byte{0xff});
    ethernet[6] = std::byte{0x02};
    std::ranges::copy(kType, ethernet + 12);
    std::memcpy(ethernet + 14, &number, sizeof number);
    return frame;
  }
  /// Whether it is frame `number`; frames of the host's own making (it looks for routers) are not
  /// counted.
  static void check(std::span<const std::byte> ethernet, std::uint64_t& number) {
    if (ethernet.size() < 14 || !std::ranges::equal(ethernet.subspan(12, 2), kType)) return;
    const auto right = make(number);
    ASSERT_TRUE(std::ranges::equal(ethernet, std::span(right).subspan(kNetHeaderBytes)))
        << "lost or damaged: " << number;
    ++number;
  }

  [[nodiscard]] bool driver_sees_link() const {
    return (fixture->config().status & virtio::kNetStatusLinkUp) != 0;
  }
  void host_sends(std::uint64_t most) {
    while (to_guest < most && to_guest - received < kWindow) {
      const auto frame = make(to_guest);
      const ssize_t sent =
          ::send(host.get(), frame.data() + kNetHeaderBytes, kFrameBytes, MSG_DONTWAIT);
      if (sent < 0) return;
      ++to_guest;
    }
  }
  void host_receives() {
    std::array<std::byte, 2048> frame{};
    while (true) {
      const ssize_t bytes = ::recv(host.get(), frame.data(), frame.size(), MSG_DONTWAIT);
      if (bytes <= 0) return;
      ASSERT_NO_FATAL_FAILURE(check(std::span(frame).first(static_cast<std::size_t>(bytes)), got));
    }
  }
  void guest_gives_buffers() {
    while (true) {
      const unsigned slot = next_slot % NetFixture::kSize;
      const auto head = fixture->driver(0).add({{NetFixture::slot(0, slot), 2048, true}});
      if (!head) break;
      slot_of[*head] = slot;
      ++next_slot;
    }
    fixture->offer(0);
  }
  void guest_receives() {
    std::array<std::byte, 2048> frame{};
    while (const auto used = fixture->driver(0).reap()) {
      ASSERT_TRUE(fixture->memory.read(NetFixture::slot(0, slot_of[used->id]), frame));
      ASSERT_NO_FATAL_FAILURE(
          check(std::span(frame).first(used->length).subspan(kNetHeaderBytes), received));
    }
    (void)fixture->driver(0).enable_interrupts();
  }
  void guest_sends(std::uint64_t most) {
    while (fixture->driver(1).reap()) --in_ring;
    (void)fixture->driver(1).enable_interrupts();
    while (from_guest < most && from_guest - got < kWindow && in_ring < NetFixture::kSize) {
      const GuestAddress at =
          NetFixture::slot(1, static_cast<unsigned>(from_guest) % NetFixture::kSize);
      ASSERT_TRUE(fixture->memory.write(at, make(from_guest)));
      ASSERT_TRUE(fixture->driver(1).add({{at, kNetHeaderBytes + kFrameBytes, false}}));
      ++from_guest;
      ++in_ring;
    }
    fixture->offer(1);
  }
  void run(std::uint64_t frames, unsigned pause_every) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(240);
    for (unsigned round = 1; received < frames || got < frames; ++round) {
      host_sends(frames);
      guest_gives_buffers();
      guest_sends(frames);
      host_receives();
      guest_receives();
      if (HasFatalFailure()) return;
      if (pause_every != 0 && round % pause_every == 0) fixture->pause_and_resume();
      ASSERT_LT(std::chrono::steady_clock::now(), deadline)
          << "to the guest " << to_guest << ", received " << received << ", from the guest "
          << from_guest << ", got " << got;
    }
    EXPECT_TRUE(eventually([this] {
      while (fixture->driver(1).reap()) --in_ring;
      return in_ring == 0;
    })) << "frames that were sent and not given back";
  }

  std::unique_ptr<NetFixture> fixture;
  UniqueFd host;
  std::array<unsigned, NetFixture::kSize> slot_of{};
  unsigned next_slot = 0;
  std::uint64_t to_guest = 0;
  std::uint64_t received = 0;
  std::uint64_t from_guest = 0;
  std::uint64_t got = 0;
  unsigned in_ring = 0;
};

TEST_P(NetTapTest, ManyFramesEachWayInOrder) {
  in_namespace([this] {
    start();
    run(kManyFrames, 0);
    EXPECT_EQ(received, kManyFrames);
    EXPECT_EQ(got, kManyFrames);
    const NetTotals totals = fixture->device->totals();
    EXPECT_GE(totals.rx_frames, by_kernel() ? 0 : kManyFrames);
    EXPECT_EQ(totals.tx_frames, by_kernel() ? 0 : kManyFrames);
    EXPECT_EQ(totals.guest_faults + totals.tx_dropped_error + totals.rx_dropped_no_room, 0U);
  });
}

TEST_P(NetTapTest, PausesLoseNothing) {
  in_namespace([this] {
    start();
    run(kManyFrames / 10, 16);
    EXPECT_EQ(fixture->device->totals().tx_frames, by_kernel() ? 0 : kManyFrames / 10);
  });
}

TEST_P(NetTapTest, LinkFlapsAndDriversThatStartAnew) {
  in_namespace([this] {
    start();
    for (std::uint64_t frames = 1000; frames <= 20'000; frames += 1000) {
      run(frames, 0);
      fixture->device->set_link(false);
      EXPECT_FALSE(driver_sees_link());
      fixture->device->set_link(true);
      EXPECT_TRUE(driver_sees_link());
      if (frames % 3000 != 0) continue;
      fixture->restart(fixture->device->traits().features);
      in_ring = 0;
    }
    EXPECT_EQ(fixture->host->resets_needed(), 0);
  });
}

/// A socket of the host's at 192.0.2.1, port 7011, to which datagrams of `UdpFlow` come.
UniqueFd udp_socket() {
  ip("addr add 192.0.2.1/24 dev bell0");
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int bytes = 4 << 20;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(testing::UdpFlow{}.to_port);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return socket;
}

// A program that knows nothing of trains gets the datagrams that the guest has sent.
TEST_P(NetTapTest, DatagramsThatTravelTogetherArriveOneByOne) {
  in_namespace([this] {
    start();
    const UniqueFd socket = udp_socket();
    constexpr std::uint64_t kRounds = 50;
    constexpr std::size_t kBatch = 40;
    std::uint64_t number = 0;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const std::size_t payload = 16 + round * 29;  // the last of each batch is shorter
      for (std::size_t i = 0; i < kBatch; ++i, ++number) {
        const auto frame = testing::udp_frame({}, payload - i / (kBatch - 1), number);
        const GuestAddress at = NetFixture::slot(1, static_cast<unsigned>(i));
        ASSERT_TRUE(fixture->memory.write(at, frame));
        const auto bytes = static_cast<std::uint32_t>(frame.size());
        ASSERT_TRUE(fixture->driver(1).add({{at, bytes, false}}));
      }
      fixture->offer(1);
      for (std::size_t i = 0; i < kBatch; ++i) ASSERT_TRUE(fixture->wait_used(1).has_value());
      for (std::size_t i = 0; i < kBatch; ++i) {
        const auto whole = testing::udp_frame({}, payload - i / (kBatch - 1), number - kBatch + i);
        const auto right = std::span(whole).subspan(kNetHeaderBytes + testing::header_bytes({}));
        std::array<std::byte, 2048> data{};
        ssize_t bytes = -1;
        ASSERT_TRUE(eventually([&] {
          return (bytes = ::recv(socket.get(), data.data(), data.size(), 0)) >= 0;
        })) << "lost: "
            << i << " of " << kBatch << " of " << payload;
        ASSERT_TRUE(
            std::ranges::equal(std::span(data).first(static_cast<std::size_t>(bytes)), right));
      }
    }
    const NetTotals totals = fixture->device->totals();
    EXPECT_EQ(totals.tx_frames, by_kernel() ? 0 : kRounds * kBatch);
    const std::uint64_t offered = fixture->device->traits().features;
    const bool takes_trains = (offered & virtio::feature_mask(virtio::kNetFeatureHostUso)) != 0;
    EXPECT_EQ(totals.tx_joined != 0, takes_trains && !by_kernel());
  });
}

class NetTapRemovedTest : public NetTapTest {};

// Row 28: the interface goes while frames are under way.
TEST_P(NetTapRemovedTest, Row28TheInterfaceIsRemoved) {
  in_namespace([this] {
    start();
    run(1000, 0);
    ip("link set bell0 down");
    auto frame = make(0);
    frame[kNetHeaderBytes + 13] ^= std::byte{1};  // not one that is counted
    EXPECT_TRUE(fixture->send(frame));
    EXPECT_EQ(fixture->device->totals().tx_dropped_link_down, 1U);
    EXPECT_TRUE(fixture->device->link_up()) << "it may come back";
    EXPECT_TRUE(eventually([&] { return !driver_sees_link(); }));
    ip("link set bell0 up");
    EXPECT_TRUE(fixture->send(frame));
    EXPECT_EQ(fixture->device->totals().tx_frames, 1001U);
    EXPECT_TRUE(eventually([&] { return driver_sees_link(); }));
    // Without a carrier frames go nowhere on the host's side; back with it, they go again.
    ip("link set bell0 carrier off");
    EXPECT_TRUE(eventually([&] { return !driver_sees_link(); }));
    EXPECT_TRUE(fixture->send(frame));
    ip("link set bell0 carrier on");
    EXPECT_TRUE(eventually([&] { return driver_sees_link(); }));
    from_guest = got = 2000;
    to_guest = received = 2000;
    run(3000, 0);
    ip("link del bell0");
    EXPECT_TRUE(eventually([&] { return !fixture->device->link_up(); }));
    EXPECT_TRUE(fixture->send(frame));
    fixture->restart(fixture->device->traits().features & ~std::uint64_t{0xff});
  });
}

INSTANTIATE_TEST_SUITE_P(Modes, NetTapTest,
                         ::testing::Values(Way::kIoEventFd, Way::kSync, Way::kVhost),
                         [](const auto& which) { return name_of(which.param); });
INSTANTIATE_TEST_SUITE_P(Modes, NetTapRemovedTest, ::testing::Values(Way::kIoEventFd, Way::kSync),
                         [](const auto& which) { return name_of(which.param); });

}  // namespace
}  // namespace bellhop

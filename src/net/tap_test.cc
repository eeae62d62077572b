// The tap back end against the kernel's own: in a network namespace of the test's thread.

#include "net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

#include "base/unique_fd.h"
#include "net/interface.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

/// Runs a test's body on a thread that has a network namespace to itself.
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

void run(const std::string& command) {
  const int status = std::system(command.c_str());  // NOLINT: ip(8), in the namespace
  ASSERT_EQ(status, 0) << command << " (ip is in the package iproute2)";
}

std::string fault(const TapSource& config) {
  const auto tap = open_tap(config);
  return tap ? "" : tap.error().message;
}

/// The host's end of a tap: a packet socket on the interface.
class HostEnd {
 public:
  explicit HostEnd(const std::string& name)
      : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
        << std::strerror(errno);
  }
  [[nodiscard]] bool send(std::span<const std::byte> frame) const {
    return ::send(socket_.get(), frame.data(), frame.size(), MSG_DONTWAIT) ==
           static_cast<ssize_t>(frame.size());
  }
  /// The next frame with our type; empty after a while without one.
  [[nodiscard]] std::vector<std::byte> receive() const {
    std::vector<std::byte> frame(kMaxFrameBytes);
    pollfd ready{socket_.get(), POLLIN, 0};
    while (::poll(&ready, 1, 2000) == 1) {
      const ssize_t bytes = ::recv(socket_.get(), frame.data(), frame.size(), 0);
      if (bytes < 14 || frame[12] != std::byte{0x88} || frame[13] != std::byte{0xb5}) continue;
      frame.resize(static_cast<std::size_t>(bytes));
      return frame;
    }
    return {};
  }

 private:
  UniqueFd socket_;
};

/// A broadcast of a type that is for experiments (0x88b5).
std::vector<std::byte> frame_of(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> frame(bytes);
  for (std::size_t i = 0; i < bytes; ++i) frame[i] = static_cast<std::byte>(seed + i);
  std::fill_n(frame.begin(), 6, std::byte{0xff});
  frame[6] = std::byte{0x02};
  frame[12] = std::byte{0x88};
  frame[13] = std::byte{0xb5};
  return frame;
}

ssize_t send(NetPair& pair, std::span<const std::byte> frame) {
  std::array<std::byte, kNetHeaderBytes> header{};
  const std::array parts{iovec{header.data(), header.size()},
                         iovec{const_cast<std::byte*>(frame.data()), frame.size()}};
  return pair.send(parts);
}

/// The next frame with our type; empty if there is none.
std::vector<std::byte> receive(NetPair& pair) {
  for (int tries = 0; tries < 100; ++tries) {
    std::vector<std::byte> frame(kNetHeaderBytes + kMaxFrameBytes);
    const std::array parts{iovec{frame.data(), 20}, iovec{frame.data() + 20, frame.size() - 20}};
    const ssize_t bytes = pair.receive(parts);
    if (bytes == -EAGAIN) {
      pollfd ready{pair.fd(), POLLIN, 0};
      if (::poll(&ready, 1, 1000) != 1) return {};
      continue;
    }
    if (bytes < 26 || frame[24] != std::byte{0x88} || frame[25] != std::byte{0xb5}) continue;
    frame.resize(static_cast<std::size_t>(bytes));
    frame.erase(frame.begin(), frame.begin() + kNetHeaderBytes);
    return frame;
  }
  return {};
}

TEST(Tap, CarriesFramesBothWaysInOrder) {
  in_namespace([] {
    auto tap = open_tap({.name = "bell0", .fds = {}, .pairs = 1, .mtu = 0});
    ASSERT_TRUE(tap) << tap.error().message;
    EXPECT_EQ((*tap)->name(), "bell0");
    EXPECT_EQ((*tap)->limits().pairs, 1U);
    EXPECT_EQ((*tap)->limits().mtu, 1500U);
    const HostEnd host("bell0");
    NetPair& pair = (*tap)->pair(0);
    for (unsigned i = 0; i < 200; ++i) {
      const auto frame = frame_of(60 + i * 7, i);
      ASSERT_EQ(send(pair, frame), static_cast<ssize_t>(frame.size() + kNetHeaderBytes));
      ASSERT_EQ(host.receive(), frame) << i;
      ASSERT_TRUE(host.send(frame));
      ASSERT_EQ(receive(pair), frame) << i;
    }
  });
}

TEST(Tap, KnowsTheOffloadsOfTheKernel) {
  in_namespace([] {
    auto tap = open_tap({.name = "bell0", .fds = {}, .pairs = 1, .mtu = 0});
    ASSERT_TRUE(tap) << tap.error().message;
    const Offloads offloads = (*tap)->limits().to_guest;
    EXPECT_TRUE(offloads.has(Offload::kCsum));
    EXPECT_TRUE(offloads.has(Offload::kTso4));
    EXPECT_TRUE(offloads.has(Offload::kTso6));
    EXPECT_EQ(offloads.has(Offload::kUso4), offloads.has(Offload::kUso6));
    EXPECT_EQ((*tap)->limits().to_host, offloads);
    // Whatever a driver may negotiate, also what the kernel has only together.
    for (unsigned bits = 0; bits <= Offloads::all().bits(); ++bits) {
      const Offloads some = Offloads::from_bits(bits & offloads.bits());
      EXPECT_TRUE((*tap)->set_guest_offloads(some)) << bits;
    }
  });
}

TEST(Tap, HasAsManyQueuesAsPairs) {
  in_namespace([] {
    auto tap = open_tap({.name = "bell0", .fds = {}, .pairs = 4, .mtu = 0});
    ASSERT_TRUE(tap) << tap.error().message;
    EXPECT_EQ((*tap)->limits().pairs, 4U);
    const HostEnd host("bell0");
    for (const unsigned count : {4U, 1U, 3U, 2U, 1U}) {
      ASSERT_TRUE((*tap)->use_pairs(count));
      for (unsigned i = 0; i < count; ++i) {
        const auto frame = frame_of(100, i);
        EXPECT_GT(send((*tap)->pair(i), frame), 0);
        EXPECT_EQ(host.receive(), frame);
      }
    }
    // One is in use: everything comes there.
    for (unsigned i = 0; i < 20; ++i) {
      const auto frame = frame_of(100, i);
      ASSERT_TRUE(host.send(frame));
      ASSERT_EQ(receive((*tap)->pair(0)), frame);
    }
  });
}

TEST(Tap, UsesWhatIsThereAndLeavesIt) {
  in_namespace([] {
    run("ip tuntap add bell1 mode tap && ip link set bell1 mtu 1400");
    {
      auto tap = open_tap({.name = "bell1", .fds = {}, .pairs = 1, .mtu = 0});
      ASSERT_TRUE(tap) << tap.error().message;
      EXPECT_EQ((*tap)->limits().mtu, 1400U);
      const auto interface = Interface::of("bell1");
      EXPECT_TRUE(*interface->is_up());
    }
    EXPECT_TRUE(Interface::of("bell1")->exists());
    run("ip tuntap add bell2 mode tap multi_queue");
    EXPECT_EQ(fault({.name = "bell2", .fds = {}, .pairs = 1, .mtu = 0}), "")
        << "several queues, of which one is used";
    EXPECT_EQ(fault({.name = "bell2", .fds = {}, .pairs = 3, .mtu = 0}), "");
    {
      auto tap = open_tap({.name = "bell3", .fds = {}, .pairs = 1, .mtu = 9000});
      ASSERT_TRUE(tap) << tap.error().message;
      EXPECT_EQ((*tap)->limits().mtu, 9000U);
    }
    EXPECT_FALSE(Interface::of("bell3")->exists()) << "made for us, gone with us";
  });
}

TEST(Tap, TakesOverDescriptors) {
  in_namespace([] {
    const auto open = [](int flags) {
      const int fd = ::open("/dev/net/tun", O_RDWR);
      ifreq request{};
      std::strcpy(request.ifr_name, "bell4");  // NOLINT: fits
      request.ifr_flags = static_cast<short>(flags);
      EXPECT_EQ(::ioctl(fd, TUNSETIFF, &request), 0) << std::strerror(errno);
      return fd;
    };
    constexpr int kRight = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    {
      auto tap = open_tap({.name = {}, .fds = {open(kRight)}, .pairs = 1, .mtu = 0});
      ASSERT_TRUE(tap) << tap.error().message;
      EXPECT_EQ((*tap)->name(), "bell4");
      const HostEnd host("bell4");
      const auto frame = frame_of(100, 1);
      ASSERT_GT(send((*tap)->pair(0), frame), 0);
      EXPECT_EQ(host.receive(), frame);
      std::array<std::byte, 100> room{};
      const iovec part{room.data(), room.size()};
      while ((*tap)->pair(0).receive({&part, 1}) > 0) {
      }
      EXPECT_EQ((*tap)->pair(0).receive({&part, 1}), -EAGAIN) << "never waits";
    }
    EXPECT_THAT(fault({.name = {}, .fds = {open(IFF_TAP | IFF_NO_PI)}, .pairs = 1, .mtu = 0}),
                HasSubstr("IFF_VNET_HDR"));
    EXPECT_THAT(fault({.name = {}, .fds = {open(IFF_TUN | IFF_NO_PI)}, .pairs = 1, .mtu = 0}),
                HasSubstr("IFF_TAP"));
    const int null = ::open("/dev/null", O_RDWR);
    EXPECT_THAT(fault({.name = {}, .fds = {null}, .pairs = 1, .mtu = 0}), HasSubstr("is no tap"));
    EXPECT_THAT(fault({.name = {}, .fds = {12345}, .pairs = 1, .mtu = 0}),
                HasSubstr("fd=12345 is not open"));
  });
}

// Row 36 of the bad inputs: a tap in use, and others that cannot be had.
TEST(Tap, SaysWhatIsWrong) {
  in_namespace([] {
    EXPECT_THAT(fault({.name = "a-name-of-16-by.", .fds = {}, .pairs = 1, .mtu = 0}),
                HasSubstr("1 to 15 characters"));
    EXPECT_THAT(fault({.name = "a/b", .fds = {}, .pairs = 1, .mtu = 0}), HasSubstr("no name"));
    EXPECT_THAT(fault({.name = "lo", .fds = {}, .pairs = 1, .mtu = 0}), HasSubstr("it is no tap"));
    run("ip tuntap add bell5 mode tap");
    auto first = open_tap({.name = "bell5", .fds = {}, .pairs = 1, .mtu = 0});
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_THAT(fault({.name = "bell5", .fds = {}, .pairs = 1, .mtu = 0}),
                HasSubstr("tap=bell5: another process uses it"));
    EXPECT_THAT(fault({.name = "bell5", .fds = {}, .pairs = 2, .mtu = 0}),
                HasSubstr("without multi_queue"));
    EXPECT_THAT(fault({.name = "bell6", .fds = {}, .pairs = 1, .mtu = 67}), HasSubstr("mtu=67"));
  });
}

TEST(Tap, NeedsRights) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: there is nothing to give up";
  in_namespace([] {
    run("ip tuntap add bell7 mode tap");
    // Ours alone: on Linux, credentials are a thread's, as far as the system call is concerned.
    ASSERT_EQ(::syscall(SYS_setresuid, -1, 65534, -1), 0);
    EXPECT_THAT(fault({.name = "bell8", .fds = {}, .pairs = 1, .mtu = 0}),
                ::testing::AnyOf(HasSubstr("CAP_NET_ADMIN"), HasSubstr("/dev/net/tun")));
    EXPECT_THAT(fault({.name = "bell7", .fds = {}, .pairs = 1, .mtu = 0}),
                ::testing::AnyOf(HasSubstr("CAP_NET_ADMIN"), HasSubstr("/dev/net/tun")));
  });
}

// Row 28.
TEST(Tap, Row28DownAndGone) {
  in_namespace([] {
    auto tap = open_tap({.name = "bell9", .fds = {}, .pairs = 1, .mtu = 0});
    ASSERT_TRUE(tap) << tap.error().message;
    NetPair& pair = (*tap)->pair(0);
    const auto frame = frame_of(100, 1);
    run("ip link set bell9 down");
    EXPECT_EQ(send(pair, frame), -EIO);
    run("ip link set bell9 up");
    EXPECT_GT(send(pair, frame), 0);
    run("ip link del bell9");
    EXPECT_EQ(send(pair, frame), -EBADFD);
    std::array<std::byte, 100> room{};
    const iovec part{room.data(), room.size()};
    EXPECT_EQ(pair.receive({&part, 1}), -EBADFD);
    EXPECT_FALSE((*tap)->set_guest_offloads({Offload::kCsum}));
  });
}

// Row 26: the kernel looks at headers itself, and says no to what we may have overlooked.
TEST(Tap, Row26TheKernelRefusesHeadersThatMakeNoSense) {
  in_namespace([] {
    auto tap = open_tap({.name = "bell0", .fds = {}, .pairs = 1, .mtu = 0});
    ASSERT_TRUE(tap) << tap.error().message;
    auto frame = frame_of(100, 1);
    std::array<std::byte, kNetHeaderBytes> header{};
    header[1] = std::byte{0x77};  // gso_type
    header[4] = std::byte{1};
    const std::array parts{iovec{header.data(), header.size()}, iovec{frame.data(), frame.size()}};
    EXPECT_EQ((*tap)->pair(0).send(parts), -EINVAL);
  });
}

TEST(Interface, KnowsNames) {
  for (const char* good : {"tap0", "a", "veth-1.100", "123456789012345"}) {
    EXPECT_TRUE(Interface::is_name(good)) << good;
  }
  for (const char* bad : {"", ".", "..", "1234567890123456", "a b", "a/b", "a:b", "tap%d", "a\n"}) {
    EXPECT_FALSE(Interface::is_name(bad)) << bad;
  }
}

}  // namespace
}  // namespace bellhop

// A NIC over user-mode networking: a real passt answers the guest's first questions and forwards a
// port; one that dies takes the link with it.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>

#include "net/passt.h"
#include "testing/eventually.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::NetFixture;

constexpr std::array<unsigned char, 6> kMac{2, 2, 3, 4, 5, 6};  // NetFixture::kMac
constexpr std::size_t kEthernet = kNetHeaderBytes;              // where a frame begins
constexpr std::size_t kIp = kEthernet + 14;
constexpr std::size_t kBehindIp = kIp + 20;

using Bytes = std::vector<std::byte>;

unsigned at(const Bytes& frame, std::size_t offset) {
  return offset < frame.size() ? std::to_integer<unsigned>(frame[offset]) : 0;
}
unsigned word(const Bytes& frame, std::size_t offset) {
  return at(frame, offset) << 8 | at(frame, offset + 1);
}

class Frame {
 public:
  Frame() : bytes_(kNetHeaderBytes) {}
  Frame& add(std::initializer_list<unsigned> list) {
    for (const unsigned one : list) bytes_.push_back(static_cast<std::byte>(one));
    return *this;
  }
  Frame& mac() { return add({kMac[0], kMac[1], kMac[2], kMac[3], kMac[4], kMac[5]}); }
  Frame& all() { return add({255, 255, 255, 255, 255, 255}); }
  Frame& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

Bytes who_has(std::array<unsigned, 4> ip) {
  return Frame()
      .all()
      .mac()
      .add({8, 6, 0, 1, 8, 0, 6, 4, 0, 1})
      .mac()
      .zeros(10)
      .add({ip[0], ip[1], ip[2], ip[3]})
      .bytes();
}

Bytes dhcp_discover() {
  // An IP header from 0.0.0.0 to everybody, 20 + 8 + 240 + 4 bytes, with its checksum.
  Frame frame;
  frame.all().mac().add({8, 0});
  frame.add({0x45, 0, 1, 0x10, 0, 0, 0, 0, 64, 17, 0x79, 0xde, 0, 0, 0, 0, 255, 255, 255, 255});
  frame.add({0, 68, 0, 67, 0, 252, 0, 0});  // UDP without a checksum
  frame.add({1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78}).zeros(20).mac().zeros(10 + 64 + 128);
  return frame.add({99, 130, 83, 99, 53, 1, 1, 255}).bytes();
}

/// The first byte of an option's value.
unsigned dhcp_option(const Bytes& frame, std::size_t offset, unsigned which) {
  while (offset + 2 < frame.size() && at(frame, offset) != 255) {
    if (at(frame, offset) == which) return at(frame, offset + 2);
    offset += at(frame, offset) == 0 ? 1 : 2 + at(frame, offset + 1);
  }
  return 0;
}

bool is_arp_answer(const Bytes& frame) {
  return word(frame, kEthernet + 12) == 0x0806 && word(frame, kEthernet + 20) == 2 &&
         frame.size() > kEthernet + 6 && std::memcmp(&frame[kEthernet], kMac.data(), 6) == 0;
}

class NetUserTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  /// False: passt does not run on this host; a failure if it is not there at all.
  bool start(const PasstSource& config) {
    auto backend = start_passt(config);
    if (!backend) {
      why = backend.error().message;
      EXPECT_NE(backend.error().code, ENOENT) << why;
      return false;
    }
    fixture = std::make_unique<NetFixture>(GetParam(), std::move(*backend));
    fixture->start();
    fixture->give_buffers(32, 2048);
    return true;
  }
  /// The next frame for which `wanted` holds; others are passed over.
  template <class Wanted>
  Bytes await(Wanted wanted) {
    for (int i = 0; i < 100; ++i) {
      Bytes frame = fixture->receive();
      fixture->give_buffers(1, 2048);
      if (frame.empty() || wanted(frame)) return frame;
    }
    return {};
  }

  std::unique_ptr<NetFixture> fixture;
  std::string why;
};

INSTANTIATE_TEST_SUITE_P(Modes, NetUserTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) {
                           return mode.param == NotifyMode::kSync ? "sync" : "ioeventfd";
                         });

std::uint16_t free_port() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  return ntohs(address.sin_port);
}

TEST_P(NetUserTest, PasstAnswersTheGuest) {
  const std::uint16_t port = free_port();
  PasstSource config;
  config.forwards.push_back({PortForward::Protocol::kTcp, "127.0.0.1", port, 22});
  if (!start(config)) GTEST_SKIP() << "passt does not run here: " << why;
  // No offloads are offered for what has no header to say so.
  const std::uint64_t features = fixture->device->traits().features;
  for (const unsigned bit :
       {virtio::kNetFeatureCsum, virtio::kNetFeatureGuestCsum, virtio::kNetFeatureGuestTso4,
        virtio::kNetFeatureGuestTso6, virtio::kNetFeatureHostTso4, virtio::kNetFeatureHostTso6,
        virtio::kNetFeatureMq, virtio::kNetFeatureMtu}) {
    EXPECT_EQ(features >> bit & 1, 0U) << bit;
  }
  EXPECT_NE(features >> virtio::kNetFeatureMrgRxbuf & 1, 0U);

  ASSERT_TRUE(fixture->send(dhcp_discover()));
  const Bytes offer = await([](const Bytes& frame) {
    return word(frame, kEthernet + 12) == 0x0800 && at(frame, kIp + 9) == 17 &&
           word(frame, kBehindIp + 2) == 68;
  });
  ASSERT_FALSE(offer.empty());
  const std::size_t bootp = kBehindIp + 8;
  EXPECT_EQ(at(offer, bootp), 2U) << "an answer";
  EXPECT_EQ(word(offer, bootp + 4), 0x1234U) << "to our question";
  EXPECT_EQ(dhcp_option(offer, bootp + 240, 53), 2U) << "DHCPOFFER";
  const std::array<unsigned, 4> router{at(offer, kIp + 12), at(offer, kIp + 13),
                                       at(offer, kIp + 14), at(offer, kIp + 15)};

  ASSERT_TRUE(fixture->send(who_has(router)));
  const Bytes answer = await(is_arp_answer);
  ASSERT_FALSE(answer.empty());
  EXPECT_EQ(at(answer, kEthernet + 28), router[0]);
  EXPECT_EQ(at(answer, kEthernet + 31), router[3]);

  // A client connects to the host's port, and the guest's port gets the connection.
  const UniqueFd knock(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)::connect(knock.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const Bytes syn = await([](const Bytes& frame) {
    return word(frame, kEthernet + 12) == 0x0800 && at(frame, kIp + 9) == 6 &&
           (at(frame, kBehindIp + 13) & 0x12) == 0x02;
  });
  ASSERT_FALSE(syn.empty());
  EXPECT_EQ(word(syn, kBehindIp + 2), 22U);
  EXPECT_EQ(fixture->device->totals().guest_faults, 0U);
}

TEST_P(NetUserTest, FloodsAreCarriedInBatches) {
  PasstSource config;
  if (!start(config)) GTEST_SKIP() << "passt does not run here: " << why;
  unsigned sent = 0;
  unsigned answers = 0;
  while (answers < 5000) {
    while (sent < 5000 && sent - answers < 24) {
      const auto slot = NetFixture::slot(1, sent % NetFixture::kSize);
      const Bytes question = who_has({10, 99, sent >> 8, sent & 0xff});
      ASSERT_TRUE(fixture->memory.write(slot, question));
      if (!fixture->driver(1).add({{slot, static_cast<std::uint32_t>(question.size()), false}})) {
        break;
      }
      ++sent;
    }
    fixture->offer(1);
    const Bytes answer = await(is_arp_answer);
    ASSERT_EQ(word(answer, kEthernet + 28), 10U << 8 | 99);
    ASSERT_EQ(word(answer, kEthernet + 30), answers) << "lost, doubled, or out of order";
    ++answers;
    while (fixture->driver(1).reap()) {
    }
  }
  EXPECT_EQ(fixture->device->totals().tx_frames, 5000U);
}

TEST_P(NetUserTest, Row28PasstIsGone) {
  std::string folder = "/tmp/bellhop-passt-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  PasstSource config;
  config.program = folder + "/passt";
  std::ofstream(config.program) << "#!/bin/sh\nprintf '\\0\\0\\0\\1x' >&3; sleep 0.2\n";
  ASSERT_EQ(::chmod(config.program.c_str(), 0755), 0);
  ASSERT_TRUE(start(config)) << why;
  EXPECT_TRUE(eventually([&] { return !fixture->device->link_up(); }));
  EXPECT_TRUE(
      eventually([&] { return (fixture->config().status & virtio::kNetStatusLinkUp) == 0; }));
  EXPECT_TRUE(eventually([&] { return fixture->host->config_changes() >= 1; }));
  // Frames are taken and counted, nobody hangs, and a new driver finds the same.
  EXPECT_TRUE(fixture->send(who_has({1, 2, 3, 4})));
  EXPECT_GE(fixture->device->totals().tx_dropped_link_down, 1U);
  fixture->restart(fixture->device->traits().features);
  EXPECT_TRUE(fixture->send(who_has({1, 2, 3, 4})));
  EXPECT_EQ(fixture->config().status & virtio::kNetStatusLinkUp, 0);
  fixture.reset();
  ::unlink(config.program.c_str());
  ::rmdir(folder.c_str());
}

}  // namespace
}  // namespace bellhop

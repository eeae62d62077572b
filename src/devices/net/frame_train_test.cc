#include "devices/net/frame_train.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "memory/guest_span.h"
#include "testing/udp_frames.h"

namespace bellhop {
namespace {

using testing::take_apart;
using testing::udp_frame;
using testing::UdpFlow;
using Bytes = std::vector<std::byte>;

// Offsets behind virtio's header.
constexpr std::size_t kEthernet = kNetHeaderBytes;
constexpr std::size_t kIp = kEthernet + kEthernetHeaderBytes;
constexpr std::size_t kUdp = kIp + 20;

class FrameTrainTest : public ::testing::Test {
 protected:
  /// As the device does, with the frame in pieces that end at the `cuts`.
  bool add(Bytes frame, bool may_join = true, std::vector<std::size_t> cuts = {}) {
    Bytes& kept = *frames_.emplace_back(std::make_unique<Bytes>(std::move(frame)));
    auto& spans = *spans_.emplace_back(std::make_unique<std::vector<GuestSpan>>());
    const GuestSpan whole(kept.data(), kept.size());
    cuts.push_back(kept.size());
    std::size_t from = 0;
    for (const std::size_t cut : cuts) {
      spans.push_back(whole.part(from, cut - from));
      from = cut;
    }
    FrameTrain::Frame look;
    std::memcpy(&look.header, kept.data(), sizeof look.header);
    look.bytes = kept.size() - sizeof look.header;
    look.buffers = spans;
    whole.part(sizeof look.header).copy_out(look.head);
    return train.add(look, may_join);
  }
  Bytes finish() {
    Bytes sent;
    for (const iovec& part : train.finish()) {
      const auto* const data = static_cast<const std::byte*>(part.iov_base);
      sent.insert(sent.end(), data, data + part.iov_len);
    }
    return sent;
  }
  /// A second frame that differs by `change` does not go with one that does not.
  void expect_apart(const std::function<void(Bytes&)>& change, const char* what,
                    const UdpFlow& flow = {}) {
    train.clear();
    Bytes other = udp_frame(flow, 100, 2);
    change(other);
    EXPECT_TRUE(add(udp_frame(flow, 100, 1)));
    EXPECT_FALSE(add(other)) << what;
    EXPECT_EQ(train.frames(), 1U);
    EXPECT_EQ(finish(), udp_frame(flow, 100, 1)) << what << ": the first frame is as it was";
  }

  FrameTrain train;

 private:
  std::vector<std::unique_ptr<Bytes>> frames_;
  std::vector<std::unique_ptr<std::vector<GuestSpan>>> spans_;
};

TEST_F(FrameTrainTest, OneFrameLeavesAsItIs) {
  for (const std::size_t payload : {1UL, 22UL, 1472UL, 60000UL}) {
    const auto frame = udp_frame({}, payload, 5);
    train.clear();
    ASSERT_TRUE(add(frame));
    EXPECT_EQ(finish(), frame);
    EXPECT_EQ(train.frame_bytes(), frame.size() - kNetHeaderBytes);
  }
}

TEST_F(FrameTrainTest, WhatTheHostTakesApartIsWhatWasSent) {
  for (const bool ip6 : {false, true}) {
    for (const std::size_t payload : {1UL, 22UL, 1024UL, 1472UL, 20000UL}) {
      const UdpFlow flow{.ip6 = ip6};
      train.clear();
      std::vector<Bytes> sent;
      std::size_t bytes = 0;
      for (std::uint64_t i = 0;; ++i) {
        const auto frame = udp_frame(flow, payload, i);
        if (!add(frame)) break;
        sent.push_back(frame);
        bytes += frame.size() - kNetHeaderBytes;
      }
      const std::size_t room = (65535 - header_bytes(flow)) / payload;
      EXPECT_EQ(sent.size(), std::min(room, FrameTrain::kMaxFrames)) << payload;
      EXPECT_EQ(train.frames(), sent.size());
      EXPECT_EQ(train.frame_bytes(), bytes);
      EXPECT_EQ(take_apart(finish()), sent) << payload << (ip6 ? " over IPv6" : " over IPv4");
    }
  }
}

TEST_F(FrameTrainTest, AShorterDatagramIsTheLast) {
  const std::vector<Bytes> sent{udp_frame({}, 100, 1), udp_frame({}, 100, 2), udp_frame({}, 99, 3)};
  for (const Bytes& frame : sent) {
    EXPECT_TRUE(train.frames() == 0 || train.is_open());
    EXPECT_TRUE(add(frame));
  }
  EXPECT_FALSE(train.is_open());
  EXPECT_FALSE(add(udp_frame({}, 99, 4)));
  EXPECT_EQ(take_apart(finish()), sent);
  expect_apart([](Bytes& frame) { frame = udp_frame({}, 101, 2); }, "a longer one");
}

TEST_F(FrameTrainTest, FramesMayLieInPieces) {
  std::vector<Bytes> sent;
  for (std::uint64_t i = 0; i < 4; ++i) sent.push_back(udp_frame({}, 200, i));
  EXPECT_TRUE(add(sent[0], true, {12}));
  EXPECT_TRUE(add(sent[1], true, {1, 5, 30, 54, 55}));
  EXPECT_TRUE(add(sent[2]));
  EXPECT_TRUE(add(sent[3], true, {54, 60, 254}));
  EXPECT_EQ(take_apart(finish()), sent);
}

TEST_F(FrameTrainTest, TooManyPiecesAreAnotherTrain) {
  std::vector<std::size_t> cuts;
  for (std::size_t i = 1; i <= 100; ++i) cuts.push_back(kUdp + 8 + i);
  std::vector<Bytes> sent;
  for (std::uint64_t i = 0; add(udp_frame({}, 120, i), true, cuts); ++i) {
    sent.push_back(udp_frame({}, 120, i));
  }
  EXPECT_EQ(sent.size(), 5U) << "of 101 pieces each, where 512 fit";
  EXPECT_EQ(take_apart(finish()), sent);
}

TEST_F(FrameTrainTest, IdentificationsAreNotKept) {
  EXPECT_TRUE(add(udp_frame({}, 100, 1, 77)));
  EXPECT_TRUE(add(udp_frame({}, 100, 2, 4000)));
  const auto apart = take_apart(finish());
  ASSERT_EQ(apart.size(), 2U);
  EXPECT_TRUE(testing::same_datagram(apart[1], udp_frame({}, 100, 2)));
}

TEST_F(FrameTrainTest, OtherFlowsStayApart) {
  expect_apart([](Bytes& frame) { frame = udp_frame({.from = 1}, 100, 2); }, "from");
  expect_apart([](Bytes& frame) { frame = udp_frame({.to = 1}, 100, 2); }, "to");
  expect_apart([](Bytes& frame) { frame = udp_frame({.from_port = 1}, 100, 2); }, "from port");
  expect_apart([](Bytes& frame) { frame = udp_frame({.to_port = 1}, 100, 2); }, "to port");
  expect_apart([](Bytes& frame) { frame = udp_frame({.to_mac = 1}, 100, 2); }, "to mac");
  expect_apart([](Bytes& frame) { frame = udp_frame({.ip6 = true}, 100, 2); }, "version");
  const UdpFlow six{.ip6 = true};
  expect_apart([](Bytes& f) { f = udp_frame({.ip6 = true, .from = 1}, 100, 2); }, "from", six);
  expect_apart([](Bytes& f) { f = udp_frame({.ip6 = true, .to = 1}, 100, 2); }, "to", six);
  expect_apart([](Bytes& f) { f = udp_frame({.ip6 = true, .to_port = 1}, 100, 2); }, "port", six);
  expect_apart([](Bytes& frame) { frame[kIp + 1] = std::byte{4}; }, "class", six);
  expect_apart([](Bytes& frame) { frame[kIp + 7] = std::byte{63}; }, "hop limit", six);
}

TEST_F(FrameTrainTest, WhatIsNoPlainDatagramStaysApart) {
  const auto in_header = [](auto write) {
    return [write](Bytes& frame) {
      virtio::NetHeader header{};
      std::memcpy(&header, frame.data(), sizeof header);
      write(header);
      std::memcpy(frame.data(), &header, sizeof header);
    };
  };
  const auto flip = [](std::size_t at, unsigned bits) {
    return [=](Bytes& frame) {
      frame[at] ^= static_cast<std::byte>(bits);
      // The header's sum stays right: it shall not be what tells them apart.
      if (at < kIp || at >= kUdp || at == kIp + 10) return;
      const unsigned low = at % 2 == kIp % 2 ? 0 : 1;
      const unsigned was = std::to_integer<unsigned>(frame[at] ^ static_cast<std::byte>(bits));
      const unsigned is = std::to_integer<unsigned>(frame[at]);
      const unsigned shift = low != 0 ? 0 : 8;
      unsigned sum = std::to_integer<unsigned>(frame[kIp + 10]) << 8 |
                     std::to_integer<unsigned>(frame[kIp + 11]);
      sum = (~sum & 0xffff) + (0xffff - (was << shift)) + (is << shift);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
      frame[kIp + 10] = static_cast<std::byte>(~sum >> 8);
      frame[kIp + 11] = static_cast<std::byte>(~sum);
    };
  };
  using virtio::NetHeader;
  expect_apart(in_header([](NetHeader& header) { header.flags = 0; }), "its own checksum");
  expect_apart(in_header([](NetHeader& header) { header.csum_start += 2; }), "checksum start");
  expect_apart(in_header([](NetHeader& header) { header.csum_offset = 16; }), "checksum offset");
  expect_apart(in_header([](NetHeader& h) { h.gso_type = virtio::kNetGsoUdpL4; }), "a train");
  expect_apart(flip(kEthernet + 12, 0x80), "no IP");
  expect_apart(flip(kIp, 0x01), "options");
  expect_apart(flip(kIp + 1, 0x02), "type of service");
  expect_apart(flip(kIp + 3, 0x01), "length");
  expect_apart(flip(kIp + 6, 0x40), "may be fragmented");
  expect_apart(flip(kIp + 6, 0x20), "more fragments");
  expect_apart(flip(kIp + 7, 0x01), "a fragment");
  expect_apart(flip(kIp + 8, 0x01), "time to live");
  expect_apart(flip(kIp + 9, 0x01), "no UDP");
  expect_apart(flip(kIp + 10, 0x01), "a damaged header");
  expect_apart(flip(kUdp + 5, 0x01), "UDP's length");
  const auto longer = [](Bytes& frame) { frame.resize(frame.size() + 1); };
  expect_apart(longer, "padding");
  expect_apart([](Bytes& frame) { frame = udp_frame({}, 0, 2); }, "nothing in it");
  expect_apart([](Bytes& frame) { frame.resize(kEthernet + 14); }, "nothing but Ethernet");
  expect_apart(flip(kIp, 0x30), "version 5", {.ip6 = true});
  expect_apart(flip(kIp + 6, 0x01), "no UDP", {.ip6 = true});
  expect_apart(longer, "padding", {.ip6 = true});
}

TEST_F(FrameTrainTest, OnlyWhereItMayBe) {
  EXPECT_TRUE(add(udp_frame({}, 100, 1), false));
  EXPECT_FALSE(train.is_open());
  EXPECT_FALSE(add(udp_frame({}, 100, 2)));
  train.clear();
  EXPECT_TRUE(add(udp_frame({}, 100, 1)));
  EXPECT_FALSE(add(udp_frame({}, 100, 2), false));
  EXPECT_EQ(finish(), udp_frame({}, 100, 1));
}

// The guest may write to its buffers at any time: what was looked at is what is sent.
TEST_F(FrameTrainTest, HeadersAreACopy) {
  Bytes frame = udp_frame({}, 100, 1);
  const GuestSpan whole(frame.data(), frame.size());
  const std::array<GuestSpan, 1> buffers{whole};
  FrameTrain::Frame look;
  std::memcpy(&look.header, frame.data(), sizeof look.header);
  look.bytes = frame.size() - sizeof look.header;
  look.buffers = buffers;
  whole.part(sizeof look.header).copy_out(look.head);
  ASSERT_TRUE(train.add(look, true));
  std::fill_n(frame.begin(), kUdp + 8, std::byte{0xff});
  EXPECT_EQ(finish(), udp_frame({}, 100, 1));
}

}  // namespace
}  // namespace bellhop

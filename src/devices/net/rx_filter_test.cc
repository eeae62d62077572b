#include "devices/net/rx_filter.h"

#include <gtest/gtest.h>

#include <vector>

namespace bellhop {
namespace {

using Mode = RxFilter::Mode;

constexpr MacAddress kOwn = 0x0605'0403'0202;
constexpr MacAddress kOther = 0x0705'0403'0202;
constexpr MacAddress kGroup = 0x0000'005e'0001 | 0x01;
constexpr MacAddress kBroadcast = 0xffff'ffff'ffff;

class RxFilterTest : public ::testing::Test {
 protected:
  RxFilterTest() {
    filter.reset(kOwn, RxFilter::Vlans::kListed);
    filter.set_mode(Mode::kPromiscuous, false);
  }
  bool accepts(MacAddress to, int vlan = -1) const {
    std::array<std::byte, RxFilter::kHeadBytes> head{};
    store_mac(to, head.data());
    if (vlan >= 0) {
      head[12] = std::byte{0x81};
      head[14] = static_cast<std::byte>(0xe0 | vlan >> 8);  // with a priority
      head[15] = static_cast<std::byte>(vlan);
    }
    return filter.accepts(head);
  }
  RxFilter filter;
};

TEST_F(RxFilterTest, AddressesAreTheirBytes) {
  const std::array<std::byte, 6> bytes{std::byte{2}, std::byte{2}, std::byte{3},
                                       std::byte{4}, std::byte{5}, std::byte{6}};
  EXPECT_EQ(load_mac(bytes.data()), kOwn);
  std::array<std::byte, 6> back{};
  store_mac(kOwn, back.data());
  EXPECT_EQ(back, bytes);
  EXPECT_FALSE(is_multicast(kOwn));
  EXPECT_TRUE(is_multicast(kBroadcast));
}

TEST_F(RxFilterTest, TakesItsOwnAndBroadcasts) {
  EXPECT_TRUE(accepts(kOwn));
  EXPECT_TRUE(accepts(kBroadcast));
  EXPECT_FALSE(accepts(kOther));
  EXPECT_FALSE(accepts(kGroup));
  filter.set_own(kOther);
  EXPECT_FALSE(accepts(kOwn));
  EXPECT_TRUE(accepts(kOther));
}

TEST_F(RxFilterTest, ModesWidenAndNarrow) {
  filter.set_mode(Mode::kAllMulticast, true);
  EXPECT_TRUE(accepts(kGroup));
  EXPECT_FALSE(accepts(kOther));
  filter.set_mode(Mode::kNoMulticast, true);
  EXPECT_FALSE(accepts(kGroup));
  filter.set_mode(Mode::kAllUnicast, true);
  EXPECT_TRUE(accepts(kOther));
  filter.set_mode(Mode::kNoUnicast, true);
  EXPECT_FALSE(accepts(kOther));
  EXPECT_FALSE(accepts(kOwn));
  filter.set_mode(Mode::kNoBroadcast, true);
  EXPECT_FALSE(accepts(kBroadcast));
  filter.set_mode(Mode::kPromiscuous, true);
  for (const MacAddress to : {kOwn, kOther, kGroup, kBroadcast}) EXPECT_TRUE(accepts(to, 7));
  filter.set_mode(Mode::kPromiscuous, false);
  filter.set_mode(Mode::kNoUnicast, false);
  EXPECT_TRUE(accepts(kOwn));
}

TEST_F(RxFilterTest, TablesAndTheirOverflow) {
  filter.set_unicast(std::vector{kOther}, 1);
  filter.set_multicast(std::vector{kGroup}, 1);
  EXPECT_TRUE(accepts(kOther));
  EXPECT_TRUE(accepts(kGroup));
  EXPECT_FALSE(accepts(kOther + (1ULL << 40)));
  filter.set_unicast({}, 0);
  EXPECT_FALSE(accepts(kOther));
  // More than there is room for: all of that kind, and only of that kind.
  std::vector<MacAddress> many(RxFilter::kMaxAddresses, kOwn);
  filter.set_unicast(many, 1000);
  EXPECT_TRUE(accepts(kOther));
  EXPECT_FALSE(accepts(kGroup + (1ULL << 40)));
  filter.set_unicast(many, many.size());
  EXPECT_FALSE(accepts(kOther));
}

TEST_F(RxFilterTest, Vlans) {
  EXPECT_FALSE(accepts(kOwn, 5));
  filter.set_vlan(5, true);
  filter.set_vlan(4095, true);
  EXPECT_TRUE(accepts(kOwn, 5));
  EXPECT_TRUE(accepts(kOwn, 4095));
  EXPECT_FALSE(accepts(kOwn, 6));
  EXPECT_FALSE(accepts(kOther, 5)) << "the address counts as well";
  filter.set_vlan(5, false);
  EXPECT_FALSE(accepts(kOwn, 5));
  EXPECT_TRUE(accepts(kOwn)) << "no tag";
  filter.reset(kOwn, RxFilter::Vlans::kAll);
  filter.set_mode(Mode::kPromiscuous, false);
  EXPECT_TRUE(accepts(kOwn, 6));
}

TEST_F(RxFilterTest, FramesShorterThanTheirHeadAreDropped) {
  std::array<std::byte, RxFilter::kHeadBytes> head{};
  store_mac(kOwn, head.data());
  EXPECT_FALSE(filter.accepts(std::span(head).first(13)));
  EXPECT_TRUE(filter.accepts(std::span(head).first(14)));
  head[12] = std::byte{0x81};
  EXPECT_TRUE(filter.accepts(std::span(head).first(14))) << "a type without its tag";
}

}  // namespace
}  // namespace bellhop

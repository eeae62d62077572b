#include "machine/platform/cmos_rtc.h"

#include <gtest/gtest.h>

namespace bellhop {
namespace {

// Sunday, 2026-11-22 21:05:09 UTC.
constexpr std::time_t kNow = 1795381509;

class CmosRtcTest : public ::testing::Test {
 protected:
  std::uint8_t get(std::uint8_t index) {
    select(index);
    std::byte value{};
    rtc_.read(1, std::span(&value, 1));
    return std::to_integer<std::uint8_t>(value);
  }
  void put(std::uint8_t index, std::uint8_t value) {
    select(index);
    const std::byte byte{value};
    rtc_.write(1, std::span(&byte, 1));
  }
  void select(std::uint8_t index) {
    const std::byte byte{index};
    rtc_.write(0, std::span(&byte, 1));
  }

  std::time_t now_ = kNow;
  CmosRtc rtc_{[this] { return now_; }};
};

TEST_F(CmosRtcTest, TellsTheTimeInBcd) {
  EXPECT_EQ(get(0x00), 0x09);
  EXPECT_EQ(get(0x02), 0x05);
  EXPECT_EQ(get(0x04), 0x21);
  EXPECT_EQ(get(0x06), 1);
  EXPECT_EQ(get(0x07), 0x22);
  EXPECT_EQ(get(0x08), 0x11);
  EXPECT_EQ(get(0x09), 0x26);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x0a) & 0x80, 0);  // never within an update
  EXPECT_EQ(get(0x0d), 0x80);
  now_ += 51;
  EXPECT_EQ(get(0x00), 0x00);
  EXPECT_EQ(get(0x02), 0x06);
}

TEST_F(CmosRtcTest, TellsItInBinaryAndWithTwelveHours) {
  put(0x0b, 0x04);
  EXPECT_EQ(get(0x04), 0x80 | 9);
  EXPECT_EQ(get(0x09), 26);
  now_ += 3 * 3600;  // a quarter past midnight
  EXPECT_EQ(get(0x04), 12);
}

TEST_F(CmosRtcTest, TwelveHoursHaveNoHourZero) {
  struct Hour {
    int of_day;
    std::uint8_t bcd;
    std::uint8_t binary;
  };
  constexpr std::time_t kMidnight = kNow - (21 * 3600 + 5 * 60 + 9);
  for (const auto& [of_day, bcd, binary] :
       {Hour{0, 0x12, 12}, Hour{1, 0x01, 1}, Hour{11, 0x11, 11}, Hour{12, 0x92, 0x80 | 12},
        Hour{13, 0x81, 0x80 | 1}, Hour{23, 0x91, 0x80 | 11}}) {
    now_ = kMidnight + of_day * 3600;
    put(0x0b, 0x00);
    EXPECT_EQ(get(0x04), bcd) << of_day;
    put(0x0b, 0x04);
    EXPECT_EQ(get(0x04), binary) << of_day;
    // And back: what the guest sets in this mode is that hour in the other.
    now_ = kMidnight + 5 * 3600;
    put(0x04, binary);
    put(0x0b, 0x06);
    EXPECT_EQ(get(0x04), of_day);
    EXPECT_EQ(get(0x02), 0) << "minutes stay";
    put(0x0b, 0x00);
    put(0x04, bcd);
    put(0x0b, 0x02);
    EXPECT_EQ(get(0x04), of_day / 10 * 16 + of_day % 10);
    put(0x04, 0x05);
  }
}

TEST_F(CmosRtcTest, KeepsTheTimeThatTheGuestSets) {
  put(0x0b, 0x82);  // stand still
  put(0x00, 0x30);
  put(0x04, 0x03);
  put(0x09, 0x30);
  now_ += 1000;
  EXPECT_EQ(get(0x00), 0x30);
  put(0x0b, 0x02);  // run on from there
  EXPECT_EQ(get(0x00), 0x30);
  EXPECT_EQ(get(0x04), 0x03);
  EXPECT_EQ(get(0x09), 0x30);
  now_ += 1;
  EXPECT_EQ(get(0x00), 0x31);
  rtc_.reset();
  EXPECT_EQ(get(0x09), 0x30);
}

TEST_F(CmosRtcTest, TheRestIsMemory) {
  put(0x40, 0xa5);
  EXPECT_EQ(get(0x40), 0xa5);
  put(0x40 | 0x80, 0x5a);  // bit 7 is another thing's
  EXPECT_EQ(get(0x40), 0x5a);
  put(0x0d, 0);
  EXPECT_EQ(get(0x0d), 0x80);
}

TEST_F(CmosRtcTest, NonsenseForTimeIsContained) {
  for (const int index : {0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32}) {
    put(static_cast<std::uint8_t>(index), 0xff);
  }
  // Some time or other is told, and it goes on; a good one that is set is told again.
  const std::uint8_t seconds = get(0x00);
  EXPECT_LT(seconds & 0xf, 10);
  now_ += 1;
  EXPECT_NE(get(0x00), seconds);
  put(0x0b, 0x82);
  for (const auto& [index, value] : {std::pair{0x32, 0x20},
                                     {0x09, 0x30},
                                     {0x08, 0x02},
                                     {0x07, 0x03},
                                     {0x04, 0x04},
                                     {0x02, 0x05},
                                     {0x00, 0x06}}) {
    put(static_cast<std::uint8_t>(index), static_cast<std::uint8_t>(value));
  }
  put(0x0b, 0x02);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x09), 0x30);
  EXPECT_EQ(get(0x08), 0x02);
  EXPECT_EQ(get(0x07), 0x03);
  EXPECT_EQ(get(0x04), 0x04);
  EXPECT_EQ(get(0x00), 0x06);
}

}  // namespace
}  // namespace bellhop

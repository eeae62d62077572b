#include "machine/platform/pci_hotplug.h"

#include <gtest/gtest.h>

#include <vector>

namespace bellhop {
namespace {

class PciHotplugTest : public ::testing::Test {
 protected:
  std::uint32_t get(std::uint64_t offset) {
    std::uint32_t value = 0;
    hotplug_.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void eject(std::uint32_t numbers) {
    hotplug_.write(PciHotplug::kEjectOffset, std::as_bytes(std::span(&numbers, 1)));
  }

  int changes_ = 0;
  int let_go_ = 0;
  PciHotplug hotplug_{[this] { ++changes_; }, [this] { ++let_go_; }};
};

TEST_F(PciHotplugTest, TellsOnceWhatHasCome) {
  hotplug_.has_come(3);
  hotplug_.has_come(31);
  EXPECT_EQ(changes_, 2);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 0U);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 1U << 3 | 1U << 31);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 0U);
}

TEST_F(PciHotplugTest, TheGuestLetsGoWhatItWasAskedFor) {
  hotplug_.ask_for(4);
  hotplug_.ask_for(5);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 1U << 4 | 1U << 5);
  EXPECT_EQ(hotplug_.take_let_go(), 0U);
  eject(1U << 4);
  EXPECT_EQ(let_go_, 1);
  EXPECT_EQ(hotplug_.take_let_go(), 1U << 4);
  eject(1U << 4);
  EXPECT_EQ(let_go_, 1) << "once";
  EXPECT_EQ(hotplug_.take_let_go(), 0U);
  eject(1U << 4 | 1U << 5);
  EXPECT_EQ(hotplug_.take_let_go(), 1U << 5);
}

TEST_F(PciHotplugTest, TheGuestCannotTakeAwayWhatItWasNotAskedFor) {
  hotplug_.has_come(2);
  eject(UINT32_MAX);
  EXPECT_EQ(let_go_, 0);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 1U << 2);
}

TEST_F(PciHotplugTest, AskingAgainTellsAgain) {
  hotplug_.ask_for(1);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 1U << 1);
  hotplug_.ask_for(1);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 1U << 1);
  EXPECT_EQ(changes_, 2);
}

TEST_F(PciHotplugTest, AResetForgetsAndLetsGoWhatWasAskedFor) {
  hotplug_.has_come(6);
  hotplug_.ask_for(7);
  hotplug_.reset();
  EXPECT_EQ(hotplug_.take_let_go(), 1U << 7);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 0U);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 0U);
  eject(1U << 7);
  EXPECT_EQ(let_go_, 0);
}

// Its number is another device's then.
TEST_F(PciHotplugTest, NothingIsKeptOfADeviceThatHasGone) {
  hotplug_.has_come(9);
  hotplug_.ask_for(9);
  hotplug_.forget(9);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 0U);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 0U);
  eject(1U << 9);
  hotplug_.reset();
  EXPECT_EQ(hotplug_.take_let_go(), 0U);
}

TEST_F(PciHotplugTest, OtherWidthsAndPlacesReachNothing) {
  hotplug_.has_come(0);
  hotplug_.ask_for(0);
  std::vector<std::byte> data(8, std::byte{0xff});
  for (const std::size_t width : {1U, 2U, 8U}) {
    for (std::uint64_t at = 0; at + width <= PciHotplug::kPorts; ++at) {
      hotplug_.read(at, std::span(data).first(width));
      EXPECT_EQ(data[0], std::byte{0}) << at;
      hotplug_.write(at, std::vector(width, std::byte{0xff}));
    }
  }
  for (const std::uint64_t at : {1U, 2U, 3U, 5U, 6U, 7U}) EXPECT_EQ(get(at), 0U) << at;
  EXPECT_EQ(let_go_, 0);
  EXPECT_EQ(get(PciHotplug::kUpOffset), 1U);
  EXPECT_EQ(get(PciHotplug::kDownOffset), 1U);
}

}  // namespace
}  // namespace bellhop

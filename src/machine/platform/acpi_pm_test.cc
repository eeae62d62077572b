#include "machine/platform/acpi_pm.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace bellhop {
namespace {

constexpr std::uint16_t kPowerButton = 0x100;

class AcpiPmTest : public ::testing::Test {
 protected:
  template <class T>
  T get(std::uint64_t offset) {
    T value{};
    pm_.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void put(std::uint64_t offset, T value) {
    pm_.write(offset, std::as_bytes(std::span(&value, 1)));
  }

  int offs_ = 0;
  std::vector<bool> levels_;
  AcpiPm pm_{[this] { ++offs_; }, [this](bool level) { levels_.push_back(level); }};
};

TEST_F(AcpiPmTest, SleepTypeOffWithItsEnableBitSwitchesOff) {
  put<std::uint16_t>(4, 5U << 10U);
  EXPECT_EQ(offs_, 0);
  put<std::uint16_t>(4, (5U << 10U) | (1U << 13U));
  EXPECT_EQ(offs_, 1);
  EXPECT_EQ(get<std::uint16_t>(4), (5U << 10U) | 1U);  // SLP_EN reads 0, SCI_EN stays
}

TEST_F(AcpiPmTest, OtherSleepTypesDoNothing) {
  for (unsigned type = 0; type < 8; ++type) {
    if (type != 5) put(4, static_cast<std::uint16_t>(type << 10U | 1U << 13U));
  }
  EXPECT_EQ(offs_, 0);
}

TEST_F(AcpiPmTest, ThePowerButtonRaisesTheSciUntilItIsCleared) {
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kNoDriver);
  EXPECT_TRUE(levels_.empty());
  put<std::uint16_t>(2, kPowerButton);  // now the driver does, and finds the press
  EXPECT_EQ(levels_, std::vector{true});
  EXPECT_EQ(get<std::uint16_t>(0), kPowerButton);
  put<std::uint16_t>(0, 0x1);  // another bit
  EXPECT_EQ(get<std::uint16_t>(0), kPowerButton);
  put<std::uint16_t>(0, kPowerButton);
  EXPECT_EQ(get<std::uint16_t>(0), 0);
  EXPECT_EQ(levels_, (std::vector{true, false}));
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kHeard);
  EXPECT_EQ(levels_.size(), 3U);
  pm_.reset();
  EXPECT_EQ(levels_, (std::vector{true, false, true, false}));
  EXPECT_EQ(get<std::uint32_t>(0), 0U);
}

// Linux writes the registers when its ACPI starts, and listens when its button driver does.
TEST_F(AcpiPmTest, ADriverThatDoesNotListenYetIsToldFromNone) {
  put<std::uint16_t>(4, 0);  // of no button
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kNoDriver);
  put<std::uint16_t>(2, 0);
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kUnheard);
  put<std::uint16_t>(0, kPowerButton);  // what came before is forgotten
  put<std::uint16_t>(2, kPowerButton);
  EXPECT_TRUE(levels_.empty());
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kHeard);
  EXPECT_EQ(levels_, std::vector{true});
  pm_.reset();
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kNoDriver);
}

TEST_F(AcpiPmTest, AGeneralPurposeEventRaisesTheSciUntilItIsCleared) {
  pm_.raise(1);
  EXPECT_TRUE(levels_.empty());
  EXPECT_EQ(get<std::uint16_t>(12), 2U);
  put<std::uint16_t>(14, 2);
  EXPECT_EQ(levels_, std::vector{true});
  EXPECT_EQ(get<std::uint16_t>(14), 2U);
  put<std::uint16_t>(12, 1);  // another event
  EXPECT_EQ(get<std::uint16_t>(12), 2U);
  put<std::uint16_t>(12, 2);
  EXPECT_EQ(levels_, (std::vector{true, false}));
  EXPECT_EQ(get<std::uint16_t>(12), 0U);
}

// They share a line.
TEST_F(AcpiPmTest, TheSciStaysUpWhileEitherKindOfEventWaits) {
  put<std::uint16_t>(2, kPowerButton);
  put<std::uint8_t>(15, 0x80);
  EXPECT_EQ(pm_.press_power_button(), ButtonPress::kHeard);
  pm_.raise(15);
  EXPECT_EQ(levels_, std::vector{true});
  put<std::uint16_t>(0, kPowerButton);
  EXPECT_EQ(levels_, std::vector{true});
  put<std::uint8_t>(13, 0x80);
  EXPECT_EQ(levels_, (std::vector{true, false}));
  pm_.raise(15);
  pm_.reset();
  EXPECT_EQ(levels_, (std::vector{true, false, true, false}));
  EXPECT_EQ(get<std::uint32_t>(12), 0U);
}

TEST_F(AcpiPmTest, RegistersCanBeReachedBytewise) {
  put<std::uint8_t>(3, 1);
  EXPECT_EQ(get<std::uint16_t>(2), kPowerButton);
  EXPECT_EQ(get<std::uint8_t>(3), 1);
  EXPECT_EQ(get<std::uint32_t>(0), std::uint32_t{kPowerButton} << 16U);
  EXPECT_EQ(get<std::uint8_t>(15), 0);
}

TEST_F(AcpiPmTest, TheTimerCountsAtItsRate) {
  const auto first = get<std::uint32_t>(8);
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto ticks = get<std::uint32_t>(8) - first;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(ticks, 71'000U);  // 20 ms are 71591 ticks
  EXPECT_LE(ticks, passed.count() * 3'579'545 + 100'000);
}

}  // namespace
}  // namespace bellhop

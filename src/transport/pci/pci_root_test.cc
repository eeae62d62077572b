#include "transport/pci/pci_root.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "transport/register_access.h"
#include "virtio/abi/pci.h"

namespace bellhop {
namespace {

using namespace virtio;

/// A function that notes what happens to it.
class NotingFunction final : public PciFunction {
 public:
  explicit NotingFunction(std::uint64_t bar_bytes)
      : PciFunction({.vendor = 0x1234,
                     .device = 0x5678,
                     .revision = 2,
                     .class_code = 0x00ff00,
                     .subsystem_vendor = 3,
                     .subsystem = 4}) {
    if (bar_bytes != 0) add_bar(IoSpace::kMmio, 0, bar_bytes);
  }
  std::optional<std::uint64_t> bar;
  bool bus_master = false;

 private:
  void bar_moved(IoSpace /*space*/, std::optional<std::uint64_t> address) noexcept override {
    bar = address;
  }
  void bus_master_changed(bool on) noexcept override { bus_master = on; }
};

constexpr PciRoot::Window kPortWindow{.base = 0x1000, .bytes = 0xf000};

class NotingPort final : public BusDevice {
 public:
  void read(std::uint64_t /*offset*/, std::span<std::byte> data) noexcept override {
    std::ranges::fill(data, std::byte{0x5a});
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override {
    written += fmt::format("{}:{:02x} ", offset, load_le(data));
  }
  std::string written;
};

class PciRootTest : public ::testing::Test {
 protected:
  PciRootTest() {
    EXPECT_TRUE(ports_.insert(PciRoot::kPortBase, PciRoot::kPortCount, root_.ports()));
    EXPECT_TRUE(mmio_.insert(kEcam, PciRoot::kEcamBytes, root_.ecam()));
  }
  std::uint64_t in(std::uint64_t port, std::size_t width) {
    std::array<std::byte, 8> data{};
    ports_.read(port, std::span(data).first(width));
    return load_le(data);
  }
  void out(std::uint64_t port, std::uint64_t value, std::size_t width) {
    std::array<std::byte, 8> data{};
    store_le(data, value);
    ports_.write(port, std::span<const std::byte>(data).first(width));
  }
  static std::uint32_t selector(unsigned bus, unsigned device, unsigned function, unsigned offset) {
    return kPciConfigEnable | bus << 16 | device << 11 | function << 8 | offset;
  }
  std::uint64_t config(unsigned device, unsigned offset, std::size_t width) {
    out(0xcf8, selector(0, device, 0, offset & 0xfc), 4);
    return in(0xcfc + (offset & 3), width);
  }
  void set_config(unsigned device, unsigned offset, std::uint64_t value, std::size_t width) {
    out(0xcf8, selector(0, device, 0, offset & 0xfc), 4);
    out(0xcfc + (offset & 3), value, width);
  }
  std::uint64_t ecam(std::uint64_t offset, std::size_t width) {
    std::array<std::byte, 8> data{};
    mmio_.read(kEcam + offset, std::span(data).first(width));
    return load_le(data);
  }
  void set_ecam(std::uint64_t offset, std::uint64_t value, std::size_t width) {
    std::array<std::byte, 8> data{};
    store_le(data, value);
    mmio_.write(kEcam + offset, std::span<const std::byte>(data).first(width));
  }

  static constexpr std::uint64_t kEcam = 0xb0000000;
  Bus ports_{"ports", 0xffff};
  Bus mmio_{"memory"};
  PciRoot root_{PciRoot::Window{.base = 0xe0001000, .bytes = 0x100000}, kPortWindow};
};

TEST_F(PciRootTest, HasAHostBridge) {
  EXPECT_NE(config(0, kPciVendorIdOffset, 2), 0xffffU);
  EXPECT_EQ(config(0, kPciClassOffset, 2), 0x0000U);
  EXPECT_EQ(config(0, kPciClassOffset + 1, 2), 0x0600U);
  EXPECT_EQ(config(1, kPciVendorIdOffset, 4), 0xffffffffU);
}

TEST_F(PciRootTest, TakesBytesWordsAndDwordsAtTheDataPort) {
  NotingFunction function(0x1000);
  ASSERT_EQ(root_.add(function).value(), 1U);
  EXPECT_EQ(config(1, 0, 4), 0x56781234U);
  EXPECT_EQ(config(1, 2, 2), 0x5678U);
  EXPECT_EQ(config(1, 1, 1), 0x12U);
  EXPECT_EQ(config(1, 3, 1), 0x56U);
  EXPECT_EQ(config(1, 1, 2), 0x7812U);
  set_config(1, kPciInterruptLineOffset, 11, 1);
  EXPECT_EQ(config(1, kPciInterruptLineOffset, 1), 11U);
  // Read-only bytes stay.
  set_config(1, 0, 0, 4);
  EXPECT_EQ(config(1, 0, 4), 0x56781234U);
}

TEST_F(PciRootTest, BytesOfOnePortAreTheResetControls) {
  NotingPort control;
  root_.set_reset_control(control);
  out(0xcf8, selector(0, 1, 0, 0), 4);
  EXPECT_EQ(control.written, "");
  out(0xcf9, 6, 1);
  EXPECT_EQ(control.written, "0:06 ");
  EXPECT_EQ(in(0xcf9, 1), 0x5aU);
  out(0xcf9, 0x0606, 2);
  out(0xcf8, 0x06, 1);
  out(0xcfa, 0x06, 1);
  EXPECT_EQ(control.written, "0:06 ");
  EXPECT_EQ(in(0xcf9, 2), 0xffffU);
  EXPECT_EQ(in(0xcf8, 4), selector(0, 1, 0, 0)) << "the address is not touched";
}

// Row 14.
TEST_F(PciRootTest, StrayPortAccessesReachNothing) {
  NotingFunction function(0);
  ASSERT_TRUE(root_.add(function));
  out(0xcf8, selector(0, 1, 0, kPciInterruptLineOffset), 4);
  EXPECT_EQ(in(0xcf8, 4), selector(0, 1, 0, kPciInterruptLineOffset));
  // The address register is 32 bits wide.
  out(0xcf8, 0, 1);
  out(0xcfa, 0, 2);
  out(0xcf9, 6, 1);
  EXPECT_EQ(in(0xcf8, 4), selector(0, 1, 0, kPciInterruptLineOffset));
  EXPECT_EQ(in(0xcf8, 2), 0xffffU);
  // Across address and data, and past the data.
  EXPECT_EQ(in(0xcfa, 4), 0xffffffffU);
  EXPECT_EQ(in(0xcfe, 4), 0xffffffffU);
  out(0xcfa, 0x55555555, 4);
  out(0xcfe, 0x55555555, 4);
  EXPECT_EQ(in(0xcfc, 1), 0U);
  // Other buses, other functions, not enabled.
  for (const std::uint32_t address : {selector(1, 1, 0, 0), selector(0, 1, 1, 0),
                                      selector(0, 31, 7, 0), selector(0, 1, 0, 0) & 0x7fffffff}) {
    out(0xcf8, address, 4);
    EXPECT_EQ(in(0xcfc, 4), 0xffffffffU);
    out(0xcfc, 0, 4);
  }
}

TEST_F(PciRootTest, EcamShowsTheSame) {
  NotingFunction function(0x1000);
  ASSERT_TRUE(root_.add(function));
  constexpr std::uint64_t kFunction = 1U << 15;
  EXPECT_EQ(ecam(kFunction, 4), 0x56781234U);
  EXPECT_EQ(ecam(kFunction, 8) & 0xffffffff, 0x56781234U);
  EXPECT_EQ(ecam(kFunction + 0x100, 4), 0U) << "no extended capabilities";
  set_ecam(kFunction + kPciInterruptLineOffset, 9, 1);
  EXPECT_EQ(config(1, kPciInterruptLineOffset, 1), 9U);
  set_ecam(kFunction + 0x200, UINT32_MAX, 4);
  EXPECT_EQ(ecam(kFunction + 0x200, 4), 0U);
  // From one function into the next, another function, a device that is absent.
  EXPECT_EQ(ecam(kFunction + 0xffe, 4), 0xffffffffU);
  EXPECT_EQ(ecam(kFunction + 0x1000, 4), 0xffffffffU);
  EXPECT_EQ(ecam(2U << 15, 4), 0xffffffffU);
  set_ecam(kFunction + 0xffe, 0, 4);
}

TEST_F(PciRootTest, AssignsSizesAndMovesBars) {
  NotingFunction small(0x1000);
  NotingFunction large(0x10000);
  ASSERT_TRUE(root_.add(small));
  ASSERT_TRUE(root_.add(large));
  EXPECT_EQ(config(1, kPciBar0Offset, 4), 0xe0001000U | kPciBarType64);
  EXPECT_EQ(config(2, kPciBar0Offset, 4), 0xe0010000U | kPciBarType64);
  EXPECT_FALSE(large.bar.has_value());
  set_config(2, kPciBar0Offset, UINT32_MAX, 4);
  set_config(2, kPciBar0Offset + 4, UINT32_MAX, 4);
  EXPECT_EQ(config(2, kPciBar0Offset, 4), 0xffff0000U | kPciBarType64);
  EXPECT_EQ(config(2, kPciBar0Offset + 4, 4), UINT32_MAX);
  set_config(2, kPciBar0Offset, 0x20000, 4);
  set_config(2, kPciBar0Offset + 4, 1, 4);
  set_config(2, kPciCommandOffset, kPciCommandMemory, 2);
  EXPECT_EQ(large.bar, 0x100020000U);
  EXPECT_FALSE(large.bus_master);
  set_config(2, kPciCommandOffset, kPciCommandBusMaster, 1);
  EXPECT_FALSE(large.bar.has_value());
  EXPECT_TRUE(large.bus_master);
  root_.reset();
  EXPECT_FALSE(large.bus_master);
  EXPECT_EQ(config(2, kPciBar0Offset, 4), 0xe0010000U | kPciBarType64);
}

TEST_F(PciRootTest, AResetTakesBackWhatWasWrittenAnywhere) {
  NotingFunction function(0x1000);
  ASSERT_TRUE(root_.add(function));
  constexpr std::uint64_t kFunction = 1U << 15;
  const auto space = [&] {
    std::vector<std::uint64_t> bytes;
    for (std::uint64_t at = 0; at < 0x1000; ++at) bytes.push_back(ecam(kFunction + at, 1));
    return bytes;
  };
  const auto at_first = space();
  for (const std::uint64_t value : {0xffU, 0x5aU, 0x00U}) {
    for (std::uint64_t at = 0; at < 0x1000; ++at) set_ecam(kFunction + at, value, 1);
    EXPECT_NE(space(), at_first);
    root_.reset();
    EXPECT_EQ(space(), at_first) << value;
    EXPECT_FALSE(function.bar.has_value());
    EXPECT_FALSE(function.bus_master);
  }
}

TEST_F(PciRootTest, ABarEndsWhereItsWindowEndsAtTheLatest) {
  PciRoot root{PciRoot::Window{.base = 0xe0000000, .bytes = 0x18000}, kPortWindow};
  NotingFunction first(0x10000);
  ASSERT_TRUE(root.add(first));
  // It begins inside of what is left, and would end 0x8000 past it.
  NotingFunction too_long(0x10000);
  EXPECT_FALSE(root.add(too_long));
  NotingFunction fits(0x8000);
  ASSERT_TRUE(root.add(fits));
  NotingFunction one_more(0x10);
  EXPECT_FALSE(root.add(one_more)) << "nothing is left";
}

TEST_F(PciRootTest, AFunctionThatGoesLeavesItsNumberAndItsAddresses) {
  PciRoot root{PciRoot::Window{.base = 0xe0000000, .bytes = 0x20000}, kPortWindow};
  NotingFunction stays(0x8000);
  ASSERT_EQ(root.add(stays).value(), 1U);
  for (int round = 0; round < 100; ++round) {
    NotingFunction goes(0x10000);
    ASSERT_EQ(root.add(goes).value(), 2U) << round;
    root.remove(2);
  }
}

TEST_F(PciRootTest, ANewFunctionGetsNoAddressesThatTheGuestHasGivenToAnother) {
  NotingFunction moved(0x1000);
  ASSERT_TRUE(root_.add(moved));
  set_config(1, kPciBar0Offset, 0xe0002000, 4);
  set_config(1, kPciCommandOffset, kPciCommandMemory, 2);
  ASSERT_EQ(moved.bar, 0xe0002000U);
  NotingFunction added(0x1000);
  ASSERT_TRUE(root_.add(added));
  // Not where the first one lies after its next reset, either.
  EXPECT_EQ(config(2, kPciBar0Offset, 4), 0xe0003000U | kPciBarType64);
  // At the last address that there is: nothing wraps around.
  set_config(1, kPciBar0Offset, UINT32_MAX, 4);
  set_config(1, kPciBar0Offset + 4, UINT32_MAX, 4);
  ASSERT_EQ(moved.bar, UINT64_MAX - 0xfff);
  NotingFunction third(0x1000);
  ASSERT_TRUE(root_.add(third));
  EXPECT_EQ(config(3, kPciBar0Offset, 4), 0xe0002000U | kPciBarType64);
}

TEST_F(PciRootTest, SaysWhenItIsFull) {
  NotingFunction huge(0x1000000);
  EXPECT_FALSE(root_.add(huge));
  std::vector<std::unique_ptr<NotingFunction>> functions;
  for (unsigned i = 1; i < 32; ++i) {
    functions.push_back(std::make_unique<NotingFunction>(0));
    EXPECT_EQ(root_.add(*functions.back()).value(), i);
  }
  NotingFunction surplus(0);
  EXPECT_FALSE(root_.add(surplus));
}

}  // namespace
}  // namespace bellhop

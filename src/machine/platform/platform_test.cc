#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "machine/platform/debug_exit_port.h"
#include "machine/platform/panic_port.h"
#include "machine/platform/reset_control.h"
#include "machine/platform/reset_port.h"
#include "machine/platform/serial_16550.h"

namespace bellhop {
namespace {

std::uint8_t in(BusDevice& device, std::uint64_t offset) {
  std::array<std::byte, 1> data{};
  device.read(offset, data);
  return std::to_integer<std::uint8_t>(data[0]);
}
void out(BusDevice& device, std::uint64_t offset, std::uint8_t value) {
  const std::array data{std::byte{value}};
  device.write(offset, data);
}
void out32(BusDevice& device, std::uint64_t offset, std::uint32_t value) {
  std::array<std::byte, 4> data{};
  for (std::size_t i = 0; i < 4; ++i) data[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  device.write(offset, data);
}

class SerialTest : public ::testing::Test {
 protected:
  void type(const std::string& text) {
    EXPECT_EQ(serial_.input(std::as_bytes(std::span(text))), text.size());
  }
  std::string printed_;
  bool room_ = true;
  std::vector<bool> line_;
  Serial16550 serial_{[this](std::span<const std::byte> bytes) {
                        for (const std::byte byte : bytes) printed_ += static_cast<char>(byte);
                        return room_;
                      },
                      [this](bool level) { line_.push_back(level); }};
};

TEST_F(SerialTest, PrintsWhatIsSent) {
  for (const char c : std::string("hello\n")) {
    EXPECT_EQ(in(serial_, 5) & 0x60, 0x60);
    out(serial_, 0, static_cast<std::uint8_t>(c));
  }
  EXPECT_EQ(printed_, "hello\n");
  EXPECT_TRUE(line_.empty());
}

TEST_F(SerialTest, TheDivisorLatchHidesTheDataRegister) {
  out(serial_, 3, 0x83);
  out(serial_, 0, 1);
  out(serial_, 1, 0);
  EXPECT_EQ(in(serial_, 0), 1);
  EXPECT_EQ(in(serial_, 1), 0);
  out(serial_, 3, 0x03);
  EXPECT_EQ(printed_, "");
  out(serial_, 0, 'x');
  EXPECT_EQ(printed_, "x");
}

// What Linux' 8250 driver looks at before it believes in the port.
TEST_F(SerialTest, PassesForA16550A) {
  out(serial_, 1, 0x0f);
  EXPECT_EQ(in(serial_, 1), 0x0f);
  out(serial_, 1, 0);
  EXPECT_EQ(in(serial_, 1), 0);
  out(serial_, 7, 0xa5);
  EXPECT_EQ(in(serial_, 7), 0xa5);
  out(serial_, 4, 0x1a);
  EXPECT_EQ(in(serial_, 6) & 0xf0, 0x90);
  out(serial_, 4, 0x15);
  EXPECT_EQ(in(serial_, 6) & 0xf0, 0x60);
  out(serial_, 4, 0);
  EXPECT_EQ(in(serial_, 6) & 0xf0, 0xb0);
  EXPECT_EQ(in(serial_, 2) & 0xc0, 0);
  out(serial_, 2, 1);
  EXPECT_EQ(in(serial_, 2) & 0xc0, 0xc0);
}

TEST_F(SerialTest, LoopsBack) {
  out(serial_, 4, 0x10);
  out(serial_, 0, 'q');
  EXPECT_EQ(printed_, "");
  EXPECT_EQ(in(serial_, 5) & 1, 1);
  EXPECT_EQ(in(serial_, 0), 'q');
  EXPECT_EQ(in(serial_, 5) & 1, 0);
}

TEST_F(SerialTest, HoldsSoMuchInputAndNotAByteMore) {
  const auto bytes = [](std::size_t count, std::size_t first) {
    std::vector<std::byte> made(count);
    for (std::size_t k = 0; k < count; ++k) made[k] = static_cast<std::byte>((first + k) % 251);
    return made;
  };
  const std::size_t room = serial_.input(bytes(5000, 0));
  EXPECT_EQ(room, 1024U);
  EXPECT_EQ(serial_.input(bytes(1, 7)), 0U);
  // In order, also where it begins anew in the middle.
  for (std::size_t k = 0; k < 100; ++k) EXPECT_EQ(in(serial_, 0), k % 251);
  EXPECT_EQ(serial_.input(bytes(200, room)), 100U);
  for (std::size_t k = 100; k < room + 100; ++k) ASSERT_EQ(in(serial_, 0), k % 251) << k;
  EXPECT_EQ(in(serial_, 5) & 1, 0);
}

TEST_F(SerialTest, AResetTakesBackWhatTheGuestHasWritten) {
  const auto registers = [this] {
    std::vector<unsigned> all;
    for (const std::uint8_t latch : {std::uint8_t{0x00}, std::uint8_t{0x80}}) {
      const std::uint8_t before = in(serial_, 3);
      all.push_back(before);
      out(serial_, 3, latch);
      for (const std::uint64_t offset : {0U, 1U, 2U, 4U, 5U, 6U, 7U}) {
        all.push_back(in(serial_, offset));
      }
      out(serial_, 3, before);
    }
    return all;
  };
  const auto at_first = registers();
  for (const std::uint8_t value : {std::uint8_t{0xff}, std::uint8_t{0x01}, std::uint8_t{0x5a}}) {
    out(serial_, 3, 0x80);
    out(serial_, 0, value);
    out(serial_, 1, value);
    out(serial_, 3, 0x1b);
    for (const std::uint64_t offset : {1U, 2U, 4U, 7U}) out(serial_, offset, value);
    type("typed before");
    EXPECT_NE(registers(), at_first);
    serial_.reset();
    EXPECT_EQ(registers(), at_first);
    EXPECT_TRUE(line_.empty() || !line_.back()) << "no interrupt is left";
  }
}

TEST_F(SerialTest, InterruptsForInput) {
  type("a");
  EXPECT_TRUE(line_.empty()) << "nobody asked for interrupts";
  out(serial_, 1, 1);
  EXPECT_EQ(line_, std::vector<bool>{true});
  EXPECT_EQ(in(serial_, 2) & 0x0f, 4);
  EXPECT_EQ(in(serial_, 0), 'a');
  EXPECT_EQ(line_, (std::vector<bool>{true, false}));
  EXPECT_EQ(in(serial_, 2) & 0x0f, 1);
  type("bc");
  EXPECT_EQ(in(serial_, 0), 'b');
  EXPECT_EQ(line_.size(), 3U) << "the line stays up while there is more";
  out(serial_, 2, 0x03);  // drops the rest
  EXPECT_EQ(line_, (std::vector<bool>{true, false, true, false}));
}

TEST_F(SerialTest, InterruptsWhenItCanSendAgain) {
  out(serial_, 1, 2);
  EXPECT_EQ(line_, std::vector<bool>{true});
  EXPECT_EQ(in(serial_, 2) & 0x0f, 2);
  EXPECT_EQ(line_, (std::vector<bool>{true, false}));
  out(serial_, 0, 'x');
  EXPECT_EQ(line_.size(), 3U);
  out(serial_, 1, 0);
  EXPECT_EQ(line_, (std::vector<bool>{true, false, true, false}));
}

TEST_F(SerialTest, IsBusyWhileItsOutputHasNoRoom) {
  out(serial_, 1, 2);
  EXPECT_EQ(in(serial_, 2) & 0x0f, 2);
  room_ = false;
  out(serial_, 0, 'a');
  EXPECT_EQ(in(serial_, 5) & 0x60, 0) << "not empty";
  EXPECT_EQ(in(serial_, 2) & 0x0f, 1) << "no interrupt says that it is";
  out(serial_, 1, 0);
  out(serial_, 1, 2);
  EXPECT_EQ(in(serial_, 2) & 0x0f, 1) << "nor does one come by asking for it again";
  room_ = true;
  line_.clear();
  serial_.output_has_room();
  EXPECT_EQ(in(serial_, 5) & 0x60, 0x60);
  EXPECT_EQ(line_, std::vector<bool>{true});
  serial_.output_has_room();  // once too often
  EXPECT_EQ(line_, std::vector<bool>{true});
}

TEST_F(SerialTest, TakesAsMuchInputAsThereIsRoomFor) {
  const std::vector<std::byte> flood(5000, std::byte{'x'});
  const std::size_t taken = serial_.input(flood);
  EXPECT_LT(taken, flood.size());
  for (std::size_t i = 0; i < taken; ++i) EXPECT_EQ(in(serial_, 0), 'x');
  EXPECT_EQ(in(serial_, 5) & 1, 0);
  type("again");
  serial_.reset();
  EXPECT_EQ(in(serial_, 5) & 1, 0);
}

TEST(DebugExitPort, TellsEndAndMarker) {
  std::vector<std::uint32_t> exits;
  std::vector<std::uint32_t> markers;
  DebugExitPort port([&](std::uint32_t value) { exits.push_back(value); },
                     [&](std::uint32_t value) { markers.push_back(value); });
  out32(port, DebugExitPort::kMarkerOffset, 7);
  out32(port, 0, 0xdeadbeef);
  out(port, 0, 3);
  out32(port, 1, 1);  // between the ports
  EXPECT_EQ(exits, (std::vector<std::uint32_t>{0xdeadbeef, 3}));
  EXPECT_EQ(markers, std::vector<std::uint32_t>{7});
  EXPECT_EQ(in(port, 0), 0);
}

TEST(PanicPort, TellsAPanicButNotACrashKernel) {
  int panics = 0;
  PanicPort port([&] { ++panics; });
  EXPECT_EQ(in(port, 0), 3) << "both events may be told";
  out(port, 0, 2);
  EXPECT_EQ(panics, 0);
  out(port, 0, 1);
  EXPECT_EQ(panics, 1);
}

TEST(ResetPort, ResetsOnItsOneCommand) {
  int resets = 0;
  ResetPort port([&] { ++resets; });
  EXPECT_EQ(in(port, 0) & 2, 0) << "ready for a command";
  out(port, 0, 0xaa);
  out32(port, 0, 0xfe);
  EXPECT_EQ(resets, 0);
  out(port, 0, 0xfe);
  EXPECT_EQ(resets, 1);
}

TEST(ResetControl, ResetsByItsEdge) {
  int resets = 0;
  ResetControl control([&] { ++resets; });
  EXPECT_EQ(in(control, 0), 0);
  out(control, 0, 0x02);  // which kind of reset it will be
  out(control, 0, 0x0a);
  EXPECT_EQ(resets, 0);
  EXPECT_EQ(in(control, 0), 0x0a);
  out32(control, 0, 0x0606'0606);  // no byte
  EXPECT_EQ(resets, 0);
  out(control, 0, 0x06);
  EXPECT_EQ(resets, 1);
  out(control, 0, 0x0e);
  EXPECT_EQ(resets, 2);
  out(control, 0, 0x04);
  EXPECT_EQ(resets, 3) << "an INIT of every processor comes to the same";
  control.reset();
  EXPECT_EQ(in(control, 0), 0);
}

}  // namespace
}  // namespace bellhop

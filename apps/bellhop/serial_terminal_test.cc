#include "apps/bellhop/serial_terminal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "testing/eventually.h"
#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::eventually;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

/// A guest that takes so many bytes of each offer.
class Guest {
 public:
  SerialGuest end() {
    return {.has_room = [this] { ++rooms; },
            .input =
                [this](std::span<const std::byte> data) {
                  const auto taken = data.first(std::min<std::size_t>(data.size(), takes));
                  const std::lock_guard<std::mutex> hold(mutex_);
                  for (const std::byte one : taken) heard_ += static_cast<char>(one);
                  return taken.size();
                }};
  }
  std::string heard() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return heard_;
  }
  std::atomic<std::size_t> takes{1000};
  std::atomic<int> rooms{0};

 private:
  std::mutex mutex_;
  std::string heard_;
};

class SerialTerminalTest : public ::testing::Test {
 protected:
  SerialTerminalTest() { serial->connect(guest.end()); }

  [[nodiscard]] UniqueFd open() const {
    return UniqueFd(::open(serial->place().c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  }
  /// Opened, and seen to be there.
  UniqueFd come() {
    UniqueFd user = open();
    EXPECT_TRUE(serial->write(bytes(".")));
    EXPECT_EQ(read_until(user, "."), ".");
    return user;
  }
  /// What is read until it ends with `end`.
  static std::string read_until(const UniqueFd& user, std::string_view end) {
    std::string all;
    (void)eventually([&] { return (all += read_some(user)).ends_with(end); });
    return all;
  }
  /// What there is.
  static std::string read_some(const UniqueFd& user) {
    std::array<char, 4096> piece{};
    const ssize_t got = ::read(user.get(), piece.data(), piece.size());
    return {piece.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  }
  /// Prints until there is no more room. Returns how much.
  std::size_t fill() {
    const std::string line(1024, 'x');
    std::size_t printed = 0;
    (void)eventually([&] {
      printed += line.size();
      return !serial->write(bytes(line));
    });
    return printed;
  }

  Guest guest;
  std::unique_ptr<SerialTerminal> serial = testing::must(SerialTerminal::open());
};

TEST_F(SerialTerminalTest, WhoOpensItIsAtThePort) {
  const UniqueFd user = open();
  ASSERT_TRUE(user.valid()) << serial->place();
  termios settings{};
  ASSERT_EQ(::tcgetattr(user.get(), &settings), 0);
  EXPECT_EQ(settings.c_lflag & (ECHO | ICANON | ISIG), 0U) << "raw";
  EXPECT_TRUE(serial->write(bytes("login: ")));
  EXPECT_EQ(read_until(user, ": "), "login: ");
  ASSERT_EQ(::write(user.get(), "root\r", 5), 5);
  EXPECT_TRUE(eventually([&] { return guest.heard() == "root\r"; })) << guest.heard();
  EXPECT_TRUE(serial->write(bytes("\r\n# ")));
  EXPECT_EQ(read_until(user, "# "), "\r\n# ") << "no echo, nothing changed";
  EXPECT_TRUE(serial->finish());
}

// One that comes late gets the last of what was printed, and the guest never waited.
TEST_F(SerialTerminalTest, WhatNobodyWasThereForIsKept) {
  const std::string line(1023, 'x');
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(serial->write(bytes(line + "\n")));
  EXPECT_TRUE(serial->write(bytes("the end")));
  const UniqueFd user = open();
  const std::string seen = read_until(user, "the end");
  EXPECT_EQ(seen.size(), SerialTerminal::kBacklog);
  EXPECT_TRUE(seen.ends_with("x\nthe end"));
  EXPECT_TRUE(serial->finish()) << "nothing that anybody was there for is lost";
}

TEST_F(SerialTerminalTest, OneComesAfterTheOther) {
  for (int round = 0; round < 3; ++round) {
    const UniqueFd user = open();
    const std::string text = "round " + std::to_string(round) + "\n";
    EXPECT_TRUE(serial->write(bytes(text)));
    EXPECT_THAT(read_until(user, text), ::testing::EndsWith(text));
  }
}

// As `echo halt > /dev/pts/7` does.
TEST_F(SerialTerminalTest, WhatSomebodyLeftBehindComesToTheGuest) {
  std::string all;
  for (int i = 0; i < 100; ++i) all += "command " + std::to_string(i) + "\n";
  {
    const UniqueFd user = open();
    ASSERT_EQ(::write(user.get(), all.data(), all.size()), static_cast<ssize_t>(all.size()));
  }
  EXPECT_TRUE(eventually([&] { return guest.heard() == all; })) << guest.heard();
}

TEST_F(SerialTerminalTest, AGuestTakesItAsItCan) {
  guest.takes = 0;
  const UniqueFd user = open();
  ASSERT_EQ(::write(user.get(), "0123456789", 10), 10);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(guest.heard(), "");
  guest.takes = 3;
  EXPECT_TRUE(eventually([&] { return guest.heard() == "0123456789"; })) << guest.heard();
}

TEST_F(SerialTerminalTest, AReaderThatDoesNotReadMakesTheGuestWait) {
  UniqueFd user = come();
  const std::size_t printed = fill();
  EXPECT_EQ(guest.rooms, 0);
  // It reads: all of it is there.
  std::size_t seen = 0;
  EXPECT_TRUE(eventually([&] { return (seen += read_some(user).size()) == printed; })) << seen;
  EXPECT_TRUE(eventually([&] { return guest.rooms == 1; }));
  // It goes: nobody waits for nobody.
  (void)fill();
  user.reset();
  EXPECT_TRUE(eventually([&] { return guest.rooms == 2; }));
  EXPECT_TRUE(serial->write(bytes("x")));
  EXPECT_TRUE(serial->finish());
}

TEST_F(SerialTerminalTest, WhatAReaderDidNotTakeIsToldAtTheEnd) {
  const UniqueFd user = come();
  (void)fill();
  serial->give_up();
  EXPECT_TRUE(eventually([&] { return guest.rooms == 1; }));
  const auto finished = serial->finish();
  ASSERT_FALSE(finished);
  EXPECT_THAT(finished.error().message, ::testing::HasSubstr("bytes for " + serial->place()));
}

// Neither with nobody there nor with keys that no guest takes does its thread turn round and round.
TEST_F(SerialTerminalTest, ItSleepsWhileThereIsNothingToDo) {
  const auto cpu_time = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  };
  const auto burnt = [&] {
    const auto before = cpu_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return cpu_time() - before;
  };
  constexpr auto kLittle = std::chrono::milliseconds(100);
  EXPECT_TRUE(serial->write(bytes("for nobody")));
  EXPECT_LT(burnt(), kLittle) << "nobody there";
  const UniqueFd user = open();
  EXPECT_EQ(read_until(user, "nobody"), "for nobody");
  EXPECT_LT(burnt(), kLittle) << "nothing to do";
  guest.takes = 0;
  ASSERT_EQ(::write(user.get(), "keys", 4), 4);
  EXPECT_LT(burnt(), kLittle) << "keys that are not taken";
  serial->connect({});
  ASSERT_EQ(::write(user.get(), "keys", 4), 4);
  EXPECT_LT(burnt(), kLittle) << "no guest";
}

}  // namespace
}  // namespace bellhop

// As many ports as there may be, with the longest names; bytes in buffers and pieces of any size.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "devices/console/console_device.h"
#include "testing/bytes.h"
#include "testing/device_limits.h"
#include "testing/eventually.h"
#include "virtio/abi/console.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::LimitsDriver;
using testing::must;

/// The last of all ports has a program at its other end.
class ConsoleLimits final : public testing::DeviceLimits {
 public:
  static constexpr unsigned kPort = ConsoleDevice::kMaxPorts - 1;
  static constexpr unsigned kRx = kConsoleControlReceiveQueue + 2 * kPort;
  static constexpr unsigned kTx = kRx + 1;
  /// Longest message: a name.
  static constexpr std::uint32_t kMessage =
      sizeof(ConsoleControlMessage) + ConsoleControl::kMaxName;

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {ConsoleOptions().queue_size};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t) override {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    near_ = UniqueFd(ends[0]);
    far_ = UniqueFd(ends[1]);
    std::vector<ConsolePortOptions> ports;
    for (unsigned i = 0; i < kPort; ++i) {
      ports.push_back({.name = name(i), .backend = make_null_console()});
    }
    ports.push_back(
        {.name = name(kPort), .backend = must(make_stdio_console(near_.get(), near_.get()))});
    return std::make_unique<ConsoleDevice>(std::move(ports), ConsoleOptions());
  }
  void use(LimitsDriver& driver) override {
    ASSERT_EQ(driver.config<ConsoleConfigSpace>().max_nr_ports, ConsoleDevice::kMaxPorts);
    ASSERT_NO_FATAL_FAILURE(get_to_know(driver));
    for (const unsigned bytes : {1U, driver.random(2, 5000), 300'000U}) {
      ASSERT_NO_FATAL_FAILURE(print(driver, bytes));
    }
    for (const unsigned room : {1U, 64U, driver.random(2, 5000)}) {
      ASSERT_NO_FATAL_FAILURE(read_in(driver, room));
    }
    EXPECT_EQ(driver.stat("guest_faults"), 0U);
    EXPECT_EQ(driver.stat("tx_dropped_bytes"), 0U);
  }

 private:
  static std::string name(unsigned port) {
    std::string name(ConsoleControl::kMaxName, static_cast<char>('a' + port % 26));
    name[0] = static_cast<char>('0' + port / 26);
    return name;
  }
  static void say(LimitsDriver& driver, unsigned port, std::uint16_t event) {
    const ConsoleControlMessage message{.id = port, .event = event, .value = 1};
    ASSERT_TRUE(driver.ask(kConsoleControlTransmitQueue, std::as_bytes(std::span(&message, 1)), 0,
                           ConsoleOptions().queue_size));
  }
  /// Three messages for each port; every buffer is as long as the longest, and no longer.
  static void get_to_know(LimitsDriver& driver) {
    const auto hear = [&] {
      return driver.ask(kConsoleControlReceiveQueue, {}, kMessage, ConsoleOptions().queue_size);
    };
    ASSERT_NO_FATAL_FAILURE(say(driver, 0, kConsoleDeviceReady));
    for (unsigned port = 0; port < ConsoleDevice::kMaxPorts; ++port) {
      const auto added = hear();
      ASSERT_TRUE(added);
      ASSERT_EQ(added->length, sizeof(ConsoleControlMessage));
    }
    for (unsigned port = 0; port < ConsoleDevice::kMaxPorts; ++port) {
      ASSERT_NO_FATAL_FAILURE(say(driver, port, kConsolePortReady));
      const auto named = hear();
      ASSERT_TRUE(named);
      ASSERT_EQ(named->length, kMessage);
      ASSERT_EQ(std::memcmp(named->bytes.data() + sizeof(ConsoleControlMessage), name(port).data(),
                            ConsoleControl::kMaxName),
                0);
      const auto open = hear();
      ASSERT_TRUE(open);
      ASSERT_EQ(open->length, sizeof(ConsoleControlMessage));
    }
    ASSERT_NO_FATAL_FAILURE(say(driver, kPort, kConsolePortOpen));
  }
  /// Pieces as many as the pages of the largest pipe that Linux hands over at once.
  void print(LimitsDriver& driver, unsigned bytes) {
    const auto sent = driver.random_bytes(bytes);
    ASSERT_TRUE(driver.give(kTx, sent, 0, 256));
    std::vector<std::byte> got(bytes);
    std::size_t done = 0;
    ASSERT_TRUE(eventually([&] {
      const ssize_t some = ::read(far_.get(), got.data() + done, got.size() - done);
      if (some > 0) done += static_cast<std::size_t>(some);
      return done == bytes;
    })) << done
        << " of " << bytes;
    ASSERT_TRUE(testing::same_bytes(got, sent));
    ASSERT_TRUE(driver.take(kTx));
  }
  void read_in(LimitsDriver& driver, unsigned room) {
    const auto sent = driver.random_bytes(2 * room + 1);
    ASSERT_EQ(::write(far_.get(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
    std::vector<std::byte> got;
    while (got.size() < sent.size()) {
      const auto answer = driver.ask(kRx, {}, room, ConsoleOptions().queue_size);
      ASSERT_TRUE(answer);
      ASSERT_GE(answer->length, 1U);
      got.insert(got.end(), answer->bytes.begin(), answer->bytes.begin() + answer->length);
    }
    ASSERT_TRUE(testing::same_bytes(got, sent));
  }

  UniqueFd near_;
  UniqueFd far_;
};

TEST(DeviceLimitsTest, Console) {
  ConsoleLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

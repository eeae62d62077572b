#include "devices/console/console_state.h"

#include <gtest/gtest.h>

#include "testing/console_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using namespace virtio;
using Peer = ConsolePeer;

class ConsoleMoveTest : public ConsoleDeviceTest {
 protected:
  /// The driver goes on with another console, which gets `state`: one that is as it was made.
  void move(std::span<const std::byte> state) {
    ASSERT_TRUE(fixture.host->life().load_state(state));
    fixture.restart();
    for (int i = 0; i < 32; ++i) give_control_buffer();
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, ConsoleMoveTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) { return to_string(mode.param); });

TEST_P(ConsoleMoveTest, APortThatTheGuestReadsFromIsReadFrom) {
  add_socket("s");
  add_socket("s1", "org.example.port");
  serve();
  start_multiport();
  EXPECT_EQ(hear().event, kConsoleConsolePort);
  EXPECT_EQ(hear().event, kConsolePortName);
  say(1, kConsolePortOpen, 1);
  fixture.host->life().pause();
  const std::vector<std::byte> state = fixture.host->life().save_state();
  move(state);
  fixture.host->life().pause();
  EXPECT_EQ(fixture.host->life().save_state(), state);
  fixture.host->life().resume();
  EXPECT_FALSE(try_hear()) << "it knows all that";

  const auto client = Peer::connect(path("s1"));
  client.say("hello");
  give_input_buffer(kSlot, 1);
  EXPECT_EQ(read_in(1), "hello");
  const Heard opened = hear();
  EXPECT_EQ(opened.event, kConsolePortOpen);
  EXPECT_EQ(opened.id, 1U);
  EXPECT_EQ(opened.value, 1U);

  // A peer that is not at the new place is told of, too.
  fixture.host->life().pause();
  const std::vector<std::byte> open = fixture.host->life().save_state();
  fixture.host->life().resume();
  client.say("");
  ::shutdown(client.fd.get(), SHUT_RDWR);
  EXPECT_TRUE(eventually([&] {
    const auto heard = try_hear();
    return heard && heard->event == kConsolePortOpen && heard->value == 0;
  }));
  move(open);
  const Heard closed = hear();
  EXPECT_EQ(closed.event, kConsolePortOpen);
  EXPECT_EQ(closed.value, 0U);
}

TEST_P(ConsoleMoveTest, WithoutItsStateItBeginsAnew) {
  add_socket("s");
  add_socket("s1", "org.example.port");
  serve();
  start_multiport();
  say(1, kConsolePortOpen, 1);
  move({});
  const auto client = Peer::connect(path("s1"));
  client.say("hello");
  give_input_buffer(kSlot, 1);
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(rx_of(1)));
  EXPECT_FALSE(try_hear());
}

TEST(ConsoleStateTest, ComesBackAsItWas) {
  const std::vector<ConsolePortState> ports{
      {}, {.guest_open = true, .added = true, .told_open = true, .pending = 8}, {.pending = 1}};
  const auto bytes = write_console_state(ports);
  const auto read = read_console_state(bytes, ports.size());
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, ports);
}

TEST(ConsoleStateTest, WhatIsNoneIsRefused) {
  const auto good = write_console_state(std::vector<ConsolePortState>(2));
  EXPECT_TRUE(read_console_state(good, 2));
  EXPECT_FALSE(read_console_state(good, 1)) << "of another console";
  EXPECT_FALSE(read_console_state(good, 3));
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_FALSE(read_console_state(std::span(good).first(bytes), 2)) << bytes;
  }
  auto longer = good;
  longer.push_back({});
  EXPECT_FALSE(read_console_state(longer, 2));
  // Its magic, a flag, and what is reserved.
  for (const std::size_t at : {0U, 3U, 8U, 10U, 11U}) {
    auto other = good;
    other[at] ^= std::byte{0x80};
    EXPECT_FALSE(read_console_state(other, 2)) << at;
  }
}

}  // namespace
}  // namespace bellhop

// The control queues: how ports are made known, and messages that are none.

#include <gtest/gtest.h>

#include <string>

#include "testing/console_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using namespace virtio;
using Peer = ConsolePeer;

// ---- ports ----

TEST_P(ConsoleDeviceTest, PortsAreMadeKnown) {
  add_port(make_null_console());
  add_socket("s", "org.qemu.guest_agent.0");
  serve();
  EXPECT_EQ(fixture.config<ConsoleConfigSpace>().max_nr_ports, 2U);
  EXPECT_EQ(fixture.device->traits().queue_count, 6U);
  start_multiport();
  auto heard = hear();
  EXPECT_EQ(heard.event, kConsoleConsolePort);
  EXPECT_EQ(heard.id, 0U);
  EXPECT_EQ(heard.value, 1U);
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortOpen) << "null is always there";
  EXPECT_EQ(heard.id, 0U);
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortName);
  EXPECT_EQ(heard.id, 1U);
  EXPECT_EQ(heard.rest, "org.qemu.guest_agent.0");

  {
    const auto client = Peer::connect(path("s"));
    heard = hear();
    EXPECT_EQ(heard.event, kConsolePortOpen);
    EXPECT_EQ(heard.id, 1U);
    EXPECT_EQ(heard.value, 1U);
    // Nothing is read for a guest that has not opened the port.
    client.say("early");
    give_input_buffer(kSlot, 1);
    fixture.settle();
    EXPECT_FALSE(fixture.try_used(rx_of(1)));
    say(1, kConsolePortOpen, 1);
    EXPECT_EQ(read_in(1), "early");
    say(1, kConsolePortOpen, 0);
    give_input_buffer(kSlot, 1);
    client.say("late");
    fixture.settle();
    EXPECT_FALSE(fixture.try_used(rx_of(1)));
    say(1, kConsolePortOpen, 1);
    EXPECT_EQ(read_in(1), "late");
    print("answer", 1);
    EXPECT_TRUE(client.hears("answer"));
  }
  heard = hear();
  EXPECT_EQ(heard.event, kConsolePortOpen);
  EXPECT_EQ(heard.value, 0U) << "the client has left";
  EXPECT_EQ(device().counters().guest_faults.get(), 0U);
}

TEST_P(ConsoleDeviceTest, NewsThatComeBeforeTheirBuffersWaitAndAreNotMany) {
  add_port(make_null_console());
  add_socket("s", "p");
  serve();
  start_multiport();
  for (int i = 0; i < 3; ++i) (void)hear();
  for (int i = 0; i < 200; ++i) {
    say(0, kConsolePortReady, 1);  // "and tell me all about it", without end
    say(0, kConsolePortOpen, 1);
  }
  int messages = 0;
  fixture.settle();
  while (try_hear()) ++messages;
  EXPECT_LE(messages, 400);
  say(1, kConsolePortReady, 0);
  const auto client = Peer::connect(path("s"));
  EXPECT_TRUE(eventually([&] { return fixture.stat("connects") == 1; }));
  fixture.settle();
  while (const auto heard = try_hear()) EXPECT_EQ(heard->id, 0U) << "the driver has no port 1";
}

TEST_P(ConsoleDeviceTest, MessagesThatMakeNoSense) {
  add_port(make_null_console());
  serve();
  start_multiport();
  (void)hear();
  (void)hear();
  say(1, kConsolePortReady, 1);
  say(0xffffffff, kConsolePortOpen, 1);
  say(0, kConsolePortAdd, 1);
  say(0, kConsoleResize, 1);
  say(0, 0x7777, 1);
  EXPECT_EQ(device().counters().guest_faults.get(), 5U);
  for (const std::uint32_t bytes : {1U, 7U}) {
    fixture.give(kControlTx, {{GuestAddress(kOut), bytes, false}});
    ASSERT_TRUE(fixture.wait_used(kControlTx));
  }
  fixture.give(kControlTx, {{GuestAddress(kOut), 8, true}});
  ASSERT_TRUE(fixture.wait_used(kControlTx));
  EXPECT_EQ(device().counters().guest_faults.get(), 8U);
  fixture.give(kTx, {{GuestAddress(kOut), 8, true}});
  ASSERT_TRUE(fixture.wait_used(kTx));
  say(0, kConsolePortOpen, 1);
  fixture.device->write_config(0, std::as_bytes(std::span("x", 1)));
  EXPECT_EQ(device().counters().guest_faults.get(), 10U);
  print("works");
  // Cut in two, as a driver may.
  const ConsoleControlMessage ready{.id = 0, .event = kConsolePortReady, .value = 1};
  ASSERT_TRUE(fixture.memory.write(GuestAddress(kOut), std::as_bytes(std::span(&ready, 1))));
  fixture.give(kControlTx, {{GuestAddress(kOut), 3, false}, {GuestAddress(kOut + 3), 5, false}});
  EXPECT_EQ(hear().event, kConsoleConsolePort);
  EXPECT_EQ(device().counters().guest_faults.get(), 10U);
}

TEST_P(ConsoleDeviceTest, BuffersTooSmallForAMessage) {
  add_port(make_null_console());
  add_port(make_null_console(), "a-name-of-some-length");
  serve();
  fixture.start();
  for (int i = 0; i < 8; ++i) give_control_buffer(8);
  say(0, kConsoleDeviceReady, 1);
  EXPECT_EQ(hear().event, kConsolePortAdd);
  EXPECT_EQ(hear().event, kConsolePortAdd);
  fixture.restart();
  give_control_buffer(7);
  say(0, kConsoleDeviceReady, 1);
  const auto used = fixture.wait_used(kControlRx);
  EXPECT_EQ(used->length, 0U);
  EXPECT_GE(device().counters().guest_faults.get(), 1U);
  fixture.restart();
  get_to_know();
  print("works");
}

TEST_P(ConsoleDeviceTest, QueuesThatNothingUsesAreLeftAlone) {
  add_port(make_null_console());
  serve();
  start_simple();
  fixture.give(kControlTx, {{GuestAddress(kOut), 8, false}});
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(kControlTx));
  fixture.restart(fixture.device->traits().features, {kRx, kTx});
  print("without control queues");
}

}  // namespace
}  // namespace bellhop

// Connections of both directions, through queues and Unix sockets as users have them.

#include "devices/vsock/vsock_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "testing/allocation_counter.h"
#include "testing/eventually.h"
#include "testing/vsock_fixture.h"

namespace bellhop {
namespace {

using namespace virtio;
using namespace std::chrono_literals;
using testing::eventually;
using ::testing::HasSubstr;
using testing::VsockFixture;

constexpr std::uint32_t kBoth = kVsockShutdownReceive | kVsockShutdownSend;
constexpr std::uint32_t kRoom = VsockConnection::kBufferBytes;

class VsockDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  void start(unsigned buffers = 32) {
    fixture.start();
    fixture.give_buffers(buffers);
  }
  /// A connection that the host asks for: its socket, and the host's port of it.
  std::pair<UniqueFd, std::uint32_t> call_guest(std::uint32_t port, std::string_view more = {}) {
    UniqueFd socket = fixture.connect_to_guest();
    VsockFixture::write_all(socket, "CONNECT " + std::to_string(port) + "\n" + std::string(more));
    const auto request = fixture.receive();
    EXPECT_EQ(request.header.op, kVsockOpRequest);
    EXPECT_EQ(request.header.dst_port, port);
    fixture.send_op(kVsockOpResponse, request.header.src_port, port);
    const std::string line = "OK " + std::to_string(request.header.src_port) + "\n";
    EXPECT_EQ(VsockFixture::read_some(socket, line.size()), line);
    return {std::move(socket), request.header.src_port};
  }

  VsockFixture fixture{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Modes, VsockDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& mode) {
                           return mode.param == NotifyMode::kSync ? "sync" : "ioeventfd";
                         });

TEST_P(VsockDeviceTest, SaysWhichCidTheGuestHas) {
  VsockConfigSpace config{};
  fixture.vsock->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(config.guest_cid, VsockFixture::kCid);
  std::byte part[4];
  fixture.vsock->read_config(4, part);
  EXPECT_EQ(part[0], std::byte{0});
  fixture.vsock->write_config(0, part);
  EXPECT_EQ(fixture.vsock->stats().back().value, 1U) << "it is not the guest's to write";
}

TEST_P(VsockDeviceTest, TheGuestReachesTheHost) {
  start();
  const UniqueFd listener = fixture.listen_on(1234);
  fixture.send_op(kVsockOpRequest, 1234, 5000);
  const UniqueFd socket = VsockFixture::accept_from(listener);
  const auto response = fixture.receive();
  EXPECT_EQ(response.header.op, kVsockOpResponse);
  EXPECT_EQ(response.header.src_cid, kVsockCidHost);
  EXPECT_EQ(response.header.dst_cid, VsockFixture::kCid);
  EXPECT_EQ(response.header.src_port, 1234U);
  EXPECT_EQ(response.header.dst_port, 5000U);
  EXPECT_EQ(response.header.type, kVsockTypeStream);
  EXPECT_EQ(response.header.buf_alloc, kRoom);

  fixture.send_data(1234, 5000, "hello, host");
  EXPECT_EQ(VsockFixture::read_some(socket, 11), "hello, host");
  VsockFixture::write_all(socket, "hello, guest");
  const auto data = fixture.receive();
  EXPECT_EQ(data.header.op, kVsockOpRw);
  EXPECT_EQ(data.payload, "hello, guest");
  EXPECT_EQ(data.header.fwd_cnt, 11U);

  fixture.send_op(kVsockOpShutdown, 1234, 5000, kBoth);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  EXPECT_TRUE(VsockFixture::at_end(socket));
  EXPECT_EQ(fixture.vsock->counters().guest_faults.get(), 0U);
}

TEST_P(VsockDeviceTest, TheHostReachesTheGuest) {
  start();
  // What follows the line is the guest's, even if it comes along with it.
  auto [socket, port] = call_guest(52, "early");
  const auto early = fixture.receive();
  EXPECT_EQ(early.header.op, kVsockOpRw);
  EXPECT_EQ(early.header.src_port, port);
  EXPECT_EQ(early.header.dst_port, 52U);
  EXPECT_EQ(early.payload, "early");
  fixture.send_data(port, 52, "late");
  EXPECT_EQ(VsockFixture::read_some(socket, 4), "late");
  EXPECT_EQ(fixture.vsock->counters().from_host.get(), 1U);
}

TEST_P(VsockDeviceTest, TheLineMayComeInPieces) {
  start();
  const UniqueFd socket = fixture.connect_to_guest();
  for (const char* part : {"CON", "NECT 10", "24", "\r", "\n"}) {
    VsockFixture::write_all(socket, part);
    fixture.settle();
  }
  EXPECT_EQ(fixture.receive().header.dst_port, 1024U);
}

TEST_P(VsockDeviceTest, OtherLinesEndTheCall) {
  start();
  for (const char* line :
       {"connect 1\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT 1 2\n", "CONNECT -1\n",
        "CONNECT 4294967296\n", "\n", "CONNECT 0000000000000000000000000000000000000001\n"}) {
    const UniqueFd socket = fixture.connect_to_guest();
    VsockFixture::write_all(socket, line);
    EXPECT_TRUE(VsockFixture::at_end(socket)) << line;
  }
  EXPECT_TRUE(fixture.quiet());
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, WhereNobodyListensIsARefusal) {
  start();
  fixture.send_op(kVsockOpRequest, 1, 5000);
  const auto answer = fixture.receive();
  EXPECT_EQ(answer.header.op, kVsockOpRst);
  EXPECT_EQ(answer.header.src_port, 1U);
  EXPECT_EQ(answer.header.dst_port, 5000U);
  EXPECT_EQ(fixture.vsock->counters().refused_by_host.get(), 1U);

  const UniqueFd socket = fixture.connect_to_guest();
  VsockFixture::write_all(socket, "CONNECT 9\n");
  const auto request = fixture.receive();
  fixture.send_op(kVsockOpRst, request.header.src_port, 9);
  EXPECT_TRUE(VsockFixture::at_end(socket));
  EXPECT_EQ(fixture.vsock->counters().refused_by_guest.get(), 1U);
  EXPECT_TRUE(fixture.quiet()) << "a RST is not answered";
}

TEST_P(VsockDeviceTest, CallsWaitUntilThereIsADriver) {
  const UniqueFd socket = fixture.connect_to_guest();
  VsockFixture::write_all(socket, "CONNECT 77\n");
  start();
  EXPECT_EQ(fixture.receive().header.dst_port, 77U);
}

TEST_P(VsockDeviceTest, TheGuestsCreditIsNotOverdrawn) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  auto request = VsockFixture::header(kVsockOpRequest, 1, 2);
  request.buf_alloc = 1000;
  fixture.send(request);
  const UniqueFd socket = VsockFixture::accept_from(listener);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpResponse);
  const std::string text = VsockFixture::pattern(2500);
  VsockFixture::write_all(socket, text);

  std::string got;
  while (got.size() < 1000) got += fixture.receive().payload;
  EXPECT_EQ(got.size(), 1000U);
  // It is asked for more, once, and is not sent a byte before it says so.
  EXPECT_EQ(fixture.receive().header.op, kVsockOpCreditRequest);
  EXPECT_TRUE(fixture.quiet());

  auto update = VsockFixture::header(kVsockOpCreditUpdate, 1, 2);
  update.buf_alloc = 1000;
  update.fwd_cnt = 600;
  fixture.send(update);
  while (got.size() < 1600) got += fixture.receive().payload;
  EXPECT_EQ(got.size(), 1600U);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpCreditRequest);
  // Less room than is taken is no credit, and no fault.
  update.buf_alloc = 10;
  fixture.send(update);
  EXPECT_TRUE(fixture.quiet());
  update.buf_alloc = 5000;
  update.fwd_cnt = 1600;
  fixture.send(update);
  while (got.size() < text.size()) got += fixture.receive().payload;
  EXPECT_EQ(got, text);
  // What is older than what is known says nothing.
  update.fwd_cnt = 600;
  fixture.send(update);
  EXPECT_EQ(fixture.vsock->counters().guest_faults.get(), 0U);
}

TEST_P(VsockDeviceTest, AHostThatDoesNotReadHoldsUpNobodyElse) {
  start();
  const UniqueFd slow_listener = fixture.listen_on(1);
  const UniqueFd slow = fixture.connect_to_host(slow_listener, 1, 10);
  // As much as the guest has credit for, packet by packet, and what the socket holds on top of it.
  std::string sent;
  std::uint32_t forwarded = 0;
  while (sent.size() - forwarded + 4096 <= kRoom) {
    const std::string part = VsockFixture::pattern(4096, static_cast<unsigned>(sent.size()));
    fixture.send_data(1, 10, part);
    sent += part;
    fixture.settle();
    while (const auto used = fixture.driver(0).reap()) {
      const auto packet = fixture.packet_of(*used);
      ASSERT_EQ(packet.header.op, kVsockOpCreditUpdate);
      forwarded = packet.header.fwd_cnt;
      fixture.give_buffers(1);
    }
    ASSERT_LT(sent.size(), 16U << 20);
  }
  EXPECT_TRUE(fixture.works());
  fixture.pause_and_resume();
  EXPECT_TRUE(fixture.works(7002));

  EXPECT_EQ(VsockFixture::read_some(slow, sent.size()), sent);
  std::uint32_t told = 0;
  while (told + kRoom / 4 < sent.size()) {
    const auto packet = fixture.receive();
    ASSERT_EQ(packet.header.op, kVsockOpCreditUpdate);
    told = packet.header.fwd_cnt;
  }
  fixture.send_op(kVsockOpCreditRequest, 1, 10);
  EXPECT_EQ(fixture.receive().header.fwd_cnt, sent.size());
}

TEST_P(VsockDeviceTest, WhatAGuestSentBeforeItClosedArrives) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
  const int small = 4096;
  ASSERT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  std::string sent;
  while (sent.size() + 16384 <= kRoom) {
    const std::string part = VsockFixture::pattern(16384, static_cast<unsigned>(sent.size()));
    fixture.send_data(1, 10, part);
    sent += part;
  }
  fixture.send_op(kVsockOpShutdown, 1, 10, kBoth);
  bool reset = false;
  while (!reset) reset = fixture.receive().header.op == kVsockOpRst;
  // Its ports are free again, while the rest is on its way.
  const UniqueFd again = fixture.connect_to_host(listener, 1, 10);
  EXPECT_EQ(VsockFixture::read_some(socket, sent.size()), sent);
  EXPECT_TRUE(VsockFixture::at_end(socket));
}

TEST_P(VsockDeviceTest, EachDirectionClosesByItself) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd first = fixture.connect_to_host(listener, 1, 10);
  // The guest has said all: the host still answers.
  fixture.send_data(1, 10, "question");
  fixture.send_op(kVsockOpShutdown, 1, 10, kVsockShutdownSend);
  EXPECT_EQ(VsockFixture::read_some(first, 8), "question");
  EXPECT_TRUE(VsockFixture::at_end(first));
  VsockFixture::write_all(first, "answer");
  EXPECT_EQ(fixture.receive().payload, "answer");
  // The host has said all as well, and is gone.
  const_cast<UniqueFd&>(first).reset();
  const auto gone = fixture.receive();
  EXPECT_EQ(gone.header.op, kVsockOpShutdown);
  EXPECT_EQ(gone.header.flags, kBoth);
  fixture.send_op(kVsockOpRst, 1, 10);

  // The other way around.
  UniqueFd second = fixture.connect_to_host(listener, 1, 11);
  VsockFixture::write_all(second, "question");
  ASSERT_EQ(::shutdown(second.get(), SHUT_WR), 0);
  EXPECT_EQ(fixture.receive().payload, "question");
  const auto half = fixture.receive();
  EXPECT_EQ(half.header.op, kVsockOpShutdown);
  EXPECT_EQ(half.header.flags, kVsockShutdownSend);
  fixture.send_data(1, 11, "answer", 8);
  EXPECT_EQ(VsockFixture::read_some(second, 6), "answer");
  // A guest that reads no more stops the host's writing.
  const UniqueFd third = fixture.connect_to_host(listener, 1, 12);
  fixture.send_op(kVsockOpShutdown, 1, 12, kVsockShutdownReceive);
  EXPECT_TRUE(
      eventually([&] { return ::send(third.get(), "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE; }));
}

TEST_P(VsockDeviceTest, AHostThatIsGoneIsToldOfAfterItsLastBytes) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
  VsockFixture::write_all(socket, "last words");
  socket.reset();
  EXPECT_EQ(fixture.receive().payload, "last words");
  const auto shutdown = fixture.receive();
  EXPECT_EQ(shutdown.header.op, kVsockOpShutdown);
  EXPECT_EQ(shutdown.header.flags, kBoth);
  fixture.send_data(1, 10, "to nobody", 10);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
}

// ---- bad input: row 30 ----

TEST_P(VsockDeviceTest, Row30HeaderLengthMismatch) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd good = fixture.connect_to_host(listener, 1, 9);
  std::uint64_t faults = 0;
  const auto counted = [&] { return fixture.vsock->counters().guest_faults.get() == ++faults; };
  // More than there is: of a connection, and of none.
  for (const std::uint32_t len : {5U, 4096U, 0xffffffffU, 0xffffffd4U, 0x80000000U}) {
    const UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
    auto head = VsockFixture::header(kVsockOpRw, 1, 10);
    head.len = len;
    fixture.send(head, "four");
    EXPECT_EQ(fixture.receive().header.op, kVsockOpRst) << len;
    EXPECT_TRUE(VsockFixture::at_end(socket)) << "not a byte of it";
    EXPECT_TRUE(counted());
    fixture.send(head, "four");
    EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
    EXPECT_TRUE(counted());
  }
  // A header that is cut short: nobody can be answered.
  for (const std::uint32_t bytes : {1U, 8U, 43U}) {
    ASSERT_TRUE(fixture.driver(1).add({{VsockFixture::slot(1, 0), bytes, false}}).has_value());
    fixture.offer(1);
    ASSERT_TRUE(fixture.wait_used(1).has_value());
    EXPECT_TRUE(counted());
  }
  // Payload behind a packet that has none.
  for (const std::uint16_t op : {kVsockOpShutdown, kVsockOpCreditUpdate, kVsockOpCreditRequest}) {
    const UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
    auto head = VsockFixture::header(op, 1, 10);
    head.len = 4;
    fixture.send(head, "four");
    EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
    EXPECT_TRUE(counted());
  }
  // A buffer that is longer than its packet is legal: the rest is not looked at.
  auto head = VsockFixture::header(kVsockOpRw, 1, 9);
  head.len = 4;
  fixture.send(head, "four and more");
  EXPECT_EQ(VsockFixture::read_some(good, 4), "four");
  // Buffers too small for a packet are given back.
  fixture.give_buffers(1, 44);
  fixture.stop();
  fixture.restart();
  fixture.give_buffers(8);
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, Row30HeaderChangesWhileItIsRead) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "a guest that races on purpose";
#endif
  start();
  const UniqueFd listener = fixture.listen_on(1);
  std::atomic<bool> over{false};
  const GuestSpan raw = fixture.memory.span(VsockFixture::slot(2, 0), 4096).value();
  std::thread mischief([&] {
    for (std::uint32_t i = 0; !over; ++i) {
      const std::uint32_t len = i % 2 == 0 ? 4 : 0xfffffff0U;
      (void)raw.store(offsetof(VsockHeader, len), len);
      const std::uint16_t op = i % 3 == 0 ? kVsockOpShutdown : kVsockOpRw;
      (void)raw.store(offsetof(VsockHeader, op), op);
      (void)raw.store(offsetof(VsockHeader, dst_port), i % 5 == 0 ? 2 : 1);
    }
  });
  auto head = VsockFixture::header(kVsockOpRw, 1, 10);
  head.len = 4;
  std::string seen;
  UniqueFd socket;
  for (int i = 0; i < 3000; ++i) {
    if (!socket.valid()) {
      fixture.send_op(kVsockOpRequest, 1, 10);
      socket = VsockFixture::accept_from(listener);
      ASSERT_TRUE(socket.valid());
    }
    (void)raw.store(0, head);
    const auto chain = fixture.driver(1).add({{VsockFixture::slot(2, 0), 48, false}});
    ASSERT_TRUE(chain.has_value());
    fixture.offer(1);
    ASSERT_TRUE(fixture.wait_used(1).has_value());
    fixture.settle();
    while (const auto used = fixture.driver(0).reap()) {
      const VsockHeader answer = fixture.packet_of(*used).header;
      if (answer.op == kVsockOpRst && answer.src_port == 1) socket.reset();
      fixture.give_buffers(1);
    }
    // Whatever was said: four bytes at a time, or none.
    std::array<char, 64> bytes{};
    ssize_t got = 0;
    while (socket.valid() &&
           (got = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0) {
      ASSERT_EQ(got % 4, 0);
    }
    if (socket.valid() && got == 0) {
      fixture.send_op(kVsockOpRst, 1, 10);
      socket.reset();
    }
  }
  over = true;
  mischief.join();
  fixture.restart();
  fixture.give_buffers(16);
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, Row30CreditOverflow) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd good = fixture.connect_to_host(listener, 1, 9);
  // The guest sends more than it has credit for.
  const UniqueFd flooded = fixture.connect_to_host(listener, 1, 10);
  const std::string part = VsockFixture::pattern(32768);
  bool reset = false;
  std::size_t sent = 0;
  while (!reset) {
    auto head = VsockFixture::header(kVsockOpRw, 1, 10);
    head.len = static_cast<std::uint32_t>(part.size());
    fixture.send(head, part);
    sent += part.size();
    fixture.settle();
    while (const auto used = fixture.driver(0).reap()) {
      reset = reset || fixture.packet_of(*used).header.op == kVsockOpRst;
      fixture.give_buffers(1);
    }
    ASSERT_LT(sent, 8U << 20) << "kept without a bound";
  }
  EXPECT_EQ(fixture.vsock->counters().guest_faults.get(), 1U);
  // It says that it has taken more than it was sent.
  const UniqueFd liar = fixture.connect_to_host(listener, 1, 11);
  auto head = VsockFixture::header(kVsockOpCreditUpdate, 1, 11);
  head.fwd_cnt = 1;
  fixture.send(head);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  EXPECT_EQ(fixture.vsock->counters().guest_faults.get(), 2U);
  // Already with its first word.
  head = VsockFixture::header(kVsockOpRequest, 1, 12);
  head.fwd_cnt = 5;
  fixture.send(head);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  // Room without an end is believed up to a bound, and nothing wraps around.
  head = VsockFixture::header(kVsockOpCreditUpdate, 1, 9);
  head.buf_alloc = 0xffffffff;
  fixture.send(head);
  VsockFixture::write_all(good, "on we go");
  EXPECT_EQ(fixture.receive().payload, "on we go");
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, Row30PacketsThatBelongNowhere) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const auto answer_to = [&](const VsockHeader& head) {
    fixture.send(head);
    return fixture.receive().header;
  };
  for (const std::uint16_t op :
       {kVsockOpInvalid, kVsockOpResponse, kVsockOpShutdown, kVsockOpRw, kVsockOpCreditUpdate,
        kVsockOpCreditRequest, static_cast<std::uint16_t>(8), static_cast<std::uint16_t>(0xffff)}) {
    const auto answer = answer_to(VsockFixture::header(op, 1, 77));
    EXPECT_EQ(answer.op, kVsockOpRst) << op;
    EXPECT_EQ(answer.dst_port, 77U);
    // The same within a connection.
    if (op != kVsockOpInvalid && op != kVsockOpResponse && op < 8) continue;
    const UniqueFd socket = fixture.connect_to_host(listener, 1, 78);
    EXPECT_EQ(answer_to(VsockFixture::header(op, 1, 78)).op, kVsockOpRst) << op;
    EXPECT_TRUE(VsockFixture::at_end(socket));
  }
  fixture.restart();
  fixture.give_buffers(16);
  // A second REQUEST for ports that are in use ends the first.
  const UniqueFd socket = fixture.connect_to_host(listener, 1, 79);
  EXPECT_EQ(answer_to(VsockFixture::header(kVsockOpRequest, 1, 79)).op, kVsockOpRst);
  // Another type, another context.
  auto head = VsockFixture::header(kVsockOpRequest, 1, 80);
  head.type = kVsockTypeSeqpacket;
  const auto typed = answer_to(head);
  EXPECT_EQ(typed.op, kVsockOpRst);
  EXPECT_EQ(typed.type, kVsockTypeSeqpacket);
  head = VsockFixture::header(kVsockOpRequest, 1, 80);
  head.dst_cid = 7;
  EXPECT_EQ(answer_to(head).src_cid, 7U);
  // In another's name, and RST: no answer.
  head = VsockFixture::header(kVsockOpRequest, 1, 80);
  head.src_cid = 3;
  fixture.send(head);
  head.src_cid = (std::uint64_t{1} << 32) | VsockFixture::kCid;
  fixture.send(head);
  fixture.send_op(kVsockOpRst, 1, 80);
  EXPECT_TRUE(fixture.quiet());
  // Data after its end.
  const UniqueFd ended = fixture.connect_to_host(listener, 1, 81);
  fixture.send_op(kVsockOpShutdown, 1, 81, kVsockShutdownSend);
  fixture.send_data(1, 81, "more");
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, Row30AnswersThatNobodyFetchesAreBounded) {
  fixture.start();
  // No buffers for answers: at some point no packet is taken any more.
  unsigned taken = 0;
  unsigned posted = 0;
  const auto reap = [&] {
    while (fixture.driver(1).reap()) ++taken;
  };
  while (posted < 1000 && posted - taken < VsockFixture::kSize) {
    fixture.post(VsockFixture::header(kVsockOpRw, 1, posted));
    ++posted;
    fixture.settle();
    reap();
  }
  EXPECT_EQ(taken, VsockMuxer::kMaxReplies);
  EXPECT_GE(fixture.vsock->counters().tx_blocked.get(), 1U);
  // Each of them is answered once there is room.
  for (unsigned i = 0; i < posted; ++i) {
    if (i % 32 == 0) fixture.give_buffers(32);
    const auto used = fixture.wait_used(0);
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(fixture.packet_of(*used).header.dst_port, i);
  }
  EXPECT_TRUE(eventually([&] {
    reap();
    return taken == posted;
  }));
  fixture.give_buffers(8);
  EXPECT_TRUE(fixture.works());
}

// ---- life ----

TEST_P(VsockDeviceTest, ResetEndsEveryConnection) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<UniqueFd> sockets;
    for (std::uint32_t i = 0; i < 8; ++i) {
      sockets.push_back(fixture.connect_to_host(listener, 1, 100 + i));
    }
    for (const UniqueFd& socket : sockets) VsockFixture::write_all(socket, "never fetched");
    // One is asked for and not answered yet, with what came before it.
    const UniqueFd waiting = fixture.connect_to_guest();
    VsockFixture::write_all(waiting, "CONNECT 1\n");
    while (fixture.receive().header.op != kVsockOpRequest) {
    }
    const std::string part = VsockFixture::pattern(65536);
    fixture.send_data(1, 100, part);
    fixture.send_data(1, 100, part);
    fixture.restart();
    fixture.give_buffers(32);
    // The first has got what was sent; all others nothing. Then it is over.
    (void)VsockFixture::read_some(sockets[0], 1);
    for (std::uint32_t i = 1; i < 8; ++i) EXPECT_TRUE(VsockFixture::at_end(sockets[i]));
    EXPECT_TRUE(VsockFixture::at_end(waiting));
  }
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, TransportResetIsAnEvent) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
  fixture.vsock->transport_reset();
  EXPECT_TRUE(VsockFixture::at_end(socket));
  fixture.settle();
  EXPECT_FALSE(fixture.driver(2).reap().has_value()) << "it waits for a buffer";
  // One that is too small is not it.
  ASSERT_TRUE(fixture.driver(2).add({{VsockFixture::slot(2, 0), 2, true}}).has_value());
  ASSERT_TRUE(fixture.driver(2).add({{VsockFixture::slot(2, 1), 8, true}}).has_value());
  ASSERT_TRUE(fixture.driver(2).add({{VsockFixture::slot(2, 2), 8, true}}).has_value());
  const std::array<std::byte, 4> marks{std::byte{9}, std::byte{9}, std::byte{9}, std::byte{9}};
  ASSERT_TRUE(fixture.memory.write(VsockFixture::slot(2, 1), marks));
  fixture.offer(2);
  EXPECT_EQ(fixture.wait_used(2)->length, 0U);
  EXPECT_EQ(fixture.wait_used(2)->length, sizeof(VsockEvent));
  VsockEvent event{};
  ASSERT_TRUE(
      fixture.memory.read(VsockFixture::slot(2, 1), std::as_writable_bytes(std::span(&event, 1))));
  EXPECT_EQ(event.id, kVsockEventTransportReset);
  fixture.settle();
  EXPECT_FALSE(fixture.driver(2).reap().has_value()) << "once";
  EXPECT_TRUE(fixture.works());
  fixture.vsock->transport_reset();
  EXPECT_EQ(fixture.wait_used(2)->length, sizeof(VsockEvent));
}

TEST_P(VsockDeviceTest, ConnectionsAreBounded) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit before = files;
  constexpr rlim_t kNeeded = 3 * VsockMuxer::kMaxConnections + 100;
  if (files.rlim_cur < kNeeded) {
    files.rlim_cur = std::min(kNeeded, files.rlim_max);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  }
  if (files.rlim_cur < kNeeded) GTEST_SKIP() << "no right to open " << kNeeded << " descriptors";
  start();
  const UniqueFd listener = fixture.listen_on(1);
  std::vector<UniqueFd> sockets;
  for (std::uint32_t i = 0; i < VsockMuxer::kMaxConnections; ++i) {
    sockets.push_back(fixture.connect_to_host(listener, 1, i));
  }
  fixture.send_op(kVsockOpRequest, 1, 5000);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  const UniqueFd caller = fixture.connect_to_guest();
  VsockFixture::write_all(caller, "CONNECT 1\n");
  EXPECT_TRUE(VsockFixture::at_end(caller));
  EXPECT_EQ(fixture.vsock->counters().refused_too_many.get(), 2U);
  // All of them work, and one that ends makes room.
  for (const auto& socket : sockets) VsockFixture::write_all(socket, "x");
  for (std::size_t i = 0; i < sockets.size(); ++i) ASSERT_EQ(fixture.receive().payload, "x");
  fixture.send_op(kVsockOpRst, 1, 0);
  EXPECT_TRUE(VsockFixture::at_end(sockets[0]));
  EXPECT_TRUE(fixture.works());
  fixture.stop();
  (void)::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_P(VsockDeviceTest, AHostWithoutDescriptorsRefusesAndGoesOn) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  UniqueFd caller = fixture.connect_to_guest();
  fixture.settle();
  // Once before, by the same way: the sanitizers need descriptors of their own when they meet a
  // class for the first time.
  fixture.send_op(kVsockOpRequest, 2, 9);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  // None can be had from here on.
  const rlimit none{.rlim_cur = 3, .rlim_max = files.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  fixture.send_op(kVsockOpRequest, 1, 10);
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_TRUE(fixture.works());
}

TEST_P(VsockDeviceTest, ManyStreamsBothWaysArriveWhole) {
  start(48);
  constexpr std::uint32_t kStreams = 6;
  constexpr std::size_t kBytes = 1 << 20;
  const UniqueFd listener = fixture.listen_on(1);
  struct Stream {
    UniqueFd socket;
    std::size_t from_host = 0;   // written by the host
    std::size_t at_guest = 0;    // received by the guest
    std::size_t from_guest = 0;  // sent by the guest
    std::size_t at_host = 0;     // read by the host
    std::uint32_t fwd = 0;       // what the guest was told
    std::size_t told_host = 0;   // what the guest has told
  };
  std::vector<Stream> streams(kStreams);
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < kStreams; ++i) {
    streams[i].socket = fixture.connect_to_host(listener, 1, i);
    texts.push_back(VsockFixture::pattern(kBytes, i * 1000));
  }
  const auto done = [&] {
    return std::ranges::all_of(streams, [](const Stream& stream) {
      return stream.at_guest == kBytes && stream.at_host == kBytes;
    });
  };
  std::string space(70000, '\0');
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  for (unsigned round = 0; !done(); ++round) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    for (std::uint32_t i = 0; i < kStreams; ++i) {
      Stream& stream = streams[i];
      const std::size_t most = 1 + (round * 7919 + i * 104729) % 30000;
      const std::size_t out = std::min(most, kBytes - stream.from_host);
      const ssize_t sent = ::send(stream.socket.get(), texts[i].data() + stream.from_host, out,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) stream.from_host += static_cast<std::size_t>(sent);
      const std::size_t credit = kRoom - (stream.from_guest - stream.fwd);
      const std::size_t in = std::min({most, kBytes - stream.from_guest, credit});
      if (in != 0) {
        auto head = VsockFixture::header(kVsockOpRw, 1, i);
        head.len = static_cast<std::uint32_t>(in);
        head.fwd_cnt = static_cast<std::uint32_t>(stream.at_guest);
        stream.told_host = stream.at_guest;
        fixture.send(head, std::string_view(texts[i]).substr(stream.from_guest, in));
        stream.from_guest += in;
      } else if (stream.told_host != stream.at_guest) {
        auto head = VsockFixture::header(kVsockOpCreditUpdate, 1, i);
        head.fwd_cnt = static_cast<std::uint32_t>(stream.at_guest);
        stream.told_host = stream.at_guest;
        fixture.send(head);
      }
      const ssize_t got = ::recv(stream.socket.get(), space.data(),
                                 (round + i) % 3 == 0 ? 100 : 60000, MSG_DONTWAIT);
      if (got > 0) {
        const auto bytes = static_cast<std::size_t>(got);
        ASSERT_EQ(std::string_view(space).substr(0, bytes),
                  std::string_view(texts[i]).substr(stream.at_host, bytes));
        stream.at_host += bytes;
      }
    }
    while (const auto used = fixture.driver(0).reap()) {
      const auto packet = fixture.packet_of(*used);
      fixture.give_buffers(1, 4096);
      Stream& stream = streams.at(packet.header.dst_port);
      stream.fwd = packet.header.fwd_cnt;
      ASSERT_NE(packet.header.op, kVsockOpRst);
      ASSERT_EQ(packet.payload, std::string_view(texts[packet.header.dst_port])
                                    .substr(stream.at_guest, packet.payload.size()));
      stream.at_guest += packet.payload.size();
    }
    (void)fixture.driver(0).enable_interrupts();
    if (round % 64 == 63) fixture.pause_and_resume();
  }
  EXPECT_EQ(fixture.vsock->counters().guest_faults.get(), 0U);
  EXPECT_EQ(fixture.vsock->counters().rx_bytes.get(), kStreams * kBytes);
  EXPECT_EQ(fixture.vsock->counters().tx_bytes.get(), kStreams * kBytes);
}

TEST(VsockPatience, EndsWhatHangsInTheAir) {
  VsockFixture fixture(NotifyMode::kIoEventFd, 5ms);
  fixture.start();
  fixture.give_buffers(32);
  // No line.
  const UniqueFd silent = fixture.connect_to_guest();
  EXPECT_TRUE(VsockFixture::at_end(silent));
  // No answer.
  const UniqueFd unheard = fixture.connect_to_guest();
  VsockFixture::write_all(unheard, "CONNECT 1\n");
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRequest);
  EXPECT_TRUE(VsockFixture::at_end(unheard));
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  EXPECT_EQ(fixture.vsock->counters().timed_out.get(), 2U);
  // Nobody reads, nobody writes: the end of the host is seen all the same.
  const UniqueFd listener = fixture.listen_on(1);
  UniqueFd half = fixture.connect_to_host(listener, 1, 10);
  ASSERT_EQ(::shutdown(half.get(), SHUT_WR), 0);
  EXPECT_EQ(fixture.receive().header.flags, kVsockShutdownSend);
  half.reset();
  EXPECT_EQ(fixture.receive().header.flags, kBoth);
  // A guest that does not care is cut off.
  EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  // A connection that is only quiet lives on.
  const UniqueFd quiet = fixture.connect_to_host(listener, 1, 11);
  std::this_thread::sleep_for(200ms);
  VsockFixture::write_all(quiet, "still here");
  EXPECT_EQ(fixture.receive().payload, "still here");
}

TEST(VsockOnEpoll, WorksTheSame) {
  VsockFixture fixture(NotifyMode::kIoEventFd, 1s, true);
  fixture.start();
  fixture.give_buffers(32);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(fixture.works());
}

TEST(VsockAllocation, PacketsOfAStandingConnectionMakeNone) {
  VsockFixture fixture(NotifyMode::kIoEventFd);
  fixture.start();
  fixture.give_buffers(32);
  const UniqueFd listener = fixture.listen_on(1);
  const UniqueFd socket = fixture.connect_to_host(listener, 1, 10);
  const std::string text(1000, 'x');
  std::string space(1000, '\0');
  std::uint32_t fwd = 0;
  std::uint64_t before = 0;
  auto head = VsockFixture::header(kVsockOpRw, 1, 10);
  head.len = static_cast<std::uint32_t>(text.size());
  const GuestAddress at = VsockFixture::slot(1, 0);
  const GuestAddress behind(at.value() + sizeof head);
  ASSERT_TRUE(fixture.memory.write(behind, std::as_bytes(std::span(text.data(), text.size()))));
  for (int i = 0; i < 3000; ++i) {
    if (i == 100) before = allocations.load();
    head.fwd_cnt = fwd;
    ASSERT_TRUE(fixture.memory.write(at, std::as_bytes(std::span(&head, 1))));
    ASSERT_TRUE(fixture.driver(1).add({{at, 1044, false}}).has_value());
    fixture.offer(1);
    ASSERT_TRUE(fixture.wait_used(1).has_value());
    ASSERT_EQ(::recv(socket.get(), space.data(), space.size(), MSG_WAITALL), 1000);
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), 0), 1000);
    for (std::uint32_t got = 0; got < text.size();) {
      const auto used = fixture.wait_used(0);
      ASSERT_TRUE(used.has_value());
      got += used->length - static_cast<std::uint32_t>(sizeof(VsockHeader));
      fixture.give_buffers(1);
    }
    fwd += 1000;
  }
  EXPECT_EQ(allocations.load() - before, 0U);
}

// ---- the socket's file ----

TEST(VsockSocketTest, IsRemovedAtTheEnd) {
  std::string folder = (std::filesystem::temp_directory_path() / "vsockXXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/s";
  {
    const auto socket = testing::must(VsockSocket::listen(path));
    EXPECT_TRUE(std::filesystem::exists(path));
    const auto again = VsockSocket::listen(path);
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().message, "--vsock: uds=" + path + " is in use by another program");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(VsockSocket::listen("/tmp/" + std::string(92, 'x')).error().message,
              HasSubstr("1 to 96 characters"));
  EXPECT_THAT(VsockSocket::listen("").error().message, HasSubstr("1 to 96 characters"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace bellhop

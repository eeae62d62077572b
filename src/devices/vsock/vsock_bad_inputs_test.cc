// What a hostile driver can put into packets: row 30 of docs/bad-inputs.md.

#include <gtest/gtest.h>

#include "devices/vsock/vsock_device.h"
#include "testing/eventually.h"
#include "testing/vsock_device_fixture.h"

namespace bellhop {
namespace {

using namespace virtio;
using namespace std::chrono_literals;
using testing::eventually;
using testing::VsockFixture;

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
#ifdef BELLHOP_UNDER_TSAN
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
  EXPECT_TRUE(fixture.works());
}

// Whether the host's program has what was sent before, or some of it is kept for it.
TEST_P(VsockDeviceTest, Row30DataAfterItsEnd) {
  start();
  const UniqueFd listener = fixture.listen_on(1);
  std::uint64_t faults = 0;
  for (const bool keeps : {false, true}) {
    SCOPED_TRACE(keeps);
    const UniqueFd ended = fixture.connect_to_host(listener, 1, 81);
    const std::string part = VsockFixture::pattern(8192);
    std::uint32_t sent = 0;
    std::uint32_t forwarded = 0;
    while (keeps && sent == forwarded) {
      ASSERT_LT(sent, 8U << 20) << "nothing is kept";
      fixture.send_data(1, 81, part);
      sent += static_cast<std::uint32_t>(part.size());
      fixture.send_op(kVsockOpCreditRequest, 1, 81);
      fixture.settle();
      while (const auto used = fixture.driver(0).reap()) {
        forwarded = fixture.packet_of(*used).header.fwd_cnt;
        fixture.give_buffers(1);
      }
    }
    fixture.send_op(kVsockOpShutdown, 1, 81, kVsockShutdownSend);
    fixture.send_data(1, 81, "more");
    fixture.settle();
    ASSERT_EQ(fixture.vsock->counters().guest_faults.get(), ++faults);
    EXPECT_EQ(fixture.receive().header.op, kVsockOpRst);
  }
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

}  // namespace
}  // namespace bellhop

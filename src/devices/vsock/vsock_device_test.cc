// Connections of both directions, through queues and Unix sockets as users have them.

#include "devices/vsock/vsock_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "testing/eventually.h"
#include "testing/vsock_device_fixture.h"

namespace bellhop {
namespace {

using namespace virtio;
using namespace std::chrono_literals;
using testing::eventually;
using ::testing::HasSubstr;
using testing::VsockFixture;

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

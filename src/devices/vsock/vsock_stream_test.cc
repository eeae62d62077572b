// Connections under load, over time, and what they cost.

#include <gtest/gtest.h>

#include "devices/vsock/vsock_device.h"
#include "testing/allocation_counter.h"
#include "testing/eventually.h"
#include "testing/vsock_device_fixture.h"

namespace bellhop {
namespace {

using namespace virtio;
using namespace std::chrono_literals;
using testing::eventually;
using testing::VsockFixture;

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
  EXPECT_EQ(fixture.receive().header.flags, kVsockShutdownReceive | kVsockShutdownSend);
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

}  // namespace
}  // namespace bellhop

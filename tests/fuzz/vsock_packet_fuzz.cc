// Whatever packets a guest sends, and whatever its peers do meanwhile: the muxer keeps its
// bounds, sends packets that make sense, and every connection can be ended.

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "devices/vsock/vsock_listener.h"
#include "devices/vsock/vsock_muxer.h"
#include "testing/test_memory.h"

namespace {

using namespace bellhop;
using namespace bellhop::virtio;
using bellhop::testing::must;

constexpr std::uint32_t kCid = 3;

void check(bool good) {
  if (!good) std::abort();
}

/// Every port below 8 is listened on; the far ends are kept.
class Peers final : public VsockDialer {
 public:
  UniqueFd dial(std::uint32_t port) noexcept override {
    if (port >= 8 || ends.size() >= 64) return {};
    return make();
  }
  UniqueFd make() noexcept {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0) {
      return {};
    }
    ends.emplace_back(fds[1]);
    return UniqueFd(fds[0]);
  }
  std::vector<UniqueFd> ends;
};

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) noexcept : left_(data, size) {}
  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const std::uint8_t value = left_.front();
    left_ = left_.subspan(1);
    return value;
  }
  /// Small numbers, and those where things wrap around.
  std::uint32_t number() noexcept {
    const std::uint8_t value = byte();
    if (value < 128) return value;
    if (value < 160) return std::uint32_t{1} << (value - 128);
    if (value < 192) return 0U - (value - 160U);
    return std::uint32_t{value} << 8 | byte();
  }

 private:
  std::span<const std::uint8_t> left_;
};

/// What the guest knows of a packet that it got.
void check_packet(std::span<const std::byte> bytes) {
  VsockHeader header;
  check(bytes.size() >= sizeof header);
  std::memcpy(&header, bytes.data(), sizeof header);
  check(header.len == bytes.size() - sizeof header);
  check(header.len == 0 || header.op == kVsockOpRw);
  check(header.dst_cid == kCid && header.op >= kVsockOpRequest &&
        header.op <= kVsockOpCreditRequest);
}

void drain(VsockMuxer& board, std::span<std::byte> space, unsigned most) {
  const GuestSpan buffer(space.data(), space.size());
  for (unsigned i = 0; i < most && board.has_packets(); ++i) {
    const std::size_t bytes = board.put({&buffer, 1}, space.size());
    if (bytes == 0) break;
    check_packet(space.first(bytes));
  }
}

}  // namespace

/// Input: steps, each a byte that says what, and numbers for it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<IoThread> thread =
      must(IoThread::start({.name = "io0", .cpus = {}, .prefer_epoll = true}));
  static std::vector<std::byte> space(70000);
  Input input(data, size);
  Peers peers;
  VsockCounters counters;
  // All of it in one turn of the loop, so that an input always does the same.
  thread->run_sync([&] {
    VsockMuxer board({.thread = thread.get(),
                      .rx = nullptr,
                      .tx = nullptr,
                      .locked = false,
                      .guest_cid = kCid,
                      .dialer = &peers,
                      .counters = &counters,
                      .tick = std::chrono::hours(1)});
    std::vector<std::byte> packet(sizeof(VsockHeader) + 4096, std::byte{0x5a});
    while (!input.empty()) {
      const std::uint8_t what = input.byte();
      switch (what % 8) {
        case 0:
          drain(board, space, 1U + input.byte());
          break;
        case 1: {  // the host's end of one: writes, reads, or goes
          if (peers.ends.empty()) break;
          const std::size_t which = input.byte() % peers.ends.size();
          const UniqueFd& end = peers.ends[which];
          const std::uint8_t act = input.byte() % 4;
          if (act == 0) (void)::send(end.get(), space.data(), input.number() % 70000, MSG_NOSIGNAL);
          if (act == 1) (void)::recv(end.get(), space.data(), space.size(), 0);
          if (act == 2) (void)::shutdown(end.get(), SHUT_WR);
          if (act == 3) peers.ends.erase(peers.ends.begin() + static_cast<std::ptrdiff_t>(which));
          break;
        }
        case 2:
          if (peers.ends.size() < 64) (void)board.call(peers.make(), input.number());
          break;
        case 3:
          if (input.byte() == 7) board.hang_up_all();
          break;
        default: {
          VsockHeader header;
          header.src_cid = what < 8 ? input.number() : kCid;
          header.dst_cid = what < 16 ? input.number() : kVsockCidHost;
          header.type = what < 24 ? static_cast<std::uint16_t>(input.number()) : kVsockTypeStream;
          header.op = static_cast<std::uint16_t>(input.byte() % 9);
          const std::uint32_t host = input.number();
          header.dst_port = what % 2 == 0 ? host % 8 : (std::uint32_t{1} << 30) + host;
          header.src_port = input.byte() % 8;
          header.flags = input.byte();
          header.buf_alloc = input.number();
          header.fwd_cnt = input.number();
          header.len = input.number();
          std::size_t bytes = sizeof header + header.len % 4096;
          if (input.byte() % 16 == 0) bytes = input.number() % packet.size();
          bytes = std::min(bytes, packet.size());
          std::memcpy(packet.data(), &header, sizeof header);
          const std::size_t cut = std::min<std::size_t>(bytes, input.byte());
          const std::array parts{GuestSpan(packet.data(), cut),
                                 GuestSpan(packet.data() + cut, bytes - cut)};
          if (board.takes_packets()) board.take(BufferRun(parts), bytes);
        }
      }
      check(board.lines() <= VsockMuxer::kMaxConnections);
    }
    board.hang_up_all();
    check(!board.has_packets());
  });
  // The line that a caller sends is of the same kind of stranger's.
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  (void)VsockListener::parse(line);
  return 0;
}

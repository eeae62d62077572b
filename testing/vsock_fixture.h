#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "devices/vsock/vsock_device.h"
#include "testing/device_fixture.h"
#include "virtio/abi/vsock.h"

namespace bellhop::testing {

/// A socket device with drivers before its queues and a folder for its sockets: the test is the
/// guest and the host's programs. One thread.
class VsockFixture : public DeviceFixture {
 public:
  static constexpr std::uint32_t kSlotBytes = 160 * 1024;
  static constexpr std::uint32_t kCid = 42;

  struct Packet {
    virtio::VsockHeader header;
    std::string payload;
  };

  explicit VsockFixture(NotifyMode mode, std::chrono::nanoseconds tick = std::chrono::seconds(1),
                        bool prefer_epoll = false)
      : DeviceFixture(mode, make_memory(std::uint64_t{64} << 20),
                      {.name = "io0", .cpus = {}, .prefer_epoll = prefer_epoll}) {
    std::string name = (std::filesystem::temp_directory_path() / "vsockXXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder = name;
    path = name + "/v.sock";
    auto made = std::make_unique<VsockDevice>(
        must(VsockSocket::listen(path)),
        VsockOptions{.id = "vsock0", .cid = kCid, .queue_size = kSize, .tick = tick});
    vsock = made.get();
    serve(std::move(made));
  }
  ~VsockFixture() {
    destroy();
    std::filesystem::remove_all(folder);
  }

  static GuestAddress slot(unsigned queue, unsigned slot) {
    return GuestAddress(kBuffers + (std::uint64_t{queue} * kSize + slot % kSize) * kSlotBytes);
  }

  void give_buffers(unsigned count, std::uint32_t bytes = 4096) {
    for (unsigned i = 0; i < count; ++i) {
      const unsigned next = rx_slot_++ % kSize;
      const auto head = driver(0).add({{slot(0, next), bytes, true}});
      ASSERT_TRUE(head.has_value());
      rx_slot_of_[*head] = next;
    }
    offer(0);
  }
  /// What lies in a buffer that came back.
  Packet packet_of(const FakeDriver::Used& used) {
    Packet packet{};
    std::vector<std::byte> bytes(used.length);
    EXPECT_TRUE(memory.read(slot(0, rx_slot_of_[used.id]), bytes));
    EXPECT_GE(bytes.size(), sizeof packet.header);
    if (bytes.size() < sizeof packet.header) return packet;
    std::memcpy(&packet.header, bytes.data(), sizeof packet.header);
    packet.payload.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof packet.header,
                          bytes.size() - sizeof packet.header);
    EXPECT_EQ(packet.header.len, packet.payload.size());
    return packet;
  }
  /// The next packet; a buffer takes its place.
  Packet receive() {
    const auto used = wait_used(0);
    if (!used) return {};
    Packet packet = packet_of(*used);
    give_buffers(1);
    return packet;
  }
  /// No packet comes for now.
  bool quiet() {
    settle();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    settle();
    return !driver(0).reap().has_value();
  }

  static virtio::VsockHeader header(std::uint16_t op, std::uint32_t host_port,
                                    std::uint32_t guest_port) {
    virtio::VsockHeader header;
    header.src_cid = kCid;
    header.dst_cid = virtio::kVsockCidHost;
    header.src_port = guest_port;
    header.dst_port = host_port;
    header.type = virtio::kVsockTypeStream;
    header.op = op;
    header.buf_alloc = 256 * 1024;
    return header;
  }
  /// Puts a packet into the queue; `header` is taken as it is.
  void post(const virtio::VsockHeader& header, std::string_view payload = {}) {
    const unsigned next = tx_slot_++ % kSize;
    ASSERT_TRUE(memory.write(slot(1, next), std::as_bytes(std::span(&header, 1))));
    const GuestAddress behind(slot(1, next).value() + sizeof header);
    ASSERT_TRUE(memory.write(behind, std::as_bytes(std::span(payload.data(), payload.size()))));
    const auto bytes = static_cast<std::uint32_t>(sizeof header + payload.size());
    ASSERT_TRUE(driver(1).add({{slot(1, next), bytes, false}}).has_value());
    offer(1);
  }
  /// ... and waits until it has been taken.
  void send(const virtio::VsockHeader& header, std::string_view payload = {}) {
    ASSERT_NO_FATAL_FAILURE(post(header, payload));
    ASSERT_TRUE(wait_used(1).has_value());
  }
  void send_data(std::uint32_t host_port, std::uint32_t guest_port, std::string_view payload,
                 std::uint32_t fwd_cnt = 0) {
    auto head = header(virtio::kVsockOpRw, host_port, guest_port);
    head.len = static_cast<std::uint32_t>(payload.size());
    head.fwd_cnt = fwd_cnt;
    send(head, payload);
  }
  void send_op(std::uint16_t op, std::uint32_t host_port, std::uint32_t guest_port,
               std::uint32_t flags = 0) {
    auto head = header(op, host_port, guest_port);
    head.flags = flags;
    send(head);
  }

  // ---- the host's programs ----

  static sockaddr_un address_of(const std::string& of) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, of.data(), of.size());
    return address;
  }
  [[nodiscard]] UniqueFd listen_on(std::uint32_t port) const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path + "_" + std::to_string(port));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket.get(), 4096), 0);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};  // of accept()
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return socket;
  }
  static UniqueFd accept_from(const UniqueFd& listener) {
    return UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  [[nodiscard]] UniqueFd connect_to_guest() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    return socket;
  }
  static void write_all(const UniqueFd& socket, std::string_view text) {
    while (!text.empty()) {
      const ssize_t done = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(done, 0);
      text.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  /// `bytes` bytes, or fewer if the stream ends; waits for them.
  static std::string read_some(const UniqueFd& socket, std::size_t bytes) {
    std::string text(bytes, '\0');
    std::size_t have = 0;
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (have < bytes) {
      const ssize_t got = ::recv(socket.get(), text.data() + have, bytes - have, 0);
      if (got < 0) ADD_FAILURE() << "read: " << std::strerror(errno);
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    text.resize(have);
    return text;
  }
  /// Whether the stream ends here, with or without unread bytes lost at the other end.
  static bool at_end(const UniqueFd& socket) {
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char byte{};
    const ssize_t got = ::recv(socket.get(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }

  // ---- both ----

  /// A connection that the guest asks for; the host's end of it.
  UniqueFd connect_to_host(const UniqueFd& listening, std::uint32_t host_port,
                           std::uint32_t guest_port) {
    send_op(virtio::kVsockOpRequest, host_port, guest_port);
    UniqueFd socket = accept_from(listening);
    EXPECT_EQ(receive().header.op, virtio::kVsockOpResponse);
    return socket;
  }
  /// After whatever a test did, a connection can be made and carries bytes both ways.
  bool works(std::uint32_t port = 7001) {
    (void)::unlink((path + "_" + std::to_string(port)).c_str());
    const UniqueFd listening = listen_on(port);
    const UniqueFd socket = connect_to_host(listening, port, 99);
    send_data(port, 99, "ping");
    if (read_some(socket, 4) != "ping") return false;
    write_all(socket, "pong");
    const Packet packet = receive();
    if (packet.header.op != virtio::kVsockOpRw || packet.payload != "pong") return false;
    send_op(virtio::kVsockOpRst, port, 99);
    return at_end(socket);
  }

  static std::string pattern(std::size_t bytes, unsigned seed = 0) {
    std::string text(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) {
      text[i] = static_cast<char>((seed + i) * 31 + (i >> 8));
    }
    return text;
  }

  std::string folder;
  std::string path;
  VsockDevice* vsock = nullptr;  ///< the fixture's `device`

 private:
  unsigned rx_slot_ = 0;
  unsigned tx_slot_ = 0;
  std::array<unsigned, kSize> rx_slot_of_{};
};

}  // namespace bellhop::testing

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "devices/console/console_config.h"
#include "devices/console/console_device.h"
#include "testing/device_fixture.h"
#include "testing/eventually.h"
#include "virtio/abi/console.h"
#include "virtio/abi/ring.h"

namespace bellhop {

/// A program at the other end of a socket, or of a pseudo terminal.
struct ConsolePeer {
  ConsolePeer() = default;
  static ConsolePeer connect(const std::string& path) {
    ConsolePeer peer;
    peer.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (::connect(peer.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
      peer.fd.reset();
    }
    return peer;
  }
  static ConsolePeer open(const std::string& path) {
    ConsolePeer peer;
    peer.fd = UniqueFd(::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    return peer;
  }
  void say(const std::string& text) const {
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// What has come by now.
  [[nodiscard]] std::string hear() const {
    std::string all;
    std::array<char, 4096> some{};
    ssize_t bytes = 0;
    while ((bytes = ::read(fd.get(), some.data(), some.size())) > 0) {
      all.append(some.data(), static_cast<std::size_t>(bytes));
    }
    return all;
  }
  [[nodiscard]] bool hears(const std::string& text) const {
    std::string all;
    return testing::eventually([&] {
      all += hear();
      return all == text;
    });
  }
  /// The other side has closed.
  [[nodiscard]] bool is_closed() const {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  }
  UniqueFd fd;
};

/// A driver of a console device.
class ConsoleDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  static constexpr unsigned kRx = virtio::kConsoleReceiveQueue;
  static constexpr unsigned kTx = virtio::kConsoleTransmitQueue;
  static constexpr unsigned kControlRx = virtio::kConsoleControlReceiveQueue;
  static constexpr unsigned kControlTx = virtio::kConsoleControlTransmitQueue;
  static constexpr std::uint64_t kOut = testing::DeviceFixture::kBuffers;
  static constexpr std::uint64_t kControl = kOut + 0x400000;
  static constexpr std::uint64_t kIn = kOut + 0x500000;
  static constexpr std::uint32_t kSlot = 0x100;  ///< of a control message, or of input

  ConsoleDeviceTest() : fixture(GetParam(), testing::make_memory(std::uint64_t{32} << 20)) {
    char name[] = "/tmp/bellhop-console-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~ConsoleDeviceTest() override {
    fixture.destroy();
    for (const char* file : {"/s", "/s1", "/f"}) ::unlink((folder + file).c_str());
    ::rmdir(folder.c_str());
  }

  [[nodiscard]] std::string path(const char* name) const { return folder + "/" + name; }
  void add_port(std::unique_ptr<ConsoleBackend> backend, std::string name = {}) {
    ports.push_back({.name = std::move(name), .backend = std::move(backend)});
  }
  void add_socket(const char* name, std::string port_name = {}) {
    add_port(testing::must(make_socket_console(path(name))), std::move(port_name));
  }
  void serve(std::shared_ptr<ConsoleWindow> window = {}) {
    ConsoleOptions options;
    options.queue_size = testing::DeviceFixture::kSize;
    options.window = std::move(window);
    fixture.serve(std::make_unique<ConsoleDevice>(std::move(ports), options));
  }
  /// A driver without MULTIPORT.
  void start_simple() { fixture.start(virtio::feature_mask(virtio::kConsoleFeatureSize)); }
  /// One with it, which has got to know all ports.
  void start_multiport() {
    fixture.start();
    get_to_know();
  }
  void get_to_know() {
    for (int i = 0; i < 32; ++i) give_control_buffer();
    say(0, virtio::kConsoleDeviceReady, 1);
    const auto count = fixture.config<virtio::ConsoleConfigSpace>().max_nr_ports;
    for (unsigned port = 0; port < count; ++port) {
      const auto added = hear();
      EXPECT_EQ(added.event, virtio::kConsolePortAdd);
      EXPECT_EQ(added.id, port);
    }
    for (unsigned port = 0; port < count; ++port) say(port, virtio::kConsolePortReady, 1);
  }
  [[nodiscard]] ConsoleDevice& device() { return static_cast<ConsoleDevice&>(*fixture.device); }

  // ---- control queues ----

  struct Heard {
    std::uint32_t id = 0;
    std::uint16_t event = 0xffff;
    std::uint16_t value = 0;
    std::string rest;
  };
  void give_control_buffer(std::uint32_t bytes = kSlot) {
    const unsigned slot = next_control_++ % testing::DeviceFixture::kSize;
    const auto head =
        fixture.give(kControlRx, {{GuestAddress(kControl + slot * kSlot), bytes, true}});
    control_slot_[head] = slot;
  }
  std::optional<Heard> try_hear() {
    const auto used = fixture.try_used(kControlRx);
    if (!used) return std::nullopt;
    Heard heard;
    std::vector<std::byte> bytes(used->length);
    EXPECT_TRUE(
        fixture.memory.read(GuestAddress(kControl + control_slot_[used->id] * kSlot), bytes));
    give_control_buffer();
    virtio::ConsoleControlMessage message{};
    if (bytes.size() < sizeof message) return heard;
    std::memcpy(&message, bytes.data(), sizeof message);
    heard.id = message.id;
    heard.event = message.event;
    heard.value = message.value;
    heard.rest.assign(reinterpret_cast<const char*>(bytes.data()) + sizeof message,
                      bytes.size() - sizeof message);
    return heard;
  }
  Heard hear() {
    std::optional<Heard> heard;
    EXPECT_TRUE(testing::eventually([&] { return (heard = try_hear()).has_value(); }));
    return heard.value_or(Heard());
  }
  void say(std::uint32_t id, std::uint16_t event, std::uint16_t value) {
    const virtio::ConsoleControlMessage message{.id = id, .event = event, .value = value};
    const GuestAddress at(kControl - 0x1000);
    ASSERT_TRUE(fixture.memory.write(at, std::as_bytes(std::span(&message, 1))));
    fixture.give(kControlTx, {{at, sizeof message, false}});
    ASSERT_TRUE(fixture.wait_used(kControlTx));
  }

  // ---- bytes ----

  static constexpr unsigned rx_of(unsigned port) { return port == 0 ? kRx : 2 + 2 * port; }
  /// In a place of its own: what went out before may still be on its way.
  void put_out(const std::string& text, unsigned port = 0) {
    if (next_out_ + text.size() > kControl - 0x1000) next_out_ = kOut;
    const GuestAddress at(next_out_);
    next_out_ += text.size();
    ASSERT_TRUE(fixture.memory.write(at, std::as_bytes(std::span(text))));
    fixture.give(rx_of(port) + 1, {{at, static_cast<std::uint32_t>(text.size()), false}});
  }
  void print(const std::string& text, unsigned port = 0) {
    put_out(text, port);
    ASSERT_TRUE(fixture.wait_used(rx_of(port) + 1));
  }
  void give_input_buffer(std::uint32_t bytes = kSlot, unsigned port = 0) {
    fixture.give(rx_of(port), {{GuestAddress(kIn + port * 0x10000), bytes, true}});
  }
  /// What the guest reads from the one buffer that it gave.
  std::string read_in(unsigned port = 0) {
    const auto used = fixture.wait_used(rx_of(port));
    std::string text(used ? used->length : 0, '\0');
    EXPECT_TRUE(fixture.memory.read(GuestAddress(kIn + port * 0x10000),
                                    std::as_writable_bytes(std::span(text))));
    return text;
  }

  testing::DeviceFixture fixture;
  std::string folder;
  std::vector<ConsolePortOptions> ports;

 private:
  unsigned next_control_ = 0;
  std::uint64_t next_out_ = kOut;
  std::array<unsigned, testing::DeviceFixture::kSize> control_slot_{};
};

}  // namespace bellhop

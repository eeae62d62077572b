#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

#include "testing/vsock_fixture.h"

namespace bellhop {

/// A driver of a vsock device, and the host's end of its connections.
class VsockDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  static constexpr std::uint32_t kBoth = virtio::kVsockShutdownReceive | virtio::kVsockShutdownSend;
  static constexpr std::uint32_t kRoom = VsockConnection::kBufferBytes;

  void start(unsigned buffers = 32) {
    fixture.start();
    fixture.give_buffers(buffers);
  }
  /// A connection that the host asks for: its socket, and the host's port of it.
  std::pair<UniqueFd, std::uint32_t> call_guest(std::uint32_t port, std::string_view more = {}) {
    UniqueFd socket = fixture.connect_to_guest();
    testing::VsockFixture::write_all(socket,
                                     "CONNECT " + std::to_string(port) + "\n" + std::string(more));
    const auto request = fixture.receive();
    EXPECT_EQ(request.header.op, virtio::kVsockOpRequest);
    EXPECT_EQ(request.header.dst_port, port);
    fixture.send_op(virtio::kVsockOpResponse, request.header.src_port, port);
    const std::string line = "OK " + std::to_string(request.header.src_port) + "\n";
    EXPECT_EQ(testing::VsockFixture::read_some(socket, line.size()), line);
    return {std::move(socket), request.header.src_port};
  }

  testing::VsockFixture fixture{GetParam()};
};

}  // namespace bellhop

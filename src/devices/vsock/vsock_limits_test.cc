// Packets up to the credit that was given, either way, in buffers and pieces of any size.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "devices/vsock/vsock_device.h"
#include "testing/bytes.h"
#include "testing/device_limits.h"
#include "testing/eventually.h"
#include "virtio/abi/vsock.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::LimitsDriver;
using testing::must;
using testing::same_bytes;

constexpr std::uint32_t kCid = 42;
constexpr std::uint32_t kHostPort = 7001;
constexpr std::uint32_t kGuestPort = 99;
constexpr std::uint32_t kGuestRoom = 300'000;

class VsockLimits final : public testing::DeviceLimits {
 public:
  VsockLimits() {
    std::string name = (std::filesystem::temp_directory_path() / "vsockXXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~VsockLimits() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {VsockOptions().queue_size};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t) override {
    host_.reset();
    listener_.reset();
    std::filesystem::remove_all(folder_ + "/v.sock_7001");
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ + "/v.sock_" + std::to_string(kHostPort);
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    return std::make_unique<VsockDevice>(must(VsockSocket::listen(folder_ + "/v.sock")),
                                         VsockOptions{.cid = kCid});
  }
  void use(LimitsDriver& driver) override {
    ASSERT_NO_FATAL_FAILURE(connect(driver));
    for (const unsigned room : {1U, 4096U, driver.random(2, 20'000), 1U << 16}) {
      ASSERT_NO_FATAL_FAILURE(to_guest(driver, room));
    }
    // All of the credit in one packet, while the host's program reads nothing.
    ASSERT_NO_FATAL_FAILURE(to_host(driver, driver.random(1, 5000)));
    ASSERT_NO_FATAL_FAILURE(to_host(driver, credit_ - sent_));
    EXPECT_EQ(driver.stat("guest_faults"), 0U);
    ASSERT_NO_FATAL_FAILURE(read_all());
    ASSERT_NO_FATAL_FAILURE(say(driver, header(kVsockOpRst)));
  }

 private:
  VsockHeader header(std::uint16_t op) const {
    VsockHeader header;
    header.src_cid = kCid;
    header.dst_cid = kVsockCidHost;
    header.src_port = kGuestPort;
    header.dst_port = kHostPort;
    header.type = kVsockTypeStream;
    header.op = op;
    header.buf_alloc = kGuestRoom;
    header.fwd_cnt = taken_;
    return header;
  }
  static unsigned pieces() { return VsockOptions().queue_size; }
  static void say(LimitsDriver& driver, const VsockHeader& header,
                  std::span<const std::byte> payload = {}) {
    const auto head = std::as_bytes(std::span(&header, 1));
    std::vector<std::byte> packet(head.begin(), head.end());
    packet.insert(packet.end(), payload.begin(), payload.end());
    ASSERT_TRUE(driver.ask(kVsockQueueTx, packet, 0, pieces()));
  }
  /// The next packet, in a buffer with `room` for a payload.
  static void hear(LimitsDriver& driver, std::uint32_t room, VsockHeader& head,
                   std::vector<std::byte>& payload) {
    const auto answer =
        driver.ask(kVsockQueueRx, {}, static_cast<std::uint32_t>(sizeof head) + room, pieces());
    ASSERT_TRUE(answer);
    ASSERT_GE(answer->length, sizeof head);
    std::memcpy(&head, answer->bytes.data(), sizeof head);
    ASSERT_EQ(answer->length, sizeof head + head.len);
    payload.assign(answer->bytes.begin() + sizeof head, answer->bytes.begin() + answer->length);
  }
  void connect(LimitsDriver& driver) {
    taken_ = 0;
    sent_ = 0;
    written_.clear();
    ASSERT_NO_FATAL_FAILURE(say(driver, header(kVsockOpRequest)));
    VsockHeader head;
    std::vector<std::byte> none;
    ASSERT_NO_FATAL_FAILURE(hear(driver, 1, head, none));
    ASSERT_EQ(head.op, kVsockOpResponse);
    credit_ = head.buf_alloc;
    ASSERT_GE(credit_, 64U * 1024U);
    ASSERT_TRUE(testing::eventually([&] {
      host_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      return host_.valid();
    }));
  }
  void to_guest(LimitsDriver& driver, std::uint32_t room) {
    const auto sent = driver.random_bytes(2 * room + 1);
    ASSERT_EQ(::send(host_.get(), sent.data(), sent.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(sent.size()));
    std::vector<std::byte> got;
    while (got.size() < sent.size()) {
      VsockHeader head;
      std::vector<std::byte> payload;
      ASSERT_NO_FATAL_FAILURE(hear(driver, room, head, payload));
      got.insert(got.end(), payload.begin(), payload.end());
    }
    ASSERT_TRUE(same_bytes(got, sent));
    taken_ += static_cast<std::uint32_t>(got.size());
    ASSERT_NO_FATAL_FAILURE(say(driver, header(kVsockOpCreditUpdate)));
  }
  void to_host(LimitsDriver& driver, std::uint32_t bytes) {
    const auto sent = driver.random_bytes(bytes);
    auto head = header(kVsockOpRw);
    head.len = bytes;
    ASSERT_NO_FATAL_FAILURE(say(driver, head, sent));
    written_.insert(written_.end(), sent.begin(), sent.end());
    sent_ += bytes;
  }
  void read_all() {
    std::vector<std::byte> got(written_.size());
    std::size_t done = 0;
    ASSERT_TRUE(testing::eventually([&] {
      const ssize_t some = ::read(host_.get(), got.data() + done, got.size() - done);
      if (some > 0) done += static_cast<std::size_t>(some);
      return done == got.size();
    })) << done
        << " of " << got.size();
    ASSERT_TRUE(same_bytes(got, written_));
  }

  std::string folder_;
  UniqueFd listener_;
  UniqueFd host_;
  std::vector<std::byte> written_;
  std::uint32_t credit_ = 0;
  std::uint32_t sent_ = 0;
  std::uint32_t taken_ = 0;
};

TEST(DeviceLimitsTest, Vsock) {
  VsockLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

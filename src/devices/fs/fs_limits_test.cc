// Rings of every size are handed to the process that serves a shared folder, and served there.
#include <gtest/gtest.h>

#include <algorithm>

#include "devices/fs/fs_device.h"
#include "testing/device_limits.h"
#include "testing/fake_back_end.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::LimitsDriver;
using vhost_user::Channel;

class FsLimits final : public testing::DeviceLimits {
 public:
  static constexpr unsigned kQueues = 3;

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 32768};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t queue_size) override {
    FsConfig config;
    config.id = "fs0";
    config.tag = "shared";
    config.num_queues = kQueues - 1;
    config.queue_size = queue_size;
    return testing::must(FsDevice::create(
        config, [this](Channel::Patience patience) { return back_end_.connect(patience); }));
  }
  [[nodiscard]] bool knows_indirect() const override { return false; }
  void use(LimitsDriver& driver) override {
    ASSERT_EQ(driver.config<virtio::FsConfigSpace>().num_request_queues, kQueues - 1);
    if (driver.pieces(2) < 2) return;
    for (const unsigned bytes : {1U, driver.random(2, 5000), 1U << 17}) {
      for (unsigned queue = 0; queue < kQueues; ++queue) {
        const auto sent = driver.random_bytes(bytes);
        const auto answer = driver.ask(queue, sent, bytes, driver.setup().device_size);
        ASSERT_TRUE(answer);
        ASSERT_EQ(answer->length, bytes);
        ASSERT_TRUE(std::ranges::equal(answer->bytes, sent, [](std::byte got, std::byte from) {
          return got == static_cast<std::byte>(std::to_integer<unsigned>(from) + 1);
        }));
      }
    }
  }

 private:
  testing::FakeBackEnd back_end_;
};

TEST(DeviceLimitsTest, SharedFolder) {
#ifdef BELLHOP_UNDER_TSAN
  GTEST_SKIP() << "the back end has a mapping of its own, which the sanitizer takes for other "
                  "memory";
#endif
  FsLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

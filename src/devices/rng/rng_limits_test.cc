// Whatever room a driver has for random bytes, it gets some.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "devices/rng/rng_device.h"
#include "testing/device_limits.h"

namespace bellhop {
namespace {

using testing::LimitsDriver;

class RngLimits final : public testing::DeviceLimits {
 public:
  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {RngDevice::kQueueSize};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t) override {
    return std::make_unique<RngDevice>(UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC)),
                                       RngConfig{});
  }
  void use(LimitsDriver& driver) override {
    for (const unsigned bytes : {1U, 2U, 64U, driver.random(3, 4096), 1U << 16, 1U << 20}) {
      const auto answer = driver.ask(0, {}, bytes, RngDevice::kQueueSize);
      ASSERT_TRUE(answer);
      ASSERT_GE(answer->length, 1U);
      ASSERT_LE(answer->length, bytes);
      // All that is said to be written is, from the first byte on, and nothing behind it.
      const auto end = answer->bytes.begin() + answer->length;
      ASSERT_TRUE(std::all_of(answer->bytes.begin(), end, [](auto b) { return b == std::byte{}; }));
      ASSERT_TRUE(std::all_of(end, answer->bytes.end(),
                              [](auto b) { return b == LimitsDriver::kUntouched; }));
    }
    // As many at once as the ring holds.
    const unsigned all = driver.setup().driver_size;
    for (unsigned i = 0; i < all; ++i) ASSERT_TRUE(driver.give(0, {}, 4096, 1));
    for (unsigned i = 0; i < all; ++i) {
      const auto answer = driver.take(0);
      ASSERT_TRUE(answer);
      ASSERT_GE(answer->length, 1U);
    }
  }
};

TEST(DeviceLimitsTest, Rng) {
  RngLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

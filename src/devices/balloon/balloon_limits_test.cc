// Lists of pages and reports of any length are taken, to the last page.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "devices/balloon/balloon_device.h"
#include "testing/device_limits.h"
#include "virtio/abi/balloon.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::LimitsDriver;

class BalloonLimits final : public testing::DeviceLimits {
 public:
  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {BalloonOptions().queue_size};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory& memory, std::uint16_t) override {
    return std::make_unique<BalloonDevice>(
        memory, BalloonOptions{.deflate_on_oom = true, .free_page_reporting = true});
  }
  void use(LimitsDriver& driver) override {
    for (const unsigned count : {1U, 256U, driver.random(2, 5000), 40'000U}) {
      ASSERT_NO_FATAL_FAILURE(pages(driver, kBalloonInflateQueue, "inflated_pages", count));
      ASSERT_NO_FATAL_FAILURE(pages(driver, kBalloonDeflateQueue, "deflated_pages", count));
    }
    for (const unsigned bytes : {4096U, driver.random(1, 1 << 16), 1U << 22}) {
      const std::uint64_t before = driver.stat("reported_bytes");
      ASSERT_TRUE(driver.ask(kBalloonReportingQueue, {}, bytes, BalloonOptions().queue_size));
      ASSERT_EQ(driver.stat("reported_bytes") - before, bytes);
    }
    EXPECT_EQ(driver.stat("guest_faults"), 0U);
    EXPECT_EQ(driver.stat("host_errors"), 0U);
  }

 private:
  /// A list of `count` pages in memory that nothing else uses.
  static void pages(LimitsDriver& driver, unsigned queue, const char* stat, unsigned count) {
    constexpr auto kFirstAbove = static_cast<std::uint32_t>(testing::kHighBase / kBalloonPageBytes);
    constexpr auto kPages =
        static_cast<std::uint32_t>(LimitsDriver::kHighMemory / kBalloonPageBytes);
    std::vector<std::uint32_t> numbers(count);
    std::ranges::generate(numbers, [&] { return kFirstAbove + driver.random(0, kPages - 1); });
    const std::byte touched{0x5a};
    const GuestAddress last(numbers.back() * kBalloonPageBytes);
    ASSERT_TRUE(driver.memory().write(last, {&touched, 1}));
    const std::uint64_t before = driver.stat(stat);
    // Linux has 256 numbers in one buffer; nothing says that it has to be one.
    const auto answer =
        driver.ask(queue, std::as_bytes(std::span(numbers)), 0, BalloonOptions().queue_size);
    ASSERT_TRUE(answer);
    ASSERT_EQ(driver.stat(stat) - before, count);
    std::byte now{};
    ASSERT_TRUE(driver.memory().read(last, {&now, 1}));
    EXPECT_EQ(now, queue == kBalloonInflateQueue ? std::byte{} : touched);
  }
};

TEST(DeviceLimitsTest, Balloon) {
  BalloonLimits limits;
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

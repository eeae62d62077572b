// Frames up to the largest, in the smallest buffers that hold them; commands with full tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "devices/net/net_device.h"
#include "devices/net/rx_filter.h"
#include "testing/bytes.h"
#include "testing/device_limits.h"
#include "testing/eventually.h"
#include "testing/memory_nic.h"
#include "virtio/abi/net.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::LimitsDriver;
using testing::same_bytes;

constexpr unsigned kPairs = 2;

class NicLimits : public testing::DeviceLimits {
 public:
  enum class Buffers { kMergeable, kWhole };
  explicit NicLimits(Buffers buffers) : buffers_(buffers) {}

  [[nodiscard]] std::vector<std::uint16_t> queue_sizes() const override {
    return {2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096};
  }
  std::unique_ptr<VirtioDevice> make(const GuestMemory&, std::uint16_t queue_size) override {
    nic_ = std::make_shared<testing::MemoryNic>(kPairs);
    return std::make_unique<NetDevice>(
        nic_, NetOptions{.mac = 0x0605'0403'0202, .mtu = 1500, .queue_size = queue_size});
  }
  [[nodiscard]] std::uint64_t features(std::uint64_t offered) const override {
    return buffers_ == Buffers::kMergeable ? offered : offered & ~feature_mask(kNetFeatureMrgRxbuf);
  }
  [[nodiscard]] std::vector<Answers> answers() const override {
    return {{.queue = kControl, .error = kNetControlError}};
  }
  void use(LimitsDriver& driver) override {
    ASSERT_NO_FATAL_FAILURE(commands(driver));
    for (const unsigned bytes : {60U, 1514U, driver.random(14, 4000), unsigned{kMaxFrameBytes}}) {
      for (unsigned pair = 0; pair < kPairs; ++pair) {
        // A command needs room for itself and its answer: with less, the other pair stays unused.
        if (pair != 0 && driver.pieces(2) < 2) continue;
        ASSERT_NO_FATAL_FAILURE(send(driver, pair, bytes));
        if (buffers_ == Buffers::kMergeable) {
          ASSERT_NO_FATAL_FAILURE(receive_merged(driver, pair, bytes));
        } else {
          ASSERT_NO_FATAL_FAILURE(receive_whole(driver, pair, bytes));
        }
      }
    }
  }

 private:
  static constexpr unsigned kControl = 2 * kPairs;

  /// To an address of the device's filter.
  static std::vector<std::byte> frame(LimitsDriver& driver, std::size_t bytes) {
    auto all = driver.random_bytes(kNetHeaderBytes + bytes);
    std::fill_n(all.begin(), kNetHeaderBytes, std::byte{0});
    std::fill_n(all.begin() + kNetHeaderBytes, kNetMacBytes, std::byte{0xff});
    return all;
  }
  static bool same_frame(std::span<const std::byte> a, std::span<const std::byte> b) {
    return a.size() >= kNetHeaderBytes && b.size() >= kNetHeaderBytes &&
           same_bytes(a.subspan(kNetHeaderBytes), b.subspan(kNetHeaderBytes));
  }

  void send(LimitsDriver& driver, unsigned pair, std::size_t bytes) {
    const auto sent = frame(driver, bytes);
    ASSERT_TRUE(driver.ask(2 * pair + 1, sent, 0, chain_limit(driver)));
    std::vector<std::byte> got(sent.size() + 1);
    std::size_t length = 0;
    ASSERT_TRUE(testing::eventually([&] { return (length = nic_->get(got, pair)) != 0; }));
    got.resize(length);
    ASSERT_TRUE(same_frame(got, sent)) << bytes << " sent, " << length << " came";
  }
  void receive_whole(LimitsDriver& driver, unsigned pair, std::size_t bytes) {
    const auto sent = frame(driver, bytes);
    // 5.1.6.3.1: what GUEST_TSO and the like ask of a buffer; ours may have a second VLAN tag.
    ASSERT_TRUE(driver.give(2 * pair, {}, kNetHeaderBytes + kMaxFrameBytes, chain_limit(driver)));
    ASSERT_TRUE(nic_->put(sent, pair));
    const auto answer = driver.take(2 * pair);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->length, sent.size());
    ASSERT_TRUE(same_frame(std::span(answer->bytes).first(answer->length), sent));
  }
  /// In as many buffers as the ring has, none larger than it has to be.
  void receive_merged(LimitsDriver& driver, unsigned pair, std::size_t bytes) {
    const auto sent = frame(driver, bytes);
    const unsigned buffers = std::min<unsigned>(driver.setup().driver_size, 1024);
    const auto room = std::max(static_cast<std::uint32_t>((sent.size() + buffers - 1) / buffers),
                               static_cast<std::uint32_t>(kNetHeaderBytes));
    const auto needed = static_cast<unsigned>((sent.size() + room - 1) / room);
    for (unsigned i = 0; i < needed; ++i) ASSERT_TRUE(driver.give(2 * pair, {}, room, 1));
    ASSERT_TRUE(nic_->put(sent, pair));
    std::vector<std::byte> got;
    for (unsigned i = 0; i < needed; ++i) {
      const auto answer = driver.take(2 * pair);
      ASSERT_TRUE(answer) << bytes << " bytes in " << needed << " buffers of " << room;
      got.insert(got.end(), answer->bytes.begin(), answer->bytes.begin() + answer->length);
    }
    ASSERT_TRUE(same_frame(got, sent));
    NetHeader header{};
    std::memcpy(&header, got.data(), sizeof header);
    EXPECT_EQ(header.num_buffers, needed);
  }
  /// 2.7.5.3.1: a chain may be as long as the queue.
  static unsigned chain_limit(const LimitsDriver& driver) {
    return std::min<unsigned>(driver.setup().device_size, kMaxChainBuffers);
  }

  static void expect_done(LimitsDriver& driver, std::uint8_t command_class, std::uint8_t command,
                          std::span<const std::byte> data) {
    if (driver.pieces(2) < 2) return;
    std::vector<std::byte> request{std::byte{command_class}, std::byte{command}};
    request.insert(request.end(), data.begin(), data.end());
    const auto answer = driver.ask(kControl, request, 1, chain_limit(driver));
    ASSERT_TRUE(answer);
    EXPECT_EQ(std::to_integer<unsigned>(answer->bytes[0]), kNetControlOk)
        << unsigned{command_class} << ' ' << unsigned{command};
    EXPECT_EQ(answer->length, 1U);
  }
  template <class T>
  static void expect_done(LimitsDriver& driver, std::uint8_t command_class, std::uint8_t command,
                          const T& value) {
    expect_done(driver, command_class, command, std::as_bytes(std::span(&value, 1)));
  }
  static void commands(LimitsDriver& driver) {
    std::vector<std::byte> tables;
    for (const std::size_t entries : {RxFilter::kMaxAddresses, std::size_t{1000}}) {
      const auto count = static_cast<std::uint32_t>(entries);
      const auto bytes = std::as_bytes(std::span(&count, 1));
      tables.insert(tables.end(), bytes.begin(), bytes.end());
      tables.resize(tables.size() + entries * kNetMacBytes, std::byte{2});
    }
    expect_done(driver, kNetControlMac, kNetControlMacTableSet, std::span<const std::byte>(tables));
    for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{4095}}) {
      expect_done(driver, kNetControlVlan, kNetControlVlanAdd, vlan);
    }
    expect_done(driver, kNetControlMq, kNetControlMqPairsSet,
                driver.config<NetConfig>().max_virtqueue_pairs);
  }

  Buffers buffers_;
  std::shared_ptr<testing::MemoryNic> nic_;
};

TEST(DeviceLimitsTest, NetWithMergeableBuffers) {
  NicLimits limits(NicLimits::Buffers::kMergeable);
  expect_limits_are_kept(limits);
}

TEST(DeviceLimitsTest, NetWithWholeBuffers) {
  NicLimits limits(NicLimits::Buffers::kWhole);
  expect_limits_are_kept(limits);
}

}  // namespace
}  // namespace bellhop

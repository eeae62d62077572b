#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "testing/fake_driver.h"
#include "transport/inprocess/in_process_device.h"

namespace bellhop::testing {

enum class Layout : std::uint8_t { kDirect, kIndirect };

/// How rings are set up: the device's maximum, and what the driver makes of it.
struct RingSetup {
  std::uint16_t device_size = 256;
  std::uint16_t driver_size = 256;
  Layout layout = Layout::kDirect;
  bool event_idx = true;
  bool packed = false;
  bool in_order = false;
};

/// A driver that uses all that it was promised: requests lie in as many pieces as it is told, of
/// random sizes, anywhere in memory.
class LimitsDriver {
 public:
  /// What came of a request.
  struct Answer {
    unsigned request = 0;          ///< what give() returned
    std::uint32_t length = 0;      ///< as the device says
    std::vector<std::byte> bytes;  ///< all that the device may have written
  };
  /// Rings lie at the beginning of memory, requests from kRequests on; a test has the memory that
  /// begins at kHighBase.
  static constexpr std::uint64_t kRequests = std::uint64_t{128} << 20;
  static constexpr std::uint64_t kMemory = std::uint64_t{256} << 20;
  static constexpr std::uint64_t kHighMemory = std::uint64_t{4} << 20;
  static constexpr std::byte kUntouched{0xee};  ///< in what the device has not written

  LimitsDriver(const GuestMemory& memory, InProcessDevice& host, const RingSetup& setup,
               unsigned seed);

  /// The pieces that a chain of `promised` pieces at most can have in this ring: fewer in direct
  /// descriptors, if the ring is smaller.
  [[nodiscard]] unsigned pieces(unsigned promised) const;
  /// Offers one chain in up to `promised` pieces: as many, as few or something between. Nothing: it
  /// does not fit into what is free of the ring.
  std::optional<unsigned> give(unsigned queue, std::span<const std::byte> readable,
                               std::uint32_t writable, unsigned promised);
  /// Waits for the next chain that comes back. Nothing: none does.
  std::optional<Answer> take(unsigned queue);
  /// Both. Nothing: it does not fit into the ring, or does not come back.
  std::optional<Answer> ask(unsigned queue, std::span<const std::byte> readable,
                            std::uint32_t writable, unsigned promised);
  /// Offers a chain that breaks the rules in the `way`th way; its last byte, which the device may
  /// write, lies where the answer belongs. False: it cannot be made in this ring.
  bool give_malformed(unsigned queue, unsigned way);
  static constexpr unsigned kMalformedWays = 4;

  [[nodiscard]] unsigned random(unsigned from, unsigned to) {
    return std::uniform_int_distribution<unsigned>(from, to)(random_);
  }
  [[nodiscard]] std::vector<std::byte> random_bytes(std::size_t count);
  [[nodiscard]] const RingSetup& setup() const noexcept { return setup_; }
  /// For InProcessDevice::start().
  [[nodiscard]] std::vector<QueueConfig> queue_configs() const;
  [[nodiscard]] const GuestMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] InProcessDevice& host() noexcept { return host_; }
  [[nodiscard]] unsigned answered() const noexcept { return answered_; }
  template <class T>
  [[nodiscard]] T config() const {
    T config{};
    host_.life().read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config;
  }
  [[nodiscard]] std::uint64_t stat(std::string_view name) const;

 private:
  struct Chain {
    unsigned request = 0;
    std::vector<FakeDriver::Buffer> writable;
  };
  struct Queue {
    std::unique_ptr<FakeDriver> driver;
    std::vector<Chain> chains;  ///< by their heads
  };

  [[nodiscard]] GuestAddress place(std::uint64_t bytes, std::uint64_t alignment = 1);
  [[nodiscard]] std::vector<std::uint32_t> cut(std::uint32_t bytes, unsigned pieces);
  void write_table(GuestAddress at, std::span<const FakeDriver::Buffer> buffers);
  void write_packed_table(GuestAddress at, std::span<const FakeDriver::Buffer> buffers);
  std::optional<unsigned> offer(unsigned queue, std::span<const FakeDriver::Buffer> buffers);

  const GuestMemory& memory_;
  InProcessDevice& host_;
  RingSetup setup_;
  std::mt19937 random_;
  std::vector<Queue> queues_;
  std::uint64_t next_place_;
  unsigned next_request_ = 0;
  unsigned answered_ = 0;
};

}  // namespace bellhop::testing

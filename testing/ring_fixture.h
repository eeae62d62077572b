#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/ring.h"

namespace bellhop::testing {

/// As a parameter of tests: "packed_indirect_event_idx".
inline std::string ring_name(RingFeatures features) {
  return std::string(features.packed ? "packed" : "split") +
         (features.indirect ? "_indirect" : "_direct") +
         (features.event_idx ? "_event_idx" : "_flags") + (features.in_order ? "_in_order" : "");
}

/// Both ends of one ring.
struct RingFixture {
  explicit RingFixture(std::uint16_t size = 8, RingFeatures features = {})
      : memory(make_memory()),
        driver(memory, kRing, size, features),
        queue(must(Ring::activate(memory, driver.config(), features, counters))) {}

  /// Offers one raw descriptor, of a split ring, as head 0.
  void offer_raw(const virtio::Desc& desc) {
    driver.set_desc(0, desc);
    driver.push_head(0);
    (void)driver.offer();
  }
  /// The chain at hand must be refused on its own, and the queue be alive. `answer` bytes of it are
  /// left for a status.
  void expect_bad_chain(std::size_t answer = 0) {
    ASSERT_EQ(queue.pop(chain), Pop::kMalformed);
    EXPECT_EQ(counters.bad_chains.get(), 1U);
    EXPECT_FALSE(queue.broken());
    EXPECT_TRUE(chain.readable().empty());
    EXPECT_EQ(chain.writable_bytes(), answer);
    queue.complete(chain, 0);
    EXPECT_EQ(queue.pop(chain), Pop::kEmpty);
    (void)queue.publish();
    const auto used = driver.reap();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->length, 0U);
    expect_works();
  }
  void expect_broken() {
    EXPECT_EQ(queue.pop(chain), Pop::kBroken);
    EXPECT_EQ(queue.pop(chain), Pop::kBroken);
    EXPECT_TRUE(queue.broken());
    EXPECT_EQ(counters.broken.get(), 1U);
  }
  void expect_works() {
    const auto head = driver.add({{kData, 16, false}, {kData, 32, true}});
    ASSERT_TRUE(head.has_value());
    (void)driver.offer();
    ASSERT_EQ(queue.pop(chain), Pop::kChain);
    EXPECT_EQ(chain.head(), *head);
    queue.complete(chain, 5);
    (void)queue.publish();
    const auto used = driver.reap();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->id, *head);
    EXPECT_EQ(used->length, 5U);
  }

  static constexpr GuestAddress kRing{0x10000};
  static constexpr GuestAddress kData{0x800000};

  GuestMemory memory;
  FakeDriver driver;
  QueueCounters counters;
  Ring queue;
  DescriptorChain chain;
};

}  // namespace bellhop::testing

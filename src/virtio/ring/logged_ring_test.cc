// What a ring notes of the memory that is written through it. Real devices: WrittenPagesTest.
#include "virtio/ring/logged_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "testing/fake_driver.h"
#include "testing/page_log.h"
#include "testing/test_memory.h"
#include "virtio/ring/ring.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::missing;
using testing::must;
using testing::Pages;
using testing::pages_of;

constexpr std::uint64_t kLogPage = DirtyLog::kPage;
constexpr std::uint16_t kLogSize = 1024;  ///< used entries, and descriptors, fill pages
constexpr std::uint64_t kLogData = 0x400000;
constexpr std::uint64_t kLogApart = 4 * kLogPage;

struct LogShape {
  const char* name;
  RingFeatures ring;
  bool tracked;
};

class LoggedRingTest : public ::testing::TestWithParam<LogShape> {
 protected:
  LoggedRingTest() {
    const RingFeatures& features = GetParam().ring;
    notes.resize(inflight_queue_bytes(features.packed, kLogSize) / 64 + 1);
    std::optional<InflightQueue> inflight;
    if (GetParam().tracked) {
      inflight = {
          .bytes = GuestSpan(notes[0].bytes, inflight_queue_bytes(features.packed, kLogSize)),
          .entries = kLogSize};
    }
    const RingLog noted{.pages = DirtyLog(bits.data(), bits.size()),
                        .device = driver.config().device,
                        .changed = &changed};
    ring.emplace(
        must(Ring::activate(memory, driver.config(), features, counters, {}, inflight, noted)));
  }

  /// A request of three buffers for the device, the last one a byte longer than its page.
  void offer(unsigned i) {
    const std::uint64_t at = kLogData + i * kLogApart;
    const std::array<DriverBuffer, 3> buffers{DriverBuffer{GuestAddress(at), 16, false},
                                              {GuestAddress(at + 100), 8, true},
                                              {GuestAddress(at + kLogPage), kLogPage + 1, true}};
    ASSERT_TRUE(driver.add(buffers));
    (void)driver.offer();
  }
  static Pages written_of(unsigned i) {
    return pages_of(GuestAddress(kLogData + i * kLogApart), 2 * kLogPage + 1);
  }
  Pages take() {
    Pages marked;
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const auto byte = std::to_integer<unsigned>(std::exchange(bits[i], std::byte{0}));
      for (unsigned bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) marked.insert(i * 8 + bit);
      }
    }
    return marked;
  }
  /// As a disk does: the status is cut off the data.
  void answer(DescriptorChain& chain) {
    GuestSpan& last = chain.writable().back();
    const GuestSpan status = last.part(kLogPage);
    last = last.part(0, kLogPage);
    for (const GuestSpan& one : chain.writable()) one.fill(static_cast<std::byte>(++fill));
    status.fill(std::byte{fill});
  }

  struct alignas(64) Notes {
    std::byte bytes[64];
  };

  GuestMemory memory = testing::make_memory();
  std::vector<Notes> notes;
  std::vector<std::byte> bits = std::vector<std::byte>((std::size_t{16} << 20) / kLogPage / 8);
  FakeDriver driver{memory, GuestAddress(0x10000), kLogSize, GetParam().ring};
  QueueCounters counters;
  EventFd changed = must(EventFd::create());
  std::optional<Ring> ring;
  std::uint8_t fill = 0;
};

INSTANTIATE_TEST_SUITE_P(
    Rings, LoggedRingTest,
    ::testing::Values(LogShape{"split", {}, false},
                      LogShape{"split_event", {.event_idx = true}, false},
                      LogShape{"packed", {.packed = true}, false},
                      LogShape{"packed_event", {.event_idx = true, .packed = true}, false},
                      LogShape{"split_tracked", {}, true},
                      LogShape{"packed_tracked", {.event_idx = true, .packed = true}, true},
                      LogShape{"split_in_order", {.in_order = true}, false},
                      LogShape{"packed_in_order", {.packed = true, .in_order = true}, false},
                      LogShape{"split_tracked_in_order", {.in_order = true}, true},
                      LogShape{
                          "packed_tracked_in_order", {.packed = true, .in_order = true}, true}),
    [](const auto& which) { return std::string(which.param.name); });

TEST_P(LoggedRingTest, AllThatIsWrittenIsMarked) {
  Pages seen;
  for (unsigned round = 0; round < 12; ++round) {
    const unsigned count = 1 + round * 27;  // up to a good part of the ring, past its end
    for (unsigned i = 0; i < count; ++i) offer(i);
    const testing::MemoryImage before(memory);
    (void)take();
    Pages marked;
    ring->suppress_kicks();
    for (unsigned i = 0; i < count; ++i) {
      DescriptorChain chain;
      ASSERT_EQ(ring->pop(chain), Pop::kChain);
      answer(chain);
      ring->complete(chain, 8 + kLogPage + 1);
      // Before the driver can see it.
      const Pages now = take();
      EXPECT_EQ(missing(written_of(i), now), Pages()) << round << ' ' << i;
      marked.insert(now.begin(), now.end());
    }
    (void)ring->publish();
    EXPECT_FALSE(ring->enable_kicks());
    marked.merge(take());
    const Pages written = before.changed();
    EXPECT_EQ(missing(written, marked), Pages()) << round;
    seen.insert(written.begin(), written.end());
    while (driver.reap()) {
    }
  }
  // The used ring, or the descriptors, over all of their pages.
  const QueueConfig config = driver.config();
  EXPECT_EQ(
      missing(GetParam().ring.packed ? pages_of(config.desc, virtio::desc_table_bytes(kLogSize))
                                     : pages_of(config.device, virtio::used_ring_bytes(kLogSize)),
              seen),
      Pages());
}

TEST_P(LoggedRingTest, NothingElseIsMarked) {
  offer(0);
  DescriptorChain chain;
  ASSERT_EQ(ring->pop(chain), Pop::kChain);
  EXPECT_EQ(take(), Pages()) << "to look writes nothing";
  answer(chain);
  ring->complete(chain, 8 + kLogPage + 1);
  EXPECT_EQ(take(), written_of(0));
  (void)changed.consume();
  EXPECT_TRUE(ring->publish());
  const QueueConfig config = driver.config();
  EXPECT_EQ(take(), pages_of(GetParam().ring.packed ? config.desc : config.device, 16));
  EXPECT_EQ(changed.consume(), 1U);
  EXPECT_FALSE(ring->publish());
  EXPECT_EQ(take(), Pages()) << "there was nothing to be shown";
  EXPECT_EQ(changed.consume(), 0U);
  ring->ask_for_kicks();
  EXPECT_EQ(take().size(), 1U);
}

TEST_P(LoggedRingTest, WhatWasWrittenIntoAChainThatIsPutBackIsMarked) {
  offer(0);
  DescriptorChain chain;
  ASSERT_EQ(ring->pop(chain), Pop::kChain);
  answer(chain);
  ASSERT_TRUE(ring->rewind(chain));
  EXPECT_EQ(take(), written_of(0));
  ASSERT_EQ(ring->pop(chain), Pop::kChain);
  ring->complete(chain, 0);
  EXPECT_EQ(take(), written_of(0)) << "a device may have written more than it says";
}

}  // namespace
}  // namespace bellhop

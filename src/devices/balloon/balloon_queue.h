#pragma once

#include <array>
#include <cstdint>

#include "devices/balloon/balloon_pages.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

class BalloonDevice;

/// A range of pages next to each other that go back to the host by one call.
class BalloonRun {
 public:
  explicit BalloonRun(BalloonPages& pages) noexcept : pages_(pages) {}
  /// One page of RAM more. True if that ended the range before it: a call was made.
  bool add(std::uint32_t number) noexcept;
  /// Ends the range. True if there was one.
  bool end() noexcept;

 private:
  BalloonPages& pages_;
  std::uint32_t first_ = 0;
  std::uint32_t count_ = 0;
};

/// The inflate or the deflate queue (virtio 1.3, 5.5.6): lists of page numbers. A list that is too
/// long for one turn goes back into the ring and is taken up where it was left.
///
/// On the queue's I/O thread, or under the runner's queue lock.
class BalloonPageQueue final : public QueueHandler {
 public:
  enum class Direction : std::uint8_t { kInflate, kDeflate };
  /// Pages, and calls to the host, before other queues get their turn: 16 MiB at most.
  static constexpr std::size_t kPagesInOneTurn = 4096;
  static constexpr std::size_t kCallsInOneTurn = 256;

  BalloonPageQueue(Direction direction, BalloonPages& pages, BalloonCounters& counters,
                   QueueRunner& runner) noexcept
      : direction_(direction), pages_(pages), counters_(counters), runner_(runner), run_(pages) {}

  void drain() noexcept override;
  void submit() noexcept override {}
  void begin_anew() noexcept override { next_ = 0; }

  void begin_turn() noexcept;
  /// Takes numbers from `list`, which has `bytes`, beginning with the one of index `first`, as far
  /// as a turn goes. Returns the index of the first that was not taken.
  std::size_t take(const BufferRun& list, std::size_t bytes, std::size_t first) noexcept;

 private:
  void take(std::uint32_t number) noexcept;

  Direction direction_;
  BalloonPages& pages_;
  BalloonCounters& counters_;
  QueueRunner& runner_;
  BalloonRun run_;
  DescriptorChain chain_;
  std::size_t next_ = 0;  ///< of the list that the ring begins with
  std::size_t pages_left_ = kPagesInOneTurn;
  std::size_t calls_left_ = kCallsInOneTurn;
};

/// The queue of free page reports (virtio 1.3, 5.5.6.7): the buffers are the free pages.
class BalloonReportQueue final : public QueueHandler {
 public:
  static constexpr std::size_t kBytesInOneTurn = std::size_t{16} << 20;
  static constexpr std::size_t kBuffersInOneTurn = 256;

  BalloonReportQueue(BalloonDevice& device, BalloonPages& pages, BalloonCounters& counters,
                     QueueRunner& runner) noexcept
      : device_(device), pages_(pages), counters_(counters), runner_(runner) {}

  void drain() noexcept override;
  void submit() noexcept override {}
  void begin_anew() noexcept override { done_ = 0; }

 private:
  [[nodiscard]] bool release_some() noexcept;

  BalloonDevice& device_;
  BalloonPages& pages_;
  BalloonCounters& counters_;
  QueueRunner& runner_;
  DescriptorChain chain_;
  std::size_t done_ = 0;  ///< bytes of the report that the ring begins with
  std::size_t bytes_left_ = 0;
  std::size_t buffers_left_ = 0;
};

/// A queue that the driver set up although nothing that it negotiated uses it: nothing is taken.
class BalloonIdleQueue final : public QueueHandler {
 public:
  explicit BalloonIdleQueue(QueueRunner& runner) noexcept : runner_(runner) {}
  void drain() noexcept override { runner_.park(); }
  void submit() noexcept override {}

 private:
  QueueRunner& runner_;
};

}  // namespace bellhop

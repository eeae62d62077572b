#pragma once

#include <cstdint>

// Traditional memory balloon device (virtio 1.3 section 5.5).
namespace bellhop::virtio {

// Feature bit numbers (5.5.3).
inline constexpr unsigned kBalloonFeatureMustTellHost = 0;
inline constexpr unsigned kBalloonFeatureStatsVq = 1;
inline constexpr unsigned kBalloonFeatureDeflateOnOom = 2;
inline constexpr unsigned kBalloonFeatureFreePageHint = 3;
inline constexpr unsigned kBalloonFeaturePagePoison = 4;
inline constexpr unsigned kBalloonFeatureReporting = 5;

// Queues (5.5.2).
inline constexpr unsigned kBalloonInflateQueue = 0;
inline constexpr unsigned kBalloonDeflateQueue = 1;
inline constexpr unsigned kBalloonStatsQueue = 2;
inline constexpr unsigned kBalloonHintQueue = 3;
inline constexpr unsigned kBalloonReportingQueue = 4;

/// A page of the balloon, whatever pages guest and host have (5.5.6); its number is its guest
/// address divided by this, 32 bits.
inline constexpr std::uint64_t kBalloonPageBytes = 4096;

/// Device configuration (5.5.4). Little-endian for every driver of this century.
struct [[gnu::packed]] BalloonConfig {
  std::uint32_t num_pages;  ///< that the host wants in the balloon
  std::uint32_t actual;     ///< that are in it; written by the driver
  std::uint32_t free_page_hint_cmd_id;
  std::uint32_t poison_val;  ///< what free pages are filled with; written by the driver
};
static_assert(sizeof(BalloonConfig) == 16);

/// An entry of the statistics (5.5.6.3). Packed: ten bytes.
struct [[gnu::packed]] BalloonStat {
  std::uint16_t tag;
  std::uint64_t val;
};
static_assert(sizeof(BalloonStat) == 10);

// Tags (5.5.6.4). Sizes are in bytes.
inline constexpr std::uint16_t kBalloonStatSwapIn = 0;
inline constexpr std::uint16_t kBalloonStatSwapOut = 1;
inline constexpr std::uint16_t kBalloonStatMajorFaults = 2;
inline constexpr std::uint16_t kBalloonStatMinorFaults = 3;
inline constexpr std::uint16_t kBalloonStatFreeMemory = 4;
inline constexpr std::uint16_t kBalloonStatTotalMemory = 5;
inline constexpr std::uint16_t kBalloonStatAvailable = 6;
inline constexpr std::uint16_t kBalloonStatCaches = 7;
inline constexpr std::uint16_t kBalloonStatHugeAllocations = 8;
inline constexpr std::uint16_t kBalloonStatHugeFailures = 9;

}  // namespace bellhop::virtio

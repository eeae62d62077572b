#pragma once

#include <cstddef>
#include <cstdint>

// Block device (virtio 1.3 section 5.2).
namespace bellhop::virtio {

// Feature bit numbers (5.2.3).
inline constexpr unsigned kBlkFeatureSizeMax = 1;
inline constexpr unsigned kBlkFeatureSegMax = 2;
inline constexpr unsigned kBlkFeatureGeometry = 4;
inline constexpr unsigned kBlkFeatureReadOnly = 5;
inline constexpr unsigned kBlkFeatureBlkSize = 6;
inline constexpr unsigned kBlkFeatureFlush = 9;
inline constexpr unsigned kBlkFeatureTopology = 10;
inline constexpr unsigned kBlkFeatureConfigWce = 11;
inline constexpr unsigned kBlkFeatureMultiqueue = 12;
inline constexpr unsigned kBlkFeatureDiscard = 13;
inline constexpr unsigned kBlkFeatureWriteZeroes = 14;
inline constexpr unsigned kBlkFeatureLifetime = 15;
inline constexpr unsigned kBlkFeatureSecureErase = 16;
inline constexpr unsigned kBlkFeatureZoned = 17;

// Request types (5.2.6).
inline constexpr std::uint32_t kBlkTypeIn = 0;
inline constexpr std::uint32_t kBlkTypeOut = 1;
inline constexpr std::uint32_t kBlkTypeFlush = 4;
inline constexpr std::uint32_t kBlkTypeGetId = 8;
inline constexpr std::uint32_t kBlkTypeGetLifetime = 10;
inline constexpr std::uint32_t kBlkTypeDiscard = 11;
inline constexpr std::uint32_t kBlkTypeWriteZeroes = 13;
inline constexpr std::uint32_t kBlkTypeSecureErase = 14;

// Request status (5.2.6).
inline constexpr std::uint8_t kBlkStatusOk = 0;
inline constexpr std::uint8_t kBlkStatusIoError = 1;
inline constexpr std::uint8_t kBlkStatusUnsupported = 2;

/// Unit of `sector` and of `capacity`, whatever blk_size says.
inline constexpr std::uint32_t kBlkSectorBytes = 512;
/// Length of the GET_ID answer (5.2.6).
inline constexpr std::uint32_t kBlkIdBytes = 20;

/// Head of every request (5.2.6): device-readable.
struct [[gnu::aligned(8)]] BlkRequestHeader {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};
static_assert(sizeof(BlkRequestHeader) == 16);

/// Segment of a discard or write-zeroes request (5.2.6).
struct [[gnu::aligned(8)]] BlkDiscardSegment {
  std::uint64_t sector;
  std::uint32_t num_sectors;
  std::uint32_t flags;
};
static_assert(sizeof(BlkDiscardSegment) == 16);
/// The only flag of a segment; write-zeroes only.
inline constexpr std::uint32_t kBlkWriteZeroesUnmap = 1;

/// Device configuration (5.2.4), up to and including secure erase.
struct [[gnu::packed]] BlkConfig {
  std::uint64_t capacity;  // in sectors of 512 bytes
  std::uint32_t size_max;
  std::uint32_t seg_max;
  std::uint16_t cylinders;
  std::uint8_t heads;
  std::uint8_t sectors;
  std::uint32_t blk_size;
  std::uint8_t physical_block_exp;
  std::uint8_t alignment_offset;
  std::uint16_t min_io_size;
  std::uint32_t opt_io_size;
  std::uint8_t writeback;
  std::uint8_t unused0;
  std::uint16_t num_queues;
  std::uint32_t max_discard_sectors;
  std::uint32_t max_discard_seg;
  std::uint32_t discard_sector_alignment;
  std::uint32_t max_write_zeroes_sectors;
  std::uint32_t max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap;
  std::uint8_t unused1[3];
  std::uint32_t max_secure_erase_sectors;
  std::uint32_t max_secure_erase_seg;
  std::uint32_t secure_erase_sector_alignment;
};
static_assert(sizeof(BlkConfig) == 72);
static_assert(offsetof(BlkConfig, writeback) == 32);
static_assert(offsetof(BlkConfig, num_queues) == 34);
static_assert(offsetof(BlkConfig, max_discard_sectors) == 36);
static_assert(offsetof(BlkConfig, write_zeroes_may_unmap) == 56);

}  // namespace bellhop::virtio

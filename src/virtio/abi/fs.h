#pragma once

#include <cstddef>
#include <cstdint>

// File system device (virtio 1.3 section 5.11).
namespace bellhop::virtio {

// Queues without VIRTIO_FS_F_NOTIFICATION (5.11.2): requests begin at 1.
inline constexpr unsigned kFsQueueHiprio = 0;
inline constexpr unsigned kFsQueueRequest = 1;

inline constexpr std::size_t kFsTagBytes = 36;

/// Device configuration (5.11.4).
struct [[gnu::packed]] FsConfigSpace {
  char tag[kFsTagBytes];  ///< zeroes behind it; none if it fills the field
  std::uint32_t num_request_queues;
};
static_assert(sizeof(FsConfigSpace) == 40);

}  // namespace bellhop::virtio

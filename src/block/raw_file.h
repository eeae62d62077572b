#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "block/block_backend.h"
#include "block/block_source.h"

namespace bellhop {

/// A regular file or block device as a disk. Locked for as long as it is open (base/file_lock.h),
/// so that two machines, ours or QEMU's, cannot write one image; a block device that is written is
/// claimed, too (O_EXCL). On a file system in memory (tmpfs), io_uring and native read and write in
/// place instead: see block/inline_queue.h. Native needs cache=none. Where no engine was named and
/// io_uring is not to be had, a line says what is used instead. Errors: absent, no rights, a
/// directory, an image of another format (unless `surely_raw`), locked by another (named, with its
/// process id where known), a size that is no multiple of 512, O_DIRECT or an engine that was named
/// not to be had here.
Result<std::unique_ptr<BlockBackend>> open_raw_file(const RawFileSource& source);

/// A medium that keeps nothing and completes everything at once or, for measuring the engine on a
/// slower medium, no sooner than `latency` after its submission (and in order).
std::unique_ptr<BlockBackend> make_null_backend(std::uint64_t capacity,
                                                std::chrono::nanoseconds latency = {});

}  // namespace bellhop

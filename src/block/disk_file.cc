#include "block/disk_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/log.h"
#include "block/transfer.h"

namespace bellhop {

namespace {

constexpr std::uint32_t kSector = 512;

std::uint32_t round_to_power_of_two(std::uint32_t value, std::uint32_t least) noexcept {
  return std::max(least, std::bit_ceil(value));
}

bool is_memory_file_system(int fd) noexcept {
  struct statfs about {};
  if (::fstatfs(fd, &about) != 0) return false;
  return about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC ||
         about.f_type == HUGETLBFS_MAGIC;
}

int checked(int result) noexcept { return result == 0 ? 0 : -errno; }

int fallocate_again(int fd, int mode, std::uint64_t offset, std::uint64_t length) noexcept {
  int result = 0;
  do {
    result = checked(::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                 static_cast<off_t>(length)));
  } while (result == -EINTR);
  return result;
}

// What a file system says that cannot do it, and block devices of old kernels.
bool is_refusal(int error) noexcept {
  return error == -EOPNOTSUPP || error == -ENOSYS || error == -ENOTTY || error == -EINVAL;
}

}  // namespace

Result<DiskFile> DiskFile::open(const RawFileSource& source) {
  DiskFile file;
  const int access = source.read_only ? O_RDONLY : O_RDWR;
  const int direct = source.cache == Cache::kNone ? O_DIRECT : 0;
  // O_NONBLOCK: a FIFO without a writer must not hang us; it means nothing to files and disks.
  file.fd_ = UniqueFd(::open(source.path.c_str(), access | direct | O_CLOEXEC | O_NONBLOCK));
  if (!file.fd_.valid()) {
    if (errno == EINVAL && direct != 0) {
      return fail(fmt::format("{} lies on a file system without O_DIRECT: use cache=writeback",
                              source.path),
                  EINVAL);
    }
    return fail_errno(
        fmt::format("cannot open {}{}", source.path, source.read_only ? "" : " for writing"));
  }
  // io_uring would take it as "fail rather than wait".
  if (::fcntl(file.fd(), F_SETFL, direct) != 0) {
    return fail_errno(fmt::format("cannot open {}", source.path));
  }
  if (auto measured = file.find_limits(source); !measured) return forward(measured);
  if (auto locked = file.lock(source); !locked) return forward(locked);
  return file;
}

Status DiskFile::lock(const RawFileSource& source) {
  if (source.locking == Locking::kOff) return {};
  auto lock =
      FileLock::take(fd(), source.path, source.read_only ? LockKind::kShared : LockKind::kExclusive,
                     source.locking == Locking::kOn ? LockNeed::kMust : LockNeed::kWarn);
  if (!lock) return forward(lock);
  lock_ = std::move(*lock);
  if (!block_device_ || source.read_only) return {};
  // Locks are the node's; the claim is the device's, whatever node leads to it.
  const std::string same = fmt::format("/proc/self/fd/{}", fd());
  claim_ = UniqueFd(::open(same.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (claim_.valid()) return {};
  if (errno != EBUSY) return fail_errno(fmt::format("cannot claim {}", source.path));
  return fail(
      fmt::format("{} is in use: it is mounted, part of another device, or open for writing "
                  "elsewhere",
                  source.path),
      EBUSY);
}

Status DiskFile::find_limits(const RawFileSource& source) {
  struct statx about {};
  if (::statx(fd(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, &about) != 0) {
    return fail_errno(fmt::format("cannot look at {}", source.path));
  }
  block_device_ = S_ISBLK(about.stx_mode);
  if (!block_device_ && !S_ISREG(about.stx_mode)) {
    return fail(fmt::format("{} is {}, not a file or block device", source.path,
                            S_ISDIR(about.stx_mode) ? "a directory" : "something else"),
                S_ISDIR(about.stx_mode) ? EISDIR : EINVAL);
  }
  in_memory_ = !block_device_ && is_memory_file_system(fd());

  std::uint32_t logical = kSector;
  std::uint32_t physical = std::min<std::uint32_t>(about.stx_blksize, 4096);
  limits_.capacity = about.stx_size;
  if (block_device_) {
    int sector = 0;
    int protected_from_writes = 0;
    unsigned physical_sector = 0;
    if (::ioctl(fd(), BLKGETSIZE64, &limits_.capacity) != 0 ||
        ::ioctl(fd(), BLKSSZGET, &sector) != 0 ||
        ::ioctl(fd(), BLKPBSZGET, &physical_sector) != 0 ||
        ::ioctl(fd(), BLKROGET, &protected_from_writes) != 0) {
      return fail_errno(fmt::format("cannot find the size of block device {}", source.path));
    }
    // Such a device may be opened for writing; each write would fail.
    if (protected_from_writes != 0 && !source.read_only) {
      return fail(fmt::format("cannot open {} for writing: the device is read-only", source.path),
                  EROFS);
    }
    logical = static_cast<std::uint32_t>(sector);
    physical = physical_sector;
  }
  if (source.cache == Cache::kNone && !in_memory_) {
    // Kernels before 6.1 do not tell; the page's size then satisfies every device.
    const bool told = (about.stx_mask & STATX_DIOALIGN) != 0 && about.stx_dio_offset_align != 0;
    memory_align_ = told ? about.stx_dio_mem_align : 4096;
    length_align_ = told ? about.stx_dio_offset_align : std::max(logical, kSector);
    logical = std::max(logical, length_align_);
  }
  limits_.logical_block = round_to_power_of_two(logical, kSector);
  if (auto set = set_block_size(source); !set) return set;
  limits_.physical_block = round_to_power_of_two(physical, limits_.logical_block);
  limits_.read_only = source.read_only;
  limits_.can_discard = !source.read_only;
  limits_.can_write_zeroes = !source.read_only;
  if (limits_.capacity == 0 || limits_.capacity % limits_.logical_block != 0) {
    const bool smaller = limits_.capacity % kSector == 0 && limits_.capacity != 0;
    return fail(
        fmt::format("{} has {} bytes: a disk needs a multiple of {}{}", source.path,
                    limits_.capacity, limits_.logical_block, smaller ? ", or block-size=512" : ""),
        EINVAL);
  }
  return {};
}

Status DiskFile::set_block_size(const RawFileSource& source) {
  const std::uint32_t own = limits_.logical_block;
  if (source.block_size == 0) {
    // Its partitions were made for blocks of another size, as likely as not.
    if (!block_device_ && own != kSector) {
      // log: at start
      log::info(
          "{}: the guest sees blocks of {} bytes, which the host asks for with cache=none "
          "(block-size=512 for an image with others)",
          source.path, own);
    }
    return {};
  }
  limits_.logical_block = source.block_size;
  if (source.block_size >= length_align_) return {};
  // Opened anew, so that it does without O_DIRECT alone.
  const std::string same = fmt::format("/proc/self/fd/{}", fd());
  through_cache_ =
      UniqueFd(::open(same.c_str(), (source.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (through_cache_.valid()) return {};
  return fail_errno(
      fmt::format("cannot open {} for block-size={}", source.path, source.block_size));
}

Result<std::uint64_t> DiskFile::measure() const {
  std::uint64_t bytes = 0;
  struct stat info {};
  if (block_device_ ? ::ioctl(fd(), BLKGETSIZE64, &bytes) != 0 : ::fstat(fd(), &info) != 0) {
    return fail_errno("cannot find the size of a disk");
  }
  if (!block_device_) bytes = static_cast<std::uint64_t>(info.st_size);
  return bytes - bytes % limits_.logical_block;
}

Status DiskFile::grow(std::uint64_t bytes) const {
  if (limits_.read_only) return fail("it is readonly", EINVAL);
  if (bytes == 0 || bytes % limits_.logical_block != 0) {
    return fail(
        fmt::format("{} bytes are no multiple of its blocks of {}", bytes, limits_.logical_block),
        EINVAL);
  }
  const auto now = measure();
  if (!now) return forward(now);
  if (bytes == *now) return {};
  if (block_device_) {
    return fail(
        fmt::format("it is a block device of {} bytes, which grows by its own means first", *now),
        EINVAL);
  }
  if (bytes < *now) {
    return fail(fmt::format("it has {} bytes, and what lies behind {} would be lost: it can only "
                            "grow",
                            *now, bytes),
                EINVAL);
  }
  int result = 0;
  do {
    result = checked(::ftruncate(fd(), static_cast<off_t>(bytes)));
  } while (result == -EINTR);
  if (result != 0) return fail_errno("its file cannot grow", -result);
  return {};
}

bool DiskFile::needs_bounce(const BlockIo& io) const noexcept {
  if ((memory_align_ <= 1 && length_align_ <= 1) || splits_block(io)) return false;
  std::uintptr_t addresses = 0;
  std::size_t lengths = 0;
  for (const iovec& piece : as_iovecs(io.data)) {
    addresses |= reinterpret_cast<std::uintptr_t>(piece.iov_base);
    lengths |= piece.iov_len;
  }
  // Both are powers of two.
  return (addresses & (memory_align_ - 1)) != 0 || (lengths & (length_align_ - 1)) != 0;
}

int DiskFile::execute(BlockIo& io) const noexcept {
  int result = 0;
  switch (io.op) {
    case BlockOp::kRead:
    case BlockOp::kWrite:
      while (advance(io, execute_step(io)) == TransferState::kMore) {
      }
      return io.scratch.error;
    case BlockOp::kFlush:
      do {
        result = checked(::fdatasync(fd()));
      } while (result == -EINTR);
      return result;
    case BlockOp::kDiscard:
      return discard(io.offset, io.length);
    case BlockOp::kWriteZeroes:
      return write_zeroes(io.offset, io.length, io.may_unmap);
  }
  return -EOPNOTSUPP;
}

int DiskFile::execute_step(BlockIo& io) const noexcept {
  const TransferStep step = next_step(io);
  const auto offset = static_cast<off_t>(step.offset);
  const int fd = fd_for(io);
  ssize_t moved = 0;
  if (step.count == 0) {
    moved = io.op == BlockOp::kRead
                ? ::pread(fd, step.single.iov_base, step.single.iov_len, offset)
                : ::pwrite(fd, step.single.iov_base, step.single.iov_len, offset);
  } else {
    const int count = static_cast<int>(step.count);
    moved = io.op == BlockOp::kRead ? ::preadv(fd, step.vector, count, offset)
                                    : ::pwritev(fd, step.vector, count, offset);
  }
  return moved < 0 ? -errno : static_cast<int>(moved);
}

int DiskFile::discard(std::uint64_t offset, std::uint64_t length) const noexcept {
  int result = 0;
  if (block_device_) {
    std::array<std::uint64_t, 2> range{offset, length};
    result = checked(::ioctl(fd(), BLKDISCARD, range.data()));
  } else {
    result = fallocate_again(fd(), FALLOC_FL_PUNCH_HOLE, offset, length);
  }
  // A hint: where the medium cannot take it, keeping the data is right.
  return is_refusal(result) ? 0 : result;
}

int DiskFile::write_zeroes(std::uint64_t offset, std::uint64_t length,
                           bool may_unmap) const noexcept {
  if (may_unmap) {
    const int punched = fallocate_again(fd(), FALLOC_FL_PUNCH_HOLE, offset, length);
    if (!is_refusal(punched)) return punched;
  }
  const int zeroed = fallocate_again(fd(), FALLOC_FL_ZERO_RANGE, offset, length);
  if (!is_refusal(zeroed)) return zeroed;
  const bool aligned = ((offset | length) & (length_align_ - 1)) == 0;
  return write_out_zeroes(aligned || !through_cache_.valid() ? fd() : through_cache_.get(), offset,
                          length);
}

int DiskFile::write_out_zeroes(int fd, std::uint64_t offset, std::uint64_t length) noexcept {
  alignas(4096) static constexpr std::array<std::byte, std::size_t{64} << 10> kZeroes{};
  while (length != 0) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(length, kZeroes.size()));
    const ssize_t written = ::pwrite(fd, kZeroes.data(), piece, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (written == 0) return -EIO;
    offset += static_cast<std::uint64_t>(written);
    length -= static_cast<std::uint64_t>(written);
  }
  return 0;
}

}  // namespace bellhop

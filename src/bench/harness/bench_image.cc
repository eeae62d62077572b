#include "bench/harness/bench_image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "guest/pattern.h"

namespace bellhop::bench {

namespace {

constexpr std::size_t kChunkBlocks = 256;

Status write_all(int fd, const std::byte* data, std::size_t bytes, std::uint64_t offset,
                 const std::string& folder) {
  while (bytes > 0) {
    const ssize_t done = ::pwrite(fd, data, bytes, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      return fail_errno(fmt::format("--medium: cannot write an image in {}", folder),
                        done < 0 ? errno : ENOSPC);
    }
    data += done;
    bytes -= static_cast<std::size_t>(done);
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

struct FreeMemory {
  void operator()(std::byte* memory) const { std::free(memory); }
};

}  // namespace

Result<UniqueFd> make_empty_image(const std::string& folder, std::uint64_t bytes) {
  std::string name = folder + "/bellhop-bench-XXXXXX";
  UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.valid()) return fail_errno(fmt::format("--medium: cannot make a file in {}", folder));
  ::unlink(name.c_str());
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_errno(fmt::format("--medium: cannot make a file of {} bytes in {}", bytes, folder));
  }
  return file;
}

Result<UniqueFd> make_pattern_image(const std::string& folder, std::uint64_t bytes) {
  auto file = make_empty_image(folder, bytes);
  if (!file) return file;
  constexpr std::size_t kChunk = kChunkBlocks * pattern::kBlockBytes;
  const std::unique_ptr<std::byte, FreeMemory> chunk(
      static_cast<std::byte*>(std::aligned_alloc(pattern::kBlockBytes, kChunk)));
  if (chunk == nullptr) return fail("no memory for an image", ENOMEM);
  const std::uint64_t blocks = bytes / pattern::kBlockBytes;
  for (std::uint64_t first = 0; first < blocks; first += kChunkBlocks) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBlocks, blocks - first));
    for (std::size_t i = 0; i < count; ++i) {
      pattern::fill_block(chunk.get() + i * pattern::kBlockBytes, first + i,
                          pattern::kFirstGeneration, kImageSeed);
    }
    if (auto written = write_all(file->get(), chunk.get(), count * pattern::kBlockBytes,
                                 first * pattern::kBlockBytes, folder);
        !written) {
      return forward(written);
    }
  }
  if (::fsync(file->get()) != 0) return fail_errno("--medium: cannot write an image to " + folder);
  return file;
}

std::string medium_name(const std::string& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return "unknown";
  const std::string wanted = fmt::format("{}:{}", major(info.st_dev), minor(info.st_dev));
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"
    std::istringstream words(line);
    std::string skipped, device, word, type;
    words >> skipped >> skipped >> device;
    if (device != wanted) continue;
    while (words >> word && word != "-") {
    }
    if (words >> type) return type;
  }
  return "unknown";
}

std::uint64_t free_space(const std::string& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace bellhop::bench

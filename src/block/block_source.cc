#include "block/block_source.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/input_file.h"
#include "block/raw_file.h"

namespace bellhop {

RawFileSource RawFileSource::parse(PropertyReader& reader) {
  RawFileSource file;
  reader.text("path", file.path);
  reader.flag("readonly", file.read_only);
  reader.choice<Cache>("cache", file.cache,
                       {{"none", Cache::kNone}, {"writeback", Cache::kWriteback}});
  reader.choice<Aio>(
      "aio", file.aio,
      {{"io_uring", Aio::kIoUring}, {"native", Aio::kNative}, {"threads", Aio::kThreads}});
  return file;
}

Status RawFileSource::check(std::string_view option) const {
  if (auto checked = check_input_file(option, path); !checked) return checked;
  if (!read_only && ::access(path.c_str(), W_OK) != 0) {
    return fail_errno(fmt::format("{}: cannot write {} (readonly would do without)", option, path));
  }
  return {};
}

Status RawFileSource::check_together(std::string_view option, const RawFileSource& other) const {
  struct stat ours {};
  struct stat theirs {};
  // A file that is not there is for check() to name.
  if (::stat(path.c_str(), &ours) != 0 || ::stat(other.path.c_str(), &theirs) != 0) return {};
  if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino) return {};
  if (read_only && other.read_only) return {};
  return fail(
      fmt::format("{}: {} is used by two disks; both must be readonly for that", option, path));
}

Result<std::unique_ptr<BlockBackend>> RawFileSource::open() const { return open_raw_file(*this); }

NullSource NullSource::parse(PropertyReader& reader) {
  NullSource medium;
  reader.size("null", medium.bytes, 512, std::uint64_t{1} << 60);
  if (medium.bytes % 512 != 0) {
    reader.wrong("null", fmt::format("{}", medium.bytes), "a multiple of 512");
  }
  return medium;
}

Result<std::unique_ptr<BlockBackend>> NullSource::open() const { return make_null_backend(bytes); }

}  // namespace bellhop

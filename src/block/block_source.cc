#include "block/block_source.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/input_file.h"
#include "block/raw_file.h"

namespace bellhop {

const char* to_string(Aio aio) noexcept {
  switch (aio) {
    case Aio::kAuto:
      return "auto";
    case Aio::kIoUring:
      return "io_uring";
    case Aio::kNative:
      return "native";
    case Aio::kThreads:
      break;
  }
  return "threads";
}

RawFileSource RawFileSource::parse(PropertyReader& reader) {
  RawFileSource file;
  reader.text("path", file.path);
  reader.flag("readonly", file.read_only);
  reader.choice<bool>("format", file.surely_raw, {{"raw", true}});
  reader.choice<Cache>("cache", file.cache,
                       {{"none", Cache::kNone}, {"writeback", Cache::kWriteback}});
  reader.choice<Aio>(
      "aio", file.aio,
      {{"io_uring", Aio::kIoUring}, {"native", Aio::kNative}, {"threads", Aio::kThreads}});
  reader.choice<std::uint32_t>("block-size", file.block_size, {{"512", 512}, {"4096", 4096}});
  reader.choice<Locking>("locking", file.locking,
                         {{"auto", Locking::kAuto}, {"on", Locking::kOn}, {"off", Locking::kOff}});
  return file;
}

Status RawFileSource::check(std::string_view option, FileRoles& roles) const {
  if (auto checked = check_input_file(option, path); !checked) return checked;
  if (!read_only && ::access(path.c_str(), W_OK) != 0) {
    return fail_errno(fmt::format("{}: cannot write {} (readonly would do without)", option, path));
  }
  return roles.add(option, path, read_only ? FileUse::kRead : FileUse::kMedium);
}

Result<std::unique_ptr<BlockBackend>> RawFileSource::open() const { return open_raw_file(*this); }

NullSource NullSource::parse(PropertyReader& reader) {
  NullSource medium;
  reader.size("null", medium.bytes, 512, std::uint64_t{1} << 60);
  if (medium.bytes % 512 != 0) {
    reader.wrong("null", fmt::format("{}", medium.bytes), "a multiple of 512");
  }
  constexpr std::chrono::seconds kLongestLatency{1};
  reader.duration("latency", medium.latency, kLongestLatency);
  return medium;
}

Result<std::unique_ptr<BlockBackend>> NullSource::open() const {
  return make_null_backend(bytes, latency);
}

}  // namespace bellhop

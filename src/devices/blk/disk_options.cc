#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "base/input_file.h"
#include "devices/blk/disk_config.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxQueues = 64;

}  // namespace

const DeviceOption DiskConfig::kOption = {
    .name = "disk",
    .summary = "A virtio-blk disk; may be given again",
    .value = "KEY=VALUE,...",
    .keys = R"(
  path=FILE or null=SIZE   a raw image or block device; or a medium that keeps nothing
  id=NAME                  disk0, disk1, ... by default; what the guest gets as its id
  readonly[=on|off]
  cache=none|writeback     none: past the host's page cache (O_DIRECT)
  aio=io_uring|native|threads
  queues=N  queue-size=N   1 and 256 by default
  notify=ioeventfd|sync    sync: the vCPU waits while its kick is served
  iothread=NAME|auto       auto: disks are spread over all I/O threads)",
};

Result<DiskConfig> DiskConfig::parse(const PropertyList& properties) {
  DiskConfig disk;
  PropertyReader reader("--disk", properties);
  reader.text("path", disk.file.path);
  reader.size("null", disk.null_bytes, 512, std::uint64_t{1} << 60);
  reader.flag("readonly", disk.file.read_only);
  reader.choice<Cache>("cache", disk.file.cache,
                       {{"none", Cache::kNone}, {"writeback", Cache::kWriteback}});
  reader.choice<Aio>(
      "aio", disk.file.aio,
      {{"io_uring", Aio::kIoUring}, {"native", Aio::kNative}, {"threads", Aio::kThreads}});
  reader.number("queues", disk.queues, 1, kMaxQueues);
  read_queue_size(reader, disk.queue_size);
  read_common_keys(reader, properties, disk);
  if (disk.null_bytes % 512 != 0) {
    reader.wrong("null", fmt::format("{}", disk.null_bytes), "a multiple of 512");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  if (reader.has("path") == reader.has("null")) {
    return fail("--disk: either path=FILE or null=SIZE is needed, and not both");
  }
  return disk;
}

Status DiskConfig::check_together(std::span<const DiskConfig> disks) {
  std::vector<struct stat> files(disks.size());
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const RawFileConfig& file = disks[i].file;
    if (file.path.empty()) continue;
    if (auto checked = check_input_file("--disk", file.path, &files[i]); !checked) return checked;
    if (!file.read_only && ::access(file.path.c_str(), W_OK) != 0) {
      return fail_errno(
          fmt::format("--disk: cannot write {} (readonly would do without)", file.path));
    }
    for (std::size_t j = 0; j < i; ++j) {
      const bool same = !disks[j].file.path.empty() && files[j].st_dev == files[i].st_dev &&
                        files[j].st_ino == files[i].st_ino;
      if (same && !(file.read_only && disks[j].file.read_only)) {
        return fail(fmt::format("--disk: {} is used by two disks; both must be readonly for that",
                                file.path));
      }
    }
  }
  return {};
}

}  // namespace bellhop

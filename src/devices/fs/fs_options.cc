#include <fmt/format.h>

#include "devices/fs/fs_config.h"
#include "virtio/abi/fs.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxQueues = 64;

}  // namespace

const DeviceOption FsConfig::kOption = {
    .name = "fs",
    .summary = "A folder of the host's, by virtiofsd; may be given again",
    .value = "tag=NAME,socket=PATH",
    .keys = R"(
  tag=NAME  socket=PATH    what the guest mounts it by; virtiofsd's socket
  num-queues=N  queue-size=N   queues for requests (1), entries of each queue (1024)
  id=NAME, iothread=...    as for --net)",
};

Result<FsConfig> FsConfig::parse(const PropertyList& properties) {
  FsConfig share;
  PropertyReader reader("--fs", properties);
  reader.text("tag", share.tag);
  read_back_end(reader, "socket", share.socket);
  reader.number("num-queues", share.num_queues, 1, kMaxQueues);
  read_queue_size(reader, share.queue_size);
  read_common_keys(reader, properties, share);
  leave_queues_to("virtiofsd", reader, share);
  keep_to_split_rings(reader, share, "virtiofsd");
  if (share.tag.size() > virtio::kFsTagBytes || share.tag.find('\0') != std::string::npos) {
    reader.wrong("tag", share.tag, "1 to 36 bytes");
  }
  if (share.tag.empty()) {
    reader.incomplete("tag=NAME is missing: the name by which the guest mounts it");
  }
  if (share.socket.empty()) {
    reader.incomplete("socket=PATH is missing: where virtiofsd listens (its --socket-path)");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  return share;
}

Status FsConfig::check_together(std::span<const FsConfig> others) const {
  for (const FsConfig& other : others) {
    if (other.tag == tag) return fail(fmt::format("--fs: tag={} is given to two shares", tag));
    if (other.socket == socket) {
      return fail(
          fmt::format("--fs: socket={} is used by two shares; each needs a virtiofsd", socket));
    }
  }
  return {};
}

}  // namespace bellhop

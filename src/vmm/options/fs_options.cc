#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <bit>
#include <cctype>

#include "virtio/abi/fs.h"
#include "vmm/options/machine_options.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxQueues = 64;
constexpr unsigned kMaxQueueSize = 32768;
constexpr std::size_t kMaxId = 20;

}  // namespace

Result<FsConfig> parse_fs(const PropertyList& properties) {
  FsConfig share;
  PropertyReader reader("--fs", properties);
  reader.text("tag", share.tag);
  reader.text("socket", share.socket);
  reader.text("id", share.id);
  reader.number("num-queues", share.num_queues, 1, kMaxQueues);
  unsigned size = share.queue_size;
  reader.number("queue-size", size, 2, kMaxQueueSize);
  if (!std::has_single_bit(size)) {
    reader.wrong("queue-size", fmt::format("{}", size), "a power of two");
  }
  share.queue_size = static_cast<std::uint16_t>(size);
  reader.choice<NotifyMode>("notify", share.notify, {{"ioeventfd", NotifyMode::kIoEventFd}});
  reader.text("iothread", share.iothread);
  if (share.iothread == "auto") share.iothread.clear();
  const auto printable = [](char c) { return std::isgraph(static_cast<unsigned char>(c)) != 0; };
  if (share.id.size() > kMaxId || !std::ranges::all_of(share.id, printable)) {
    reader.wrong("id", share.id, "at most 20 characters without spaces");
  }
  if (share.tag.size() > virtio::kFsTagBytes || share.tag.find('\0') != std::string::npos) {
    reader.wrong("tag", share.tag, "1 to 36 bytes");
  }
  if (share.socket.size() >= sizeof(sockaddr_un::sun_path)) {
    reader.wrong("socket", share.socket,
                 fmt::format("at most {} characters", sizeof(sockaddr_un::sun_path) - 1));
  }
  if (auto status = reader.finish(); !status) return forward(status);
  if (share.tag.empty()) {
    return fail("--fs: tag=NAME is missing: the name by which the guest mounts it");
  }
  if (share.socket.empty()) {
    return fail("--fs: socket=PATH is missing: where virtiofsd listens (its --socket-path)");
  }
  return share;
}

}  // namespace bellhop

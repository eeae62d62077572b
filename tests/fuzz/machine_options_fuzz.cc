// The texts that users write: key=value lists and configuration files. Whatever they are, the
// parsers end in values within their bounds or in an error of one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/machine_options.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void try_list(std::string_view text) {
  using bellhop::PropertyList;
  if (const auto list = PropertyList::parse(text)) {
    check(!list->items().empty());
    if (const auto disk = bellhop::DiskConfig::parse(*list)) {
      if (const auto* file = std::get_if<bellhop::RawFileSource>(&disk->source)) {
        check(!file->path.empty());
      } else {
        check(std::get<bellhop::NullSource>(disk->source).bytes != 0);
      }
      check(disk->queues >= 1 && disk->queue_size >= 2 && disk->queue_size <= 32768);
      check((disk->queue_size & (disk->queue_size - 1)) == 0);
    }
    if (const auto nic = bellhop::NicConfig::parse(*list)) {
      if (const auto* passt = std::get_if<bellhop::PasstSource>(&nic->source)) {
        for (const auto& one : passt->forwards) check(one.host_port != 0 && one.guest_port != 0);
      } else {
        const auto& tap = std::get<bellhop::TapSource>(nic->source);
        check(tap.name.empty() != tap.fds.empty());
        check(tap.name.size() <= 15 && tap.pairs >= 1 && tap.pairs <= 64);
      }
      check((nic->queue_size & (nic->queue_size - 1)) == 0 && !bellhop::is_multicast(nic->mac));
    }
  }
  if (const auto list = PropertyList::parse(text)) {
    if (const auto vsock = bellhop::VsockConfig::parse(*list)) {
      check(vsock->cid >= 3 && vsock->cid < 0xffffffff);
      check(vsock->uds.empty() == (vsock->vhost != bellhop::VsockVhost::kOff));
    }
    if (const auto share = bellhop::FsConfig::parse(*list)) {
      check(!share->tag.empty() && share->tag.size() <= 36 && !share->socket.empty());
      check((share->queue_size & (share->queue_size - 1)) == 0 && share->num_queues >= 1);
    }
  }
  if (const auto list = PropertyList::parse(text, "name")) {
    if (const auto thread = bellhop::parse_iothread(*list)) check(!thread->name.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try_list(text);
  if (const auto options = bellhop::parse_options_text(text, "input")) {
    for (const auto& disk : options->disks) (void)bellhop::DiskConfig::parse(disk);
  }
  return 0;
}

#include "apps/bellhop/blk_options.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>

#include "apps/bellhop/scalar_option.h"
#include "base/units.h"
#include "bench/harness/bench_image.h"

namespace bellhop {

void read_blk_cells(OptionLists& lists, const BlkOptions& options, bench::BlkSweep& sweep) {
  using bench::Workload;
  lists.choices<Workload>("--workload", options.workloads, sweep.workloads,
                          {{"create", Workload::kCreate},
                           {"seqread", Workload::kSeqRead},
                           {"randread", Workload::kRandRead},
                           {"randwrite", Workload::kRandWrite}});
  lists.choices<NotifyMode>("--notify", options.notify, sweep.notify,
                            {{"sync", NotifyMode::kSync},
                             {"ioeventfd", NotifyMode::kIoEventFd},
                             {"poll", NotifyMode::kPoll},
                             {"adaptive", NotifyMode::kAdaptive}});
  lists.choices<bench::RingLayout>(
      "--ring", options.rings, sweep.rings,
      {{"split", bench::RingLayout::kSplit}, {"packed", bench::RingLayout::kPacked}});
  lists.numbers("--threads", options.threads, sweep.threads, 1, 128);
  lists.numbers("--vcpus", options.vcpus, sweep.vcpus, 1, 16);
}

void read_blk_back_end(OptionLists& lists, const BlkOptions& options, bench::BlkSetting& setting) {
  lists.choice<Aio>(
      "--aio", options.aio, setting.aio,
      {{"io_uring", Aio::kIoUring}, {"native", Aio::kNative}, {"threads", Aio::kThreads}});
  lists.choice<Cache>("--cache", options.cache, setting.cache,
                      {{"none", Cache::kNone}, {"writeback", Cache::kWriteback}});
  lists.choice<TransportKind>("--transport", options.transport, setting.transport,
                              {{"pci", TransportKind::kPci},
                               {"pci-transitional", TransportKind::kPciTransitional},
                               {"mmio", TransportKind::kMmio}});
  if (setting.cache != Cache::kNone && setting.aio == Aio::kNative) {
    lists.fault("--aio native needs --cache none; with writeback take io_uring or threads");
  }
}

void add_blk_back_end(CLI::App& command, BlkOptions& options) {
  add_scalar(command, "--aio", options.aio, "Back end: native (default), io_uring, threads",
             "KIND");
  add_scalar(command, "--cache", options.cache, "none (default) or writeback", "MODE");
  add_scalar(command, "--transport", options.transport,
             "pci (default), pci-transitional (driven as before virtio 1.0: kicks by a word in "
             "ports) or mmio",
             "KIND");
}

void add_blk_sizes(CLI::App& command, BlkSizes& sizes) {
  add_scalar(command, "--image-size", sizes.image,
             "Size of the image that is read and written (256M)", "SIZE");
  add_scalar(command, "--create-size", sizes.create, "Largest size of a created file (8G)", "SIZE");
  add_scalar(command, "--block-size", sizes.block, "Bytes of a request (4K)", "SIZE");
}

Status read_blk_sizes(OptionLists& lists, const BlkSizes& sizes, bench::BlkSetting& setting,
                      bench::BlkImages& images) {
  std::uint64_t block_bytes = 0;
  lists.size("--block-size", sizes.block, block_bytes, 4096, 1 << 20);
  setting.block_bytes = static_cast<unsigned>(block_bytes);
  lists.size("--image-size", sizes.image, images.image_bytes, 16 << 20, std::uint64_t{1} << 40);
  lists.size("--create-size", sizes.create, images.create_bytes, 16 << 20, std::uint64_t{1} << 40);
  if (block_bytes % 4096 != 0 || images.image_bytes % 4096 != 0) {
    return fail("--block-size and --image-size must be multiples of 4K");
  }
  return lists.status();
}

Status find_blk_medium(const std::string& medium, bool chosen, bench::BlkSetting& setting,
                       bench::BlkImages& images) {
  struct stat info {};
  if (::stat(medium.c_str(), &info) != 0) {
    return fail_errno(fmt::format("--medium: cannot open {}", medium));
  }
  if (!S_ISDIR(info.st_mode)) {
    return fail(fmt::format("--medium: {} is no directory", medium));
  }
  images.folder = medium;
  setting.medium = bench::medium_name(medium);
  const std::uint64_t room = bench::free_space(medium);
  if (room / 2 < images.image_bytes) {
    return fail(fmt::format("--medium: {} has room for {} only, too little for images of {}",
                            medium, format_size(room), format_size(images.image_bytes)));
  }
  if (!chosen) {
    // Never so large that a guest could fill the medium.
    constexpr std::uint64_t kStep = std::uint64_t{1} << 20;
    images.create_bytes =
        std::min(images.create_bytes, (room - images.image_bytes) / 2 / kStep * kStep);
  }
  return {};
}

}  // namespace bellhop

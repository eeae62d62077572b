#pragma once

#include <CLI/App.hpp>
#include <string>

#include "apps/bellhop/bench_options.h"
#include "base/result.h"
#include "bench/blk/blk_cell.h"
#include "bench/blk/blk_sweep.h"
#include "bench/report/results.h"

namespace bellhop {

/// What the commands that run cells of `bench blk` take: texts as they were given.
struct BlkOptions {
  std::string workloads;
  std::string threads;
  std::string vcpus;
  std::string notify;
  std::string rings;
  std::string medium = ".";
  std::string aio = "native";
  std::string cache = "none";
  std::string transport = "pci";
};

/// --image-size, --create-size and --block-size.
struct BlkSizes {
  std::string image = "256M";
  std::string create;
  std::string block = "4K";
};

/// Adds --aio, --cache and --transport.
void add_blk_back_end(CLI::App& command, BlkOptions& options);
void add_blk_sizes(CLI::App& command, BlkSizes& sizes);
/// --workload, --threads, --vcpus, --notify and --ring.
void read_blk_cells(OptionLists& lists, const BlkOptions& options, bench::BlkSweep& sweep);
/// --aio, --cache and --transport.
void read_blk_back_end(OptionLists& lists, const BlkOptions& options, bench::BlkSetting& setting);
/// Errors: those of `lists`, or sizes that are no multiples of 4K.
Status read_blk_sizes(OptionLists& lists, const BlkSizes& sizes, bench::BlkSetting& setting,
                      bench::BlkImages& images);
/// --medium. Errors: it is no folder, or has no room for the images. A file that grows while it is
/// created, whose size was `chosen` by the user or not, gets no more than half of what is left.
Status find_blk_medium(const std::string& medium, bool chosen, bench::BlkSetting& setting,
                       bench::BlkImages& images);

}  // namespace bellhop

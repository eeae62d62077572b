#include <fmt/format.h>

#include "base/units.h"
#include "vmm/options/common_keys.h"
#include "vmm/options/machine_options.h"

namespace bellhop {

namespace {

constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
constexpr std::uint64_t kPage = 4096;
constexpr unsigned kLongestInterval = 86'400;  // a day

}  // namespace

Result<BalloonSettings> parse_balloon(const PropertyList& properties) {
  BalloonSettings balloon;
  PropertyReader reader("--balloon", properties);
  reader.size("size", balloon.size, 0, kMost);
  reader.flag("deflate-on-oom", balloon.deflate_on_oom);
  reader.flag("free-page-reporting", balloon.free_page_reporting);
  bool statistics = reader.has("stats-interval");
  reader.flag("statistics", statistics);
  unsigned interval = 1;
  reader.number("stats-interval", interval, 1, kLongestInterval);
  read_common_keys(reader, properties, balloon);
  if (balloon.size % kPage != 0) {
    reader.wrong("size", format_size(balloon.size), "a multiple of 4K");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  if (!statistics && reader.has("stats-interval")) {
    return fail("--balloon: stats-interval= needs statistics=on");
  }
  balloon.stats_interval = std::chrono::seconds(statistics ? interval : 0);
  return balloon;
}

}  // namespace bellhop

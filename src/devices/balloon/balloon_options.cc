#include <fmt/format.h>

#include "base/units.h"
#include "devices/balloon/balloon_config.h"

namespace bellhop {

namespace {

constexpr std::uint64_t kMax = std::uint64_t{1} << 40;
constexpr std::uint64_t kPage = 4096;
constexpr unsigned kLongestInterval = 86'400;  // a day

}  // namespace

const DeviceOption BalloonSettings::kOption = {
    .name = "balloon",
    .summary = "A virtio-balloon",
    .value = "[size=SIZE,...]",
    .keys = R"(
  size=SIZE                what the guest is asked to give back (0)
  deflate-on-oom[=on|off]  the guest may take it back before it runs out of memory
  free-page-reporting[=on|off]   the guest gives back what it does not use
  statistics[=on|off]  stats-interval=S        what the guest says of its memory, for --stats
  id=, notify=, optimize=, coalesce=, iothread=, packed=, queue-reset=, notification-data=,
  in-order=                as for --disk)",
    .bare_key = "size",
    .may_be_bare = true,
    .same_by = {},
};

Result<BalloonSettings> BalloonSettings::parse(const PropertyList& properties) {
  BalloonSettings balloon;
  PropertyReader reader("--balloon", properties);
  reader.size("size", balloon.size, 0, kMax);
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
  if (!statistics && reader.has("stats-interval")) {
    reader.refuse("stats-interval", "stats-interval= needs statistics=on");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  balloon.stats_interval = std::chrono::seconds(statistics ? interval : 0);
  return balloon;
}

Status BalloonSettings::check_memory(std::uint64_t bytes) const {
  if (size <= bytes) return {};
  return fail("--balloon: size is more than the machine's memory (see --memory)");
}

}  // namespace bellhop

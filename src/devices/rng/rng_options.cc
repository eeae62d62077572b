#include "devices/rng/rng_config.h"

namespace bellhop {

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40;
constexpr unsigned kMaxPeriod = 3'600'000;  // an hour

}  // namespace

const DeviceOption RngConfig::kOption = {
    .name = "rng",
    .summary = "A virtio-rng; may be given again",
    .value = "[src=FILE,...]",
    .keys = R"(
  src=FILE                 where the bytes come from (/dev/urandom)
  max-bytes=N  period=MS   no more than N bytes in MS milliseconds (1000); without: as many as asked
  id=, notify=, iothread=  as for --disk)",
    .bare_key = "src",
    .may_be_bare = true,
};

Result<RngConfig> RngConfig::parse(const PropertyList& properties) {
  RngConfig rng;
  PropertyReader reader("--rng", properties);
  reader.text("src", rng.source);
  reader.size("max-bytes", rng.max_bytes, 1, kMaxBytes);
  auto period = static_cast<unsigned>(rng.period.count());
  reader.number("period", period, 1, kMaxPeriod);
  rng.period = std::chrono::milliseconds(period);
  read_common_keys(reader, properties, rng);
  if (auto status = reader.finish(); !status) return forward(status);
  if (reader.has("period") && !reader.has("max-bytes")) {
    return fail("--rng: period= needs max-bytes=N, the bytes that the guest may have in it");
  }
  return rng;
}

}  // namespace bellhop

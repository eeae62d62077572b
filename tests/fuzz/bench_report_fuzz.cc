// Whatever is in the file of `bench --resume`, it is refused, or its repeats can be divided by and
// written again.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "bench/harness/resume.h"
#include "bench/net/net_results.h"

namespace {

using namespace bellhop;
using namespace bellhop::bench;
using Json = nlohmann::ordered_json;

constexpr std::size_t kMostRepeats = 3;

void check(bool good) {
  if (!good) std::abort();
}

Json good_report() {
  NetReport report;
  report.options = {{"seconds", 1.0}, {"notify", {"sync"}}};
  report.host = {{"kernel", "6.1"}};
  NetMeasurement repeat;
  repeat.seconds = 1;
  repeat.bytes = 4096;
  repeat.operations = 1;
  report.runs.push_back(summarise<NetCell, NetMeasurement>({}, {repeat, repeat}, {repeat}));
  return to_json(report);
}

template <class M>
void read(const Json& report) {
  const auto earlier = earlier_in<M>(report, kMostRepeats);
  if (!earlier) return;
  for (const auto& [cell, repeats] : *earlier) {
    check(repeats.all.size() <= kMostRepeats);
    for (const M& repeat : repeats.all) {
      check(repeat.seconds > 0 && std::isfinite(repeat.mb_per_s()));
      check(std::isfinite(repeat.bytes_per_host_cpu_s()));
      M again;
      check(from_json(to_json(repeat), again).has_value());
      check(to_json(again) == to_json(repeat));
    }
  }
}

void take(const std::string& text) {
  const auto report = parse_report(text);
  if (!report) return;
  (void)seed_in(*report);
  const auto same =
      check_same(*report, {{"seconds", 1.0}, {"notify", {"sync"}}}, {{"kernel", "6.1"}});
  if (!same) check(!same.error().message.empty());
  read<Measurement>(*report);
  read<NetMeasurement>(*report);
}

}  // namespace

/// The first byte: 0 for a file as it is; else two bytes choose one value of a good report, and the
/// rest takes its place.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  if (size == 0) return 0;
  if (data[0] == 0 || size < 3) {
    take(std::string(all.substr(1)));
    return 0;
  }
  static const Json kGood = good_report();
  static const Json kFlat = kGood.flatten();
  auto chosen = kFlat.begin();
  for (std::size_t left = (data[1] | std::size_t{data[2]} << 8) % kFlat.size(); left > 0; --left) {
    ++chosen;
  }
  const Json value = Json::parse(all.substr(3), nullptr, false);
  Json changed = kGood;
  changed[Json::json_pointer(chosen.key())] = value.is_discarded() ? Json(data[0]) : value;
  take(changed.dump(-1, ' ', false, Json::error_handler_t::replace));
  return 0;
}

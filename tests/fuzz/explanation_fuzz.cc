// A file that says it was written by `bellhop run --explain`: whatever is in it, it is refused, or
// shown, and what was read is written and read back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "bench/explain/waterfall.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bellhop::bench;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto queues = read_explanations(text);
  if (!queues) return 0;
  for (const QueueExplanation& queue : *queues) {
    if (waterfall(queue).empty()) std::abort();
  }
  if (timeline(*queues).empty()) std::abort();
  const auto again = read_explanations(to_json(*queues));
  if (!again || again->size() != queues->size()) std::abort();
  return 0;
}

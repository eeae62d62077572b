// What a machine's API says of itself to `bellhop top`: whatever comes is read or refused, and what
// is read can be compared and is fit for a terminal.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/api/metrics_sample.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto sample = bellhop::control::MetricsSample::read(text);
  if (!sample) return 0;
  for (const auto& queue : sample->queues) {
    for (const char byte : queue.device + queue.server + queue.notify) {
      if (static_cast<unsigned char>(byte) < 0x20) std::abort();
    }
    if (queue.counts.size() != 5) std::abort();
  }
  return 0;
}

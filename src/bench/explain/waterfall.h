#pragma once

#include <string>
#include <vector>

#include "bench/explain/explanation.h"

namespace bellhop::bench {

/// One sentence: which step takes the most of a request's time.
std::string dominating(const QueueExplanation& queue);
/// A table of the steps, each with its bar where it falls in the mean request, 80 columns wide, and
/// the sentence.
std::string waterfall(const QueueExplanation& queue);
/// The last requests of each queue in the Trace Event Format, which Perfetto and chrome://tracing
/// read: a row for each request that was under way at the same time.
std::string timeline(const std::vector<QueueExplanation>& queues);

}  // namespace bellhop::bench

#include "bench/harness/ratio.h"

namespace bellhop::bench {

std::string to_string(Ratio::Verdict verdict) {
  switch (verdict) {
    case Ratio::Verdict::kNone:
      return "none";
    case Ratio::Verdict::kRefused:
      return "disturbed";
    case Ratio::Verdict::kSingle:
      return "single repeats";
    case Ratio::Verdict::kWithinNoise:
      return "within noise";
    case Ratio::Verdict::kAbove:
      return "above";
    case Ratio::Verdict::kBelow:
      return "below";
  }
  return "";
}

Ratio Comparing::ratio(const Sample& above, const Sample& below) const {
  using Verdict = Ratio::Verdict;
  Ratio result;
  const double divisor = below.median();
  if (above.values.empty() || !(divisor > 0)) return result;
  if (!accept_disturbed && (above.disturbed || below.disturbed)) {
    result.verdict = Verdict::kRefused;
    return result;
  }
  result.value = above.median() / divisor;
  result.interval = ratio_interval(above.values, below.values, seed);
  if (!result.interval) {
    result.verdict = Verdict::kSingle;
  } else if (result.interval->low > 1) {
    result.verdict = Verdict::kAbove;
  } else if (result.interval->high < 1) {
    result.verdict = Verdict::kBelow;
  } else {
    result.verdict = Verdict::kWithinNoise;
  }
  return result;
}

}  // namespace bellhop::bench

#include "bench/report/cell_text.h"

namespace bellhop::bench {

namespace {

using Verdict = Ratio::Verdict;

Tone tone_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAbove:
      return Tone::kGood;
    case Verdict::kBelow:
    case Verdict::kRefused:
      return Tone::kBad;
    case Verdict::kWithinNoise:
      return Tone::kFaint;
    case Verdict::kNone:
    case Verdict::kSingle:
      break;
  }
  return Tone::kPlain;
}

std::string percent(double ratio) { return fmt::format("{:+.0f}", (ratio - 1) * 100); }

/// `value` is the ratio in words, `interval` its interval.
Table::Cell in_words(const Ratio& ratio, const std::string& value, const std::string& interval) {
  const Tone tone = tone_of(ratio.verdict);
  switch (ratio.verdict) {
    case Verdict::kNone:
      return kNone;
    case Verdict::kRefused:
      return {"disturbed", tone};
    case Verdict::kSingle:
      return {fmt::format("{} ({})", value, kNone), tone};
    case Verdict::kWithinNoise:
      return {fmt::format("within noise ({})", interval), tone};
    case Verdict::kAbove:
    case Verdict::kBelow:
      break;
  }
  return {fmt::format("{} ({})", value, interval), tone};
}

}  // namespace

Table::Cell ratio_cell(const Ratio& ratio) {
  const Interval interval = ratio.interval.value_or(Interval{});
  return in_words(ratio, fmt::format("{:.2f}", ratio.value),
                  fmt::format("{:.2f}-{:.2f}", interval.low, interval.high));
}

Table::Cell gain_cell(const Ratio& ratio) {
  const Interval interval = ratio.interval.value_or(Interval{});
  return in_words(ratio, percent(ratio.value) + " %",
                  fmt::format("{} to {}", percent(interval.low), percent(interval.high)));
}

std::string plain_gain(double before, double after) {
  return before > 0 ? percent(after / before) + " %" : kNone;
}

}  // namespace bellhop::bench

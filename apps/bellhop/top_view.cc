#include "apps/bellhop/top_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/units.h"

namespace bellhop {

namespace {

using control::MetricsSample;

/// A count that went down belongs to another start of the machine: then it is what came since.
std::uint64_t rise(std::uint64_t earlier, std::uint64_t later) {
  return later >= earlier ? later - earlier : later;
}

/// Three digits that matter: "1.23M".
std::string short_number(double value) {
  constexpr std::array kEndings = {"", "k", "M", "G"};
  std::size_t ending = 0;
  while (value >= 999.5 && ending + 1 < kEndings.size()) {
    value /= 1000;
    ++ending;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  if (ending == 0 && value == static_cast<double>(static_cast<std::uint64_t>(value))) {
    return fmt::format("{:.0f}", value);
  }
  return fmt::format("{:.{}f}{}", value, digits, kEndings[ending]);
}

/// A row of the table: of text to the left, of numbers to the right.
std::string row(const std::array<std::string, 8>& cells) {
  return fmt::format("{:<12} {:>5} {:<10} {:>8} {:>8} {:>9} {:>8} {:>9}\n", cells[0], cells[1],
                     cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]);
}

/// What lies between two samples.
class Interval {
 public:
  Interval(const MetricsSample& earlier, const MetricsSample& later)
      : earlier_(earlier),
        later_(later),
        seconds_(
            std::max(kShortest, static_cast<double>(rise(earlier.time_ns, later.time_ns)) / 1e9)) {}

  std::string machine() const {
    return fmt::format("{}, {} of memory, {:.1f} s\n", later_.state,
                       format_size(later_.memory_bytes), seconds_);
  }
  /// Empty: there are no threads yet.
  std::string threads() const {
    std::string line;
    for (const MetricsSample::Thread& thread : later_.threads) {
      fmt::format_to(std::back_inserter(line), "{}{} {:.0f} %", line.empty() ? "CPU: " : ", ",
                     thread.name, 100 * cpu_s(thread) / seconds_);
    }
    return line.empty() ? line : line + '\n';
  }
  /// Empty: no device moves bytes.
  std::string data() const {
    std::string line;
    double all = 0;
    for (const auto& [id, bytes] : later_.device_bytes) {
      const double moved = static_cast<double>(rise(bytes_before(id), bytes));
      all += moved;
      fmt::format_to(std::back_inserter(line), "{}{} {}B/s", line.empty() ? "Data: " : ", ", id,
                     short_number(moved / seconds_));
    }
    if (line.empty()) return line;
    double cpu = 0;
    for (const MetricsSample::Thread& thread : later_.threads) cpu += cpu_s(thread);
    if (cpu > 0) line += fmt::format("; {}B for each CPU second", short_number(all / cpu));
    return line + '\n';
  }
  /// What adaptive devices look at. Empty: there are none.
  std::string adaptive() const {
    std::string line;
    std::string last;
    for (const MetricsSample::Queue& queue : later_.queues) {
      if (!queue.running || queue.optimize.empty()) continue;
      // A device's queues stand together.
      std::string one = fmt::format("{} for {}", queue.device, queue.optimize);
      if (one != last) line += (line.empty() ? "Adaptive: " : ", ") + one;
      last = std::move(one);
    }
    return line.empty() ? line : line + '\n';
  }
  std::string queue(const MetricsSample::Queue& queue) const {
    const bool ours = queue.server == "device";
    const std::string name = std::to_string(queue.queue);
    // What others serve is not counted here.
    if (!ours) return row({queue.device, name, queue.server, "-", "-", "-", "-", "-"});
    const double kicks = count(queue, "kicks");
    const double requests = count(queue, "completions");
    const double batches = count(queue, "batches");
    const auto rate = [this](double number) { return short_number(number / seconds_); };
    const double spurious = kicks > 0 ? 100 * count(queue, "spurious_kicks") / kicks : 0;
    return row({queue.device, name, queue.notify, rate(requests), rate(kicks),
                kicks > 0 ? fmt::format("{:.0f} %", spurious) : "-",
                rate(count(queue, "interrupts")),
                batches > 0 ? short_number(requests / batches) : "-"});
  }

 private:
  static constexpr double kShortest = 1e-9;

  double cpu_s(const MetricsSample::Thread& thread) const {
    const auto before =
        std::ranges::find(earlier_.threads, thread.tid, &MetricsSample::Thread::tid);
    const std::uint64_t start = before == earlier_.threads.end() ? 0 : before->cpu_ns;
    return static_cast<double>(rise(start, thread.cpu_ns)) / 1e9;
  }
  std::uint64_t bytes_before(const std::string& id) const {
    const auto before =
        std::ranges::find(earlier_.device_bytes, id, &std::pair<std::string, std::uint64_t>::first);
    return before == earlier_.device_bytes.end() ? 0 : before->second;
  }
  double count(const MetricsSample::Queue& queue, const char* name) const {
    const auto before = std::ranges::find_if(earlier_.queues, [&queue](const auto& one) {
      return one.device == queue.device && one.queue == queue.queue;
    });
    const std::uint64_t start =
        before == earlier_.queues.end() ? 0 : before->counts.find(name)->second;
    return static_cast<double>(rise(start, queue.counts.find(name)->second));
  }

  const MetricsSample& earlier_;
  const MetricsSample& later_;
  double seconds_;
};

}  // namespace

std::string top_text(const MetricsSample& earlier, const MetricsSample& later) {
  const Interval between(earlier, later);
  std::string text =
      between.machine() + between.threads() + between.data() + between.adaptive() +
      row({"DEVICE", "QUEUE", "NOTIFY", "REQ/S", "KICKS/S", "SPURIOUS", "IRQ/S", "REQ/BATCH"});
  for (const MetricsSample::Queue& queue : later.queues) {
    if (queue.running) text += between.queue(queue);
  }
  return text;
}

}  // namespace bellhop

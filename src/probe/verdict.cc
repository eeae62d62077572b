#include "probe/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text_columns.h"

namespace bellhop {

namespace {

using Place = Statement::Place;
using Measure = Statement::Measure;

constexpr unsigned kDeep = 16;
/// bench's machines have no more vCPUs than requests.
constexpr std::size_t kMaxVcpus = 16;

const char* to_string(Measure measure) noexcept {
  return measure == Measure::kThroughput ? "throughput" : "efficiency";
}

const char* to_string(Place place) noexcept {
  switch (place) {
    case Place::kOwnCpu:
      return "own-cpu";
    case Place::kSharedCpu:
      return "shared-cpu";
    case Place::kAllCpus:
      return "all-cpus";
  }
  return "";
}

const char* words_of(Place place) noexcept {
  switch (place) {
    case Place::kOwnCpu:
      return "the I/O thread has a CPU to itself";
    case Place::kSharedCpu:
      return "the I/O thread shares a vCPU's CPU";
    case Place::kAllCpus:
      return "vCPUs take all CPUs";
  }
  return "";
}

/// The floors that every statement needs.
struct Costs {
  double exit;
  double kick;
  double wake_same;
  double wake_other;
  double interrupt;

  double sync(double batch) const { return exit / batch + Verdict::kWork_us; }
  /// The I/O thread is on a CPU of its own. Waiting for one request at a time, both ends take
  /// turns; else each has half of the work and they run at once. Where the kick takes longer than
  /// the work, the answer is there when the guest goes on: no interrupt passes before the thread's
  /// next request. `answer`: what passes besides.
  double own_cpu(double batch, double answer = 0) const {
    const double halt = kick < Verdict::kWork_us ? interrupt : 0;
    const bool sleeps = kick + Verdict::kWork_us + halt + answer > Verdict::kLook_us;
    const double q = sleeps ? 1 : 0;
    const double work = batch > 1 ? Verdict::kWork_us / 2 : Verdict::kWork_us;
    return (kick + q * wake_other) / batch + work;
  }
  /// Both ends are busy or look all the while.
  double own_cpu_of_both(double batch) const { return 2 * own_cpu(batch); }
  /// The guest kicks, the thread takes its CPU, and gives it back: a second kick and an interrupt
  /// stand for what it costs to leave a guest and to come back to it.
  double shared_cpu(double batch) const {
    return (2 * kick + 2 * wake_same + interrupt) / batch + Verdict::kWork_us;
  }
};

std::string blk_command(const std::string& placement) {
  return fmt::format(
      "bellhop bench blk --medium /dev/shm --image-size 64M --workload randread {} --repeat 5 "
      "--seconds 0.5",
      placement);
}

Statement blk(Place place, Measure measure, unsigned threads, std::size_t vcpus, double sync_us,
              double ioeventfd_us) {
  const char* placement = place == Place::kOwnCpu      ? "other-core"
                          : place == Place::kSharedCpu ? "same-core"
                                                       : "free";
  const auto cell = [&](const char* way) {
    return fmt::format("bellhop randread x{} {} {}, {} vCPU{}", threads, way, placement, vcpus,
                       vcpus == 1 ? "" : "s");
  };
  const std::string options = place == Place::kAllCpus
                                  ? fmt::format("--threads 16 --vcpus {} --placement free", vcpus)
                                  : std::string("--threads 1,16 --placement other-core,same-core");
  return {.place = place,
          .measure = measure,
          .traffic = threads == 1 ? "a disk, 1 request at a time"
                                  : fmt::format("a disk, {} requests at a time", threads),
          .sync_us = sync_us,
          .ioeventfd_us = ioeventfd_us,
          .cell = cell("ioeventfd"),
          .base = cell("sync"),
          .command = blk_command(options)};
}

Statement net(std::string traffic, const std::string& workload, double sync_us,
              double ioeventfd_us) {
  const auto cell = [&](const char* way) {
    return fmt::format("bellhop {} {} other-core", workload, way);
  };
  return {.place = Place::kOwnCpu,
          .measure = Measure::kThroughput,
          .traffic = std::move(traffic),
          .sync_us = sync_us,
          .ioeventfd_us = ioeventfd_us,
          .cell = cell("ioeventfd"),
          .base = cell("sync"),
          .command =
              "bellhop bench net --notify sync,ioeventfd --workload stream,ping --framing "
              "mtu --message-bytes 1024 --direction guest-to-host --repeat 5 --seconds 0.5"};
}

void add_own_cpu(const Costs& costs, bool has_tun, std::vector<Statement>& statements) {
  const auto add = [&](Measure measure, unsigned threads, double ioeventfd_us) {
    statements.push_back(
        blk(Place::kOwnCpu, measure, threads, 1, costs.sync(threads), ioeventfd_us));
  };
  add(Measure::kThroughput, 1, costs.own_cpu(1));
  add(Measure::kEfficiency, 1, costs.own_cpu_of_both(1));
  add(Measure::kThroughput, kDeep, costs.own_cpu(kDeep));
  add(Measure::kEfficiency, kDeep, costs.own_cpu_of_both(kDeep));
  if (!has_tun) return;
  // Each message is a kick, unless the I/O thread is awake and asks for none.
  statements.push_back(net("a NIC, 1 KiB messages to the host", "stream guest-to-host 1024 (mtu)",
                           costs.sync(1), costs.own_cpu(kDeep)));
  statements.push_back(net("a NIC, one byte there and back", "ping",
                           costs.sync(1) + costs.interrupt,
                           costs.own_cpu(1, costs.interrupt) + costs.interrupt));
}

void add_taken_cpus(const Costs& costs, std::size_t cpus, std::vector<Statement>& statements) {
  for (const unsigned threads : {1U, kDeep}) {
    statements.push_back(blk(Place::kSharedCpu, Measure::kThroughput, threads, 1,
                             costs.sync(threads), costs.shared_cpu(threads)));
  }
  if (cpus < 2 || cpus > kMaxVcpus) return;
  for (const Measure measure : {Measure::kThroughput, Measure::kEfficiency}) {
    statements.push_back(
        blk(Place::kAllCpus, measure, kDeep, cpus, costs.sync(kDeep), costs.shared_cpu(kDeep)));
  }
}

/// "for throughput, partly for efficiency": what of a place's statements gives this advice. Empty
/// if none does, "all" if all do.
std::string share_of(const std::vector<Statement>& statements, Place place, Advice advice) {
  std::string some;
  bool all = true;
  for (const Measure measure : {Measure::kThroughput, Measure::kEfficiency}) {
    std::size_t there = 0;
    std::size_t agree = 0;
    for (const Statement& one : statements) {
      if (one.place != place || one.measure != measure) continue;
      ++there;
      agree += one.advice() == advice ? 1U : 0U;
    }
    all &= agree == there;
    if (agree == 0) continue;
    some += fmt::format("{}{}for {}", some.empty() ? "" : ", ", agree < there ? "partly " : "",
                        to_string(measure));
  }
  return all && !some.empty() ? "all" : some;
}

/// "where A (for throughput), and where B"; empty if nowhere.
std::string places_of(const std::vector<Statement>& statements, Advice advice) {
  std::string text;
  for (const Place place : {Place::kOwnCpu, Place::kSharedCpu, Place::kAllCpus}) {
    const std::string share = share_of(statements, place, advice);
    if (share.empty()) continue;
    text += fmt::format("{}where {}", text.empty() ? "" : ", and ", words_of(place));
    if (share != "all") text += fmt::format(" ({})", share);
  }
  return text;
}

std::string what_to_use(const std::vector<Statement>& statements, const CpuList& cpus) {
  const auto throughput_of = [&](Place place, Advice advice) {
    return std::ranges::any_of(statements, [&](const Statement& one) {
      return one.place == place && one.measure == Measure::kThroughput && one.advice() == advice;
    });
  };
  if (!throughput_of(Place::kOwnCpu, Advice::kIoEventFd)) return "use notify=sync";
  const auto most = cpus.size() - 1;
  std::string text = fmt::format(
      "use notify=ioeventfd, the default, with up to {} vCPU{} and a CPU for the I/O thread "
      "(--vcpu-affinity 0={} --iothread io0,cpus={})",
      most, most == 1 ? "" : "s", cpus.front(), cpus.back());
  if (throughput_of(Place::kSharedCpu, Advice::kSync)) {
    text += ", notify=sync where no CPU is free, and notify=adaptive where that changes";
  }
  return text;
}

std::string headline_of(const std::vector<Statement>& statements, const CpuList& cpus) {
  std::string text = "On this host ";
  const std::string events = places_of(statements, Advice::kIoEventFd);
  const std::string sync = places_of(statements, Advice::kSync);
  if (!events.empty()) text += "ioeventfd pays " + events + "; ";
  if (!sync.empty()) text += "sync pays " + sync + "; ";
  return text + what_to_use(statements, cpus) + ".";
}

std::string crossover_of(double asleep_at_par) {
  if (asleep_at_par > 1) return "A kick costs less than an exit even if it wakes the I/O thread.";
  return fmt::format("Sync costs less where over {:.0f} % of the kicks wake the I/O thread.",
                     100 * asleep_at_par);
}

}  // namespace

const char* to_string(Advice advice) noexcept {
  switch (advice) {
    case Advice::kSync:
      return "sync";
    case Advice::kIoEventFd:
      return "ioeventfd";
    case Advice::kEither:
      return "either";
  }
  return "";
}

Advice Statement::advice() const noexcept {
  if (sync_us > ioeventfd_us * Verdict::kMargin) return Advice::kIoEventFd;
  if (ioeventfd_us > sync_us * Verdict::kMargin) return Advice::kSync;
  return Advice::kEither;
}

Verdict judge(const Floors& floors, const CpuList& cpus, bool has_tun) {
  Verdict verdict;
  if (!floors.userspace_exit_us || !floors.ioeventfd_kick_us || !floors.wake_same_core_us ||
      !floors.irqfd_to_handler_us || cpus.empty()) {
    return verdict;
  }
  const Costs costs{.exit = *floors.userspace_exit_us,
                    .kick = *floors.ioeventfd_kick_us,
                    .wake_same = *floors.wake_same_core_us,
                    .wake_other = floors.wake_other_core_us.value_or(0),
                    .interrupt = *floors.irqfd_to_handler_us};
  if (floors.wake_other_core_us && cpus.size() > 1) {
    verdict.asleep_at_par = std::max(0.0, costs.exit - costs.kick) / costs.wake_other;
    add_own_cpu(costs, has_tun, verdict.statements);
  }
  add_taken_cpus(costs, cpus.size(), verdict.statements);
  verdict.headline = headline_of(verdict.statements, cpus);
  return verdict;
}

nlohmann::ordered_json to_json(const Verdict& verdict) {
  if (verdict.statements.empty()) return nullptr;
  nlohmann::ordered_json json;
  json["headline"] = verdict.headline;
  json["asleep_at_par"] = verdict.asleep_at_par ? nlohmann::ordered_json(*verdict.asleep_at_par)
                                                : nlohmann::ordered_json(nullptr);
  for (const Statement& one : verdict.statements) {
    json["statements"].push_back({{"place", to_string(one.place)},
                                  {"traffic", one.traffic},
                                  {"measure", to_string(one.measure)},
                                  {"sync_us", one.sync_us},
                                  {"ioeventfd_us", one.ioeventfd_us},
                                  {"use", to_string(one.advice())},
                                  {"cell", one.cell},
                                  {"base", one.base},
                                  {"command", one.command}});
  }
  return json;
}

std::string to_text(const Verdict& verdict) {
  constexpr std::size_t kColumns = 80;
  if (verdict.statements.empty()) return {};
  std::string text = wrap("Verdict: " + verdict.headline, kColumns, 2) + "\n";
  text += fmt::format("{:<49}{:>9} {:>10}  use\n", "", "sync", "ioeventfd");
  const Statement* before = nullptr;
  for (const Statement& one : verdict.statements) {
    if (before == nullptr || before->place != one.place) {
      text += fmt::format("  {}\n", words_of(one.place));
    }
    before = &one;
    text +=
        fmt::format("    {:<33} {:<10} {:>6.1f} us {:>7.1f} us  {}\n", one.traffic,
                    to_string(one.measure), one.sync_us, one.ioeventfd_us, to_string(one.advice()));
  }
  if (verdict.asleep_at_par) text += "  " + crossover_of(*verdict.asleep_at_par) + "\n";
  text += "To check it:\n";
  std::vector<std::string> commands;
  for (const Statement& one : verdict.statements) {
    if (std::ranges::find(commands, one.command) != commands.end()) continue;
    commands.push_back(one.command);
    text += "  " + wrap(one.command, kColumns - 2, 6, " \\") + "\n";
  }
  return text;
}

}  // namespace bellhop

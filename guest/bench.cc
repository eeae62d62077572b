#include "guest/bench.h"

#include "guest/clock.h"
#include "guest/console.h"
#include "guest/cpu.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "guest/smp.h"
#include "guest/worker.h"
#include "virtio/abi/blk.h"

namespace bellhop::guest {
namespace {

struct Team {
  Worker* workers;
  std::uint32_t count;
  const char* errors[kMaxCpus];
  volatile std::uint32_t finished[kMaxCpus];
  std::uint64_t storm_kicks[kMaxCpus];
};

bool all_finished(const Team& team) {
  for (std::uint32_t i = 0; i < team.count; ++i) {
    if (load_acquire(&team.finished[i]) == 0) return false;
  }
  return true;
}

/// Rings for everybody's queue, spurious or not, until all have done their work.
std::uint64_t storm(const Team& team) {
  std::uint64_t kicks = 0;
  while (!all_finished(team)) {
    for (std::uint32_t i = 0; i < team.count; ++i) ring(team.workers[i].queue()->notifier());
    kicks += team.count;
  }
  return kicks;
}

void work(std::uint32_t cpu, void* context) {
  auto* team = static_cast<Team*>(context);
  if (cpu >= team->count) {
    team->storm_kicks[cpu] = storm(*team);
    return;
  }
  team->errors[cpu] = team->workers[cpu].run();
  store_release(&team->finished[cpu], std::uint32_t{1});
}

std::uint32_t fail_setup(const char* what) {
  JsonLine("error").text("what", what).send();
  return kExitFailed;
}

void add_latency(JsonLine* line, const Histogram& histogram) {
  line->open("latency_us")
      .thousandths("p50", cycles_to_ns(histogram.percentile(500'000)))
      .thousandths("p99", cycles_to_ns(histogram.percentile(990'000)))
      .thousandths("p999", cycles_to_ns(histogram.percentile(999'000)))
      .thousandths("max", cycles_to_ns(histogram.max()))
      .close();
}

void add_setting(JsonLine* line, const Options& options, const char* transport,
                 std::uint32_t queues, std::uint32_t queue_size) {
  line->number("threads", options.threads)
      .number("block_bytes", options.block_bytes)
      .number("queues", queues)
      .text("transport", transport)
      .text("ring", options.ring_name())
      .number("size", queue_size)
      .boolean("event_idx", options.event_idx)
      .text("idle", options.spin ? "spin" : "halt")
      .text("publish", options.publish_each ? "each" : "batch")
      .number("poll_us", options.poll_us);
}

void report_wrong(const Worker& worker) {
  if (worker.figures().wrong_blocks == 0) return;
  const WrongBlock& wrong = worker.first_wrong();
  JsonLine line("error");
  line.text("what", "wrong block")
      .number("offset", wrong.offset)
      .number("expected_generation", wrong.expected_generation)
      .hex("magic", wrong.words[0])
      .hex("block", wrong.words[1])
      .hex("generation", wrong.words[2])
      .hex("checksum", wrong.words[3])
      .send();
}

}  // namespace

std::uint32_t run_block(Disk* disk, Options options, std::uint32_t vcpus) {
  if (!disk->negotiate(options.event_idx, options.indirect, options.packed, options.in_order,
                       options.queue_resets != 0)) {
    return fail_setup(disk->error());
  }
  options.event_idx = disk->has(virtio::kFeatureEventIdx);
  options.indirect = disk->has(virtio::kFeatureIndirectDesc);
  if (options.writes() && disk->has(virtio::kBlkFeatureReadOnly)) {
    return fail_setup("the disk is read-only");
  }
  const std::uint32_t max_size = disk->queue_max_size();
  if (options.queue_size > max_size) options.queue_size = max_size;

  // One worker for each queue, one queue for each vCPU.
  std::uint32_t workers = options.queues == 0 ? vcpus : options.queues;
  const std::uint32_t limits[] = {vcpus, disk->max_queues(), options.threads,
                                  disk->transport()->max_vectors()};
  for (const std::uint32_t limit : limits) {
    if (workers > limit) workers = limit;
  }

  std::uint64_t span = disk->capacity();
  if (options.span != 0 && options.span < span) span = options.span;
  if (options.workload != Workload::kVerify) span -= span % options.block_bytes;
  if (span / options.block_bytes < workers && options.workload != Workload::kVerify) {
    return fail_setup("the disk is too small");
  }

  Stage stage;
  auto* latency = make<Histogram>();
  Team team{allocate_array<Worker>(workers), workers, {}, {}, {}};
  if (team.workers == nullptr || latency == nullptr) return fail_setup("out of memory");
  for (std::uint32_t i = 0; i < workers; ++i) {
    Worker* worker = new (&team.workers[i]) Worker;
    const char* error = worker->create(disk, &options, &stage, i, workers, span);
    if (error != nullptr) return fail_setup(error);
    if (!disk->enable_queue(worker->queue(), static_cast<std::uint16_t>(i), i)) {
      return fail_setup(disk->error());
    }
  }
  disk->go();
  run_on_processors(options.storm ? vcpus : workers, work, &team);
  if (stage.end == 0) {
    stage.end = read_tsc();
    write_mark(Mark::kEnd);
    JsonLine("end").send();
  }

  Figures total;
  std::uint64_t read_back = 0;
  std::uint64_t storm_kicks = 0;
  for (const std::uint64_t kicks : team.storm_kicks) storm_kicks += kicks;
  bool failed = false;
  for (std::uint32_t i = 0; i < workers; ++i) {
    const Worker& worker = team.workers[i];
    total.add(worker.figures());
    latency->merge(worker.latency());
    read_back += worker.read_back();
    report_wrong(worker);
    if (team.errors[i] == nullptr) continue;
    failed = true;
    JsonLine("error").text("what", team.errors[i]).number("vcpu", i).send();
  }
  failed = failed || total.wrong_blocks != 0 || total.io_errors != 0;

  const std::uint64_t cycles = stage.end - stage.begin;
  JsonLine line("result");
  line.text("workload", options.workload_name);
  add_setting(&line, options, disk->transport()->name(), workers, options.queue_size);
  line.number("vcpus", vcpus)
      .number("tsc_khz", tsc_khz())
      .thousandths("seconds", cycles_to_ns(cycles) / 1'000'000)
      .number("cycles", cycles)
      .number("span", span)
      .number("operations", total.operations)
      .number("bytes", total.bytes);
  add_latency(&line, *latency);
  line.boolean("verified", options.check && !failed)
      .boolean("checked", options.check)
      .number("blocks_verified", total.blocks_verified)
      .number("read_back", read_back)
      .number("wrapped", total.wrapped)
      .number("wrong_blocks", total.wrong_blocks)
      .number("io_errors", total.io_errors)
      .number("kicks", total.kicks)
      .number("notifications_suppressed", total.suppressed)
      .number("interrupts", total.interrupts)
      .number("halts", total.halts)
      .number("empty_wakeups", total.empty_wakeups);
  if (options.queue_resets != 0) line.number("queue_resets", total.queue_resets);
  if (options.storm) line.number("storm_kicks", storm_kicks);
  if (options.workload == Workload::kVerify) line.hex("digest", total.digest);
  line.send();
  return failed ? kExitFailed : kExitDone;
}

std::uint32_t run_notify(Disk* disk, const Options& options) {
  if (!disk->negotiate(options.event_idx, options.indirect)) return fail_setup(disk->error());
  const std::uint32_t max_size = disk->queue_max_size();
  SplitQueue queue;
  if (!queue.create(options.queue_size < max_size ? options.queue_size : max_size,
                    disk->has(virtio::kFeatureEventIdx)) ||
      !disk->enable_queue(&queue, 0, 0)) {
    return fail_setup("the queue cannot be enabled");
  }
  disk->go();
  auto* cost = make<Histogram>();
  if (cost == nullptr) return fail_setup("out of memory");
  const std::uint64_t warm_up = options.count / 10 + 1;
  for (std::uint64_t i = 0; i < warm_up; ++i) queue.kick();
  JsonLine("begin").send();
  write_mark(Mark::kBegin);
  const std::uint64_t begin = read_tsc();
  std::uint64_t before = begin;
  for (std::uint64_t i = 0; i < options.count; ++i) {
    queue.kick();
    const std::uint64_t after = read_tsc();
    cost->add(after - before);
    before = after;
  }
  const std::uint64_t end = before;
  write_mark(Mark::kEnd);
  JsonLine("end").send();
  const std::uint64_t kicks = options.count == 0 ? 1 : options.count;
  JsonLine line("result");
  line.text("workload", "notify")
      .text("transport", disk->transport()->name())
      .number("operations", options.count)
      .number("tsc_khz", tsc_khz())
      .thousandths("seconds", cycles_to_ns(end - begin) / 1'000'000)
      .thousandths("mean_us", cycles_to_ns((end - begin) / kicks));
  add_latency(&line, *cost);
  line.number("vcpus", 1).boolean("verified", true).send();
  return kExitDone;
}

namespace {

struct Rest {
  std::uint64_t end;
  std::uint64_t wakeups[kMaxCpus];
};

void rest(std::uint32_t cpu, void* context) {
  auto* state = static_cast<Rest*>(context);
  static constinit volatile std::uint32_t never = 0;
  while (read_tsc() < state->end) {
    wait_for_interrupt(&never, 0);  // the tick ends it
    ++state->wakeups[cpu];
  }
}

}  // namespace

std::uint32_t run_idle(const Options& options, std::uint32_t vcpus) {
  Rest state{};
  JsonLine("begin").send();
  write_mark(Mark::kBegin);
  const std::uint64_t begin = read_tsc();
  state.end = begin + us_to_cycles(options.milliseconds * 1000);
  run_on_processors(vcpus, rest, &state);
  const std::uint64_t end = read_tsc();
  write_mark(Mark::kEnd);
  JsonLine("end").send();
  std::uint64_t wakeups = 0;
  for (std::uint32_t i = 0; i < vcpus; ++i) wakeups += state.wakeups[i];
  JsonLine("result")
      .text("workload", "idle")
      .number("vcpus", vcpus)
      .number("tsc_khz", tsc_khz())
      .thousandths("seconds", cycles_to_ns(end - begin) / 1'000'000)
      .number("halts", wakeups)
      .boolean("verified", true)
      .send();
  return kExitDone;
}

}  // namespace bellhop::guest

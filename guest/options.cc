#include "guest/options.h"

#include "guest/console.h"
#include "guest/cpu.h"
#include "guest/pattern.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {
namespace {

constexpr const char* kWorkloads[] = {"idle",    "create",  "seqread", "randread", "randwrite",
                                      "prepare", "verify",  "notify",  "hostile",  "netsend",
                                      "netrecv", "netping", "netpps",  nullptr};
constexpr const char* kRings[] = {"indirect", "direct", "packed", "packed-direct", nullptr};
constexpr const char* kSwitch[] = {"on", "off", nullptr};
constexpr const char* kOff[] = {"off", "on", nullptr};
constexpr const char* kPublish[] = {"each", "batch", nullptr};
constexpr const char* kIdle[] = {"halt", "spin", nullptr};

// Seconds with up to three decimals.
std::uint64_t milliseconds(const char* key, std::uint64_t fallback) {
  Text text = cmdline_value(key);
  if (!text.present()) return fallback;
  std::uint64_t whole = 0;
  std::uint64_t part = 0;
  bool good = parse_number(&text, &whole) && whole < 1'000'000;
  if (good && text.length > 1 && text.data[0] == '.') {
    ++text.data;
    --text.length;
    std::uint64_t unit = 100;
    for (; text.length > 0 && text.data[0] >= '0' && text.data[0] <= '9'; unit /= 10) {
      part += static_cast<std::uint64_t>(text.data[0] - '0') * unit;
      ++text.data;
      --text.length;
    }
  }
  if (good && text.length == 0) return whole * 1000 + part;
  JsonLine("error").text("what", "not a number of seconds").text("word", key).send();
  leave(kExitUsage);
}

}  // namespace

std::uint32_t number32(const char* key, std::uint32_t fallback, std::uint32_t low,
                       std::uint32_t high) {
  const std::uint64_t value = cmdline_number(key, fallback);
  if (value >= low && value <= high) return static_cast<std::uint32_t>(value);
  JsonLine("error").text("what", "number out of range").text("word", key).send();
  leave(kExitUsage);
}

Options parse_options() {
  Options o;
  const unsigned workload = cmdline_choice("workload", kWorkloads);
  o.workload = static_cast<Workload>(workload);
  o.workload_name = kWorkloads[workload];
  o.hostile = cmdline_value("hostile");
  if (o.hostile.present()) {
    o.workload = Workload::kHostile;
    o.workload_name = "hostile";
  }
  const bool large = !o.timed();
  o.threads = number32("threads", large ? 4 : 1, 1, 1024);
  o.block_bytes = number32("bs", large ? 256 * 1024 : 4096, 512, 16 * 1024 * 1024);
  o.milliseconds = milliseconds("seconds", o.milliseconds);
  o.warmup_milliseconds = milliseconds("warmup", 0);
  o.timeout_milliseconds = milliseconds("timeout", o.timeout_milliseconds);
  o.vcpus = number32("vcpus", 1, 1, kMaxCpus);
  o.queues = number32("queues", 0, 0, kMaxCpus);
  o.queue_size = number32("size", 256, 2, virtio::kMaxQueueSize);
  o.disk = number32("disk", 0, 0, 31);
  o.poll_us = number32("poll", 0, 0, 1'000'000);
  o.span = cmdline_number("span", 0);
  o.seed = cmdline_number("seed", 0);
  o.generation = cmdline_number("generation",
                                o.workload == Workload::kPrepare ? pattern::kFirstGeneration : 2);
  o.count = cmdline_number("count", 10000);
  o.queue_resets = number32("queue_resets", 0, 0, 1'000'000);
  const unsigned ring = cmdline_choice("ring", kRings);
  o.indirect = ring % 2 == 0;
  o.packed = ring / 2 != 0;
  o.in_order = cmdline_choice("in_order", kOff) == 1;
  o.event_idx = cmdline_choice("event_idx", kSwitch) == 0;
  o.spin = cmdline_choice("idle", kIdle) == 1;
  o.storm = cmdline_choice("storm", kOff) == 1;
  o.witness = cmdline_choice("witness", kOff) == 1;
  o.stamps = cmdline_choice("stamps", kOff) == 1;
  o.check = cmdline_choice("check", kSwitch) == 0;
  o.publish_each = cmdline_choice("publish", kPublish) == 0;
  const char* wrong = cmdline_bad_word();
  if (wrong != nullptr) {
    JsonLine("error").text("what", "value not understood").text("word", wrong).send();
    leave(kExitUsage);
  }
  const bool patterned = o.workload != Workload::kVerify;
  if (o.block_bytes % (patterned ? pattern::kBlockBytes : 512) != 0 ||
      (o.block_bytes > pattern::kBlockBytes && o.block_bytes % pattern::kBlockBytes != 0)) {
    fail(kExitUsage, "bs must be a multiple of 4096");
  }
  if ((o.packed || o.in_order || o.queue_resets != 0) &&
      (!o.needs_disk() || o.hostile.present() || o.workload == Workload::kNotify)) {
    fail(kExitUsage, "packed rings, in_order and queue_resets are for the workloads of a disk");
  }
  if (!o.check && o.workload == Workload::kVerify) fail(kExitUsage, "verify is there to check");
  if ((o.queue_size & (o.queue_size - 1)) != 0) fail(kExitUsage, "size must be a power of two");
  return o;
}

}  // namespace bellhop::guest

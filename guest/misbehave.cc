#include "guest/bench.h"
#include "guest/clock.h"
#include "guest/console.h"
#include "guest/memory.h"
#include "guest/pattern.h"
#include "guest/scene.h"
#include "virtio/abi/config.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

constexpr std::uint64_t kSettleUs = 200'000;
constexpr std::uint64_t kHonestUs = 3'000'000;
constexpr std::uint64_t kLookUs = 1000;

}  // namespace

const char* Scene::create() {
  // One page for small things, so that what lies beside them is known.
  auto* page = static_cast<std::uint8_t*>(allocate(4096, 4096));
  data_ = static_cast<std::uint8_t*>(allocate(std::size_t{16} * kDataBytes, 4096));
  if (page == nullptr || data_ == nullptr) return "out of memory";
  header_ = reinterpret_cast<BlkRequestHeader*>(page);
  status_ = page + 64;
  table_ = reinterpret_cast<Desc*>(page + 128);
  const std::uint32_t max_size = disk_->queue_max_size();
  if (max_size < kQueueSize) return "the queue is too small";
  return queue_.create(kQueueSize, options_->event_idx && disk_->offers(kFeatureEventIdx))
             ? nullptr
             : "out of memory";
}

bool Scene::start_halfway() {
  if (!disk_->negotiate(options_->event_idx, true)) return false;
  queue_.clear();
  used_before_ = 0;
  return disk_->enable_queue(&queue_, 0, 0);
}

bool Scene::start() {
  if (!start_halfway()) return false;
  disk_->go();
  return true;
}

void Scene::compose(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes) {
  const bool writable =
      type != kBlkTypeOut && type != kBlkTypeDiscard && type != kBlkTypeWriteZeroes;
  *header_ = {type, 0, sector};
  *status_ = 0xff;
  desc()[0] = {header_address(), sizeof(BlkRequestHeader), kDescNext, 1};
  desc()[1] = {data_address(), bytes,
               static_cast<std::uint16_t>(kDescNext | (writable ? kDescWrite : 0)), 2};
  desc()[2] = {status_address(), 1, kDescWrite, 0};
}

void Scene::offer(std::uint16_t head) {
  RingVandal vandal = ring();
  const std::uint16_t at = vandal.avail_index();
  vandal.set_avail_entry(at, head);
  vandal.set_avail_index(static_cast<std::uint16_t>(at + 1));
  queue_.kick();
}

void Scene::begin_outcome() {
  outcome_ = Outcome{};
  used_before_ = ring().used_index();
}

void Scene::settle() {
  const std::uint64_t end = read_tsc() + us_to_cycles(kSettleUs);
  do {
    delay_us(kLookUs);
    outcome_.device_status = transport()->status();
  } while (read_tsc() < end && (outcome_.device_status & kStatusNeedsReset) == 0 &&
           ring().used_index() == used_before_);
  // A second answer, or the fault that follows an answer, comes close behind.
  delay_us(kLookUs);
  outcome_.device_status = transport()->status();
  outcome_.answered = static_cast<std::uint16_t>(ring().used_index() - used_before_);
  outcome_.request_status = *status_;
}

bool Scene::read_works() {
  compose(kBlkTypeIn, 0);
  for (std::uint32_t i = 0; i < kDataBytes; ++i) data_[i] = 0xa5;
  const std::uint16_t before = ring().used_index();
  offer(0);
  const std::uint64_t end = read_tsc() + us_to_cycles(kHonestUs);
  while (ring().used_index() == before) {
    if (read_tsc() > end) return false;
    cpu_relax();
  }
  if (*status_ != kBlkStatusOk) return false;
  const std::uint64_t digest = pattern::digest_block(data_, kDataBytes);
  if (!knows_digest_) {
    knows_digest_ = true;
    first_digest_ = digest;
  }
  return digest == first_digest_;
}

namespace {

/// A second disk that is brought up once and must never notice anything.
struct Bystander {
  Disk disk;
  Scene* scene = nullptr;

  bool read_works() { return scene == nullptr || scene->read_works(); }
};

struct Tally {
  std::uint32_t tried = 0;
  std::uint32_t recovered = 0;
  std::uint32_t undisturbed = 0;
};

void perform(Scene& scene, Bystander& bystander, const Misdeed& misdeed, Tally* tally) {
  bool started = scene.start();
  scene.begin_outcome();
  if (started) misdeed.act(scene);
  const Outcome outcome = scene.outcome();
  const bool undisturbed = bystander.read_works();
  // Whatever happened: a reset must bring back a device that reads as before.
  const bool recovered = started && scene.start() && scene.read_works();
  ++tally->tried;
  if (recovered) ++tally->recovered;
  if (undisturbed) ++tally->undisturbed;
  JsonLine line("misbehaved");
  line.text("name", misdeed.name).number("row", misdeed.row);
  if (outcome.skipped) {
    line.boolean("skipped", true);
  } else {
    line.number("answered", outcome.answered)
        .number("request_status", outcome.request_status)
        .number("device_status", outcome.device_status)
        .boolean("needs_reset", (outcome.device_status & kStatusNeedsReset) != 0)
        .boolean("refused", outcome.refused);
  }
  if (bystander.scene != nullptr) line.boolean("bystander_undisturbed", undisturbed);
  line.boolean("recovered", recovered).send();
}

}  // namespace

std::uint32_t run_misbehave(Disk* disk, const Options& options, std::uint32_t vcpus) {
  if (!disk->negotiate(options.event_idx, true)) fail(kExitFailed, disk->error());
  Scene scene(disk, &options, vcpus);
  const char* error = scene.create();
  if (error != nullptr) fail(kExitFailed, error);
  if (!scene.start() || !scene.read_works()) fail(kExitFailed, "an honest read does not work");
  Bystander bystander;
  Scene other(&bystander.disk, &options);
  if (bystander.disk.find(options.disk + 1)) {
    if (!bystander.disk.negotiate(options.event_idx, true) || other.create() != nullptr ||
        !other.start() || !other.read_works()) {
      fail(kExitFailed, "an honest read of the second disk does not work");
    }
    bystander.scene = &other;
  }
  Tally tally;
  bool known = false;
  const Misdeed* const lists[] = {kRingMisdeeds, kRegisterMisdeeds, kBlockMisdeeds};
  for (const Misdeed* misdeed : lists) {
    for (; misdeed->name != nullptr; ++misdeed) {
      if (!options.misbehave.equals("all") && !options.misbehave.equals(misdeed->name)) continue;
      known = true;
      perform(scene, bystander, *misdeed, &tally);
    }
  }
  if (!known) fail(kExitUsage, "unknown misbehaviour");
  const bool good = tally.tried == tally.recovered && tally.tried == tally.undisturbed;
  JsonLine("result")
      .text("workload", "misbehave")
      .number("vcpus", vcpus)
      .number("tried", tally.tried)
      .number("recovered", tally.recovered)
      .boolean("bystander", bystander.scene != nullptr)
      .boolean("verified", good)
      .send();
  return good ? kExitDone : kExitFailed;
}

}  // namespace bellhop::guest

#include "guest/bench.h"
#include "guest/clock.h"
#include "guest/console.h"
#include "guest/memory.h"
#include "guest/pattern.h"
#include "guest/scene.h"
#include "guest/smp.h"
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
  if (!queue_.create(kQueueSize, options_->event_idx && disk_->offers(kFeatureEventIdx))) {
    return "out of memory";
  }
  // Behind the rings too: what is written over them must not reach another scene's memory.
  return allocate(std::size_t{2} * kDataBytes, 4096) != nullptr ? nullptr : "out of memory";
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

bool Scene::serve() {
  const std::uint16_t before = ring().used_index();
  offer(0);
  const std::uint64_t end = read_tsc() + us_to_cycles(kHonestUs);
  while (ring().used_index() == before) {
    if (read_tsc() > end) return false;
    cpu_relax();
  }
  return *status_ == kBlkStatusOk;
}

bool Scene::write_works(std::uint64_t round) {
  // Interrupts of all disks go to one counter, which hostile cases look at.
  ring().set_used_event(static_cast<std::uint16_t>(ring().used_index() + 0x8000));
  ring().set_avail_flags(kAvailNoInterrupt);
  const std::uint64_t first = disk_->capacity() / kDataBytes - kWitnessBlocks;
  const std::uint64_t sector = (first + round % kWitnessBlocks) * (kDataBytes / kBlkSectorBytes);
  auto* words = reinterpret_cast<std::uint64_t*>(data_);
  constexpr std::uint32_t kWords = kDataBytes / sizeof(std::uint64_t);
  compose(kBlkTypeOut, sector);
  for (std::uint32_t i = 0; i < kWords; ++i) words[i] = pattern::mix(round * kWords + i);
  if (!serve()) return false;
  compose(kBlkTypeIn, sector);
  for (std::uint32_t i = 0; i < kWords; ++i) words[i] = 0;
  if (!serve()) return false;
  for (std::uint32_t i = 0; i < kWords; ++i) {
    if (words[i] != pattern::mix(round * kWords + i)) return false;
  }
  return true;
}

bool Scene::read_works() {
  compose(kBlkTypeIn, 0);
  for (std::uint32_t i = 0; i < kDataBytes; ++i) data_[i] = 0xa5;
  if (!serve()) return false;
  const std::uint64_t digest = pattern::digest_block(data_, kDataBytes);
  if (!knows_digest_) {
    knows_digest_ = true;
    first_digest_ = digest;
  }
  return digest == first_digest_;
}

namespace {

/// A second disk that is brought up once and must never notice anything. Read after each misdeed
/// by the vCPU that is hostile, or, as a witness, written and read by another one all the while.
struct Bystander {
  Disk disk;
  Scene* scene = nullptr;
  bool witness = false;
  volatile std::uint64_t rounds = 0;  ///< written and found again
  volatile std::uint32_t wrong = 0;
  volatile std::uint32_t over = 0;

  /// Null, or why there is no use of it.
  const char* bring_up(Scene* other, const Options& options) {
    if (!disk.negotiate(options.event_idx, true) || other->create() != nullptr || !other->start() ||
        !other->read_works()) {
      return "an honest read of the second disk does not work";
    }
    scene = other;
    return nullptr;
  }
  void testify() {
    while (load_acquire(&over) == 0) {
      if (!scene->write_works(rounds)) {
        store_release(&wrong, std::uint32_t{1});
        return;
      }
      store_release(&rounds, rounds + 1);
    }
  }
  /// Whether all has gone well there since it had done `before` rounds, and still goes.
  bool undisturbed(std::uint64_t before) {
    if (scene == nullptr) return true;
    if (!witness) return scene->read_works();
    // One round may have been under way: the one after it began later.
    const std::uint64_t end = read_tsc() + us_to_cycles(kHonestUs);
    while (load_acquire(&rounds) < before + 2 && load_acquire(&wrong) == 0 && read_tsc() < end) {
      cpu_relax();
    }
    return load_acquire(&rounds) >= before + 2 && load_acquire(&wrong) == 0;
  }
};

struct Tally {
  std::uint32_t tried = 0;
  std::uint32_t recovered = 0;
  std::uint32_t undisturbed = 0;
  bool known = false;
};

void perform(Scene& scene, Bystander& bystander, const HostileCase& misdeed, Tally* tally) {
  bool started = scene.start();
  scene.begin_outcome();
  const std::uint64_t before = load_acquire(&bystander.rounds);
  if (started) misdeed.act(scene);
  const Outcome outcome = scene.outcome();
  const bool undisturbed = bystander.undisturbed(before);
  // Whatever happened: a reset must bring back a device that reads as before.
  const bool recovered = started && scene.start() && scene.read_works();
  ++tally->tried;
  if (recovered) ++tally->recovered;
  if (undisturbed) ++tally->undisturbed;
  JsonLine line("hostile");
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

/// What the vCPUs share.
struct Trial {
  Scene& scene;
  Bystander& bystander;
  const Text& which;
  Tally tally;
};

void perform_all(Trial* trial) {
  const HostileCase* const lists[] = {kHostileRing, kHostileRegisters, kHostileBlock};
  for (const HostileCase* misdeed : lists) {
    for (; misdeed->name != nullptr; ++misdeed) {
      if (!trial->which.equals("all") && !trial->which.equals(misdeed->name)) continue;
      trial->tally.known = true;
      perform(trial->scene, trial->bystander, *misdeed, &trial->tally);
    }
  }
}

void take_part(std::uint32_t cpu, void* context) {
  auto* trial = static_cast<Trial*>(context);
  if (cpu != 0) {
    trial->bystander.testify();
    return;
  }
  perform_all(trial);
  store_release(&trial->bystander.over, std::uint32_t{1});
}

}  // namespace

std::uint32_t run_hostile(Disk* disk, const Options& options, std::uint32_t vcpus) {
  if (!disk->negotiate(options.event_idx, true)) fail(kExitFailed, disk->error());
  Scene scene(disk, &options, options.witness ? 1 : vcpus);
  const char* error = scene.create();
  if (error != nullptr) fail(kExitFailed, error);
  if (!scene.start() || !scene.read_works()) fail(kExitFailed, "an honest read does not work");
  Bystander bystander;
  Scene other(&bystander.disk, &options);
  if (bystander.disk.find(options.disk + 1)) error = bystander.bring_up(&other, options);
  if (error != nullptr) fail(kExitFailed, error);
  Trial trial{scene, bystander, options.hostile, {}};
  if (options.witness) {
    if (vcpus < 2 || bystander.scene == nullptr || bystander.disk.has(kBlkFeatureReadOnly) ||
        bystander.disk.capacity() < std::uint64_t{Scene::kWitnessBlocks} * Scene::kDataBytes) {
      fail(kExitUsage, "witness=on needs vcpus=2 and a second disk that can be written");
    }
    bystander.witness = true;
    run_on_processors(2, take_part, &trial);
  } else {
    perform_all(&trial);
  }
  const Tally& tally = trial.tally;
  if (!tally.known) fail(kExitUsage, "unknown hostile case");
  const bool good = tally.tried == tally.recovered && tally.tried == tally.undisturbed;
  JsonLine line("result");
  line.text("workload", "hostile")
      .number("vcpus", vcpus)
      .number("tried", tally.tried)
      .number("recovered", tally.recovered)
      .boolean("bystander", bystander.scene != nullptr);
  if (bystander.witness) line.number("witness_operations", bystander.rounds);
  line.boolean("verified", good).send();
  return good ? kExitDone : kExitFailed;
}

}  // namespace bellhop::guest

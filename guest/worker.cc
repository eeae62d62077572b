#include "guest/worker.h"

#include "guest/clock.h"
#include "guest/console.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "guest/pattern.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/config.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

constexpr std::uint32_t kInFlight = 1U << 31;
constexpr std::uint64_t kReadBackBlocks = 512;
constexpr std::uint64_t kReadBackTries = 100'000;
constexpr std::uint8_t kStatusUnwritten = 0xff;

}  // namespace

void Figures::add(const Figures& other) {
  operations += other.operations;
  bytes += other.bytes;
  blocks_verified += other.blocks_verified;
  wrong_blocks += other.wrong_blocks;
  io_errors += other.io_errors;
  kicks += other.kicks;
  suppressed += other.suppressed;
  interrupts += other.interrupts;
  halts += other.halts;
  empty_wakeups += other.empty_wakeups;
  wrapped += other.wrapped;
  digest += other.digest;
  queue_resets += other.queue_resets;
}

const char* Worker::create(Disk* disk, const Options* options, Stage* stage, std::uint32_t index,
                           std::uint32_t count, std::uint64_t span) {
  disk_ = disk;
  options_ = options;
  stage_ = stage;
  index_ = index;
  span_ = span;
  // One is enough: the others are to go on meanwhile.
  resets_left_ = index == 0 ? options->queue_resets : 0;
  interrupts_ = interrupt_counter(index);
  needs_acknowledge_ = disk->transport()->needs_acknowledge();
  slot_count_ = options->threads / count + (index < options->threads % count ? 1 : 0);
  random_state_ = pattern::mix(options->seed * 64 + index + 1);

  const std::uint32_t bs = options->block_bytes;
  const std::uint64_t blocks = (span + bs - 1) / bs;
  first_ = blocks * index / count * bs;
  last_ = blocks * (index + 1) / count * bs;
  if (last_ > span) last_ = span;
  cursor_ = first_;

  shape_ = {bs, bs, options->indirect};
  if (disk->size_max() != 0 && disk->size_max() < bs) shape_.segment_bytes = disk->size_max();
  if (shape_.segments() > disk->seg_max() && shape_.segments() > 1) {
    return "bs needs more segments than the disk takes (seg_max)";
  }
  if (shape_.ring_entries() * slot_count_ > options->queue_size ||
      shape_.descriptors() > options->queue_size) {
    return "size is too small for so many threads";
  }
  if (!queue_.create(options->queue_size, options->event_idx, options->packed, options->stamps) ||
      (options->in_order && !queue_.use_in_order())) {
    return "out of memory";
  }
  slots_ = allocate_array<Slot>(slot_count_);
  if (shape_.indirect) tables_ = allocate_array<Desc>(slot_count_ * shape_.descriptors());
  auto* data = static_cast<std::uint8_t*>(allocate(std::size_t{slot_count_} * bs, 4096));
  if (slots_ == nullptr || data == nullptr || (shape_.indirect && tables_ == nullptr)) {
    return "out of memory for the requests";
  }
  const bool keeps_generations =
      options->workload == Workload::kRandWrite || options->workload == Workload::kCreate;
  if (keeps_generations) {
    if ((last_ - first_) / bs < 2 * slot_count_) return "span is too small for so many threads";
    generations_ = allocate_array<std::uint32_t>((last_ - first_) / bs);
    if (generations_ == nullptr) return "out of memory for the generations: use a smaller span";
  }
  for (std::uint32_t i = 0; i < slot_count_; ++i) {
    slots_[i].data = data + std::size_t{i} * bs;
    build_chain(&queue_, &slots_[i], i, shape_,
                tables_ == nullptr ? nullptr : tables_ + i * shape_.descriptors(),
                options->writes() ? kBlkTypeOut : kBlkTypeIn);
  }
  return nullptr;
}

std::uint64_t Worker::random_below(std::uint64_t limit) {
  random_state_ += 0x9e37'79b9'7f4a'7c15;
  std::uint64_t low = pattern::mix(random_state_);
  std::uint64_t high = 0;
  asm("mulq %2" : "+a"(low), "=d"(high) : "r"(limit) : "cc");
  return high;
}

bool Worker::next_sequential(std::uint64_t* offset) {
  if (cursor_ >= last_) {
    if (!options_->timed()) return false;
    cursor_ = first_;
    ++figures_.wrapped;
  }
  *offset = cursor_;
  cursor_ += options_->block_bytes;
  return true;
}

bool Worker::next_random_write(std::uint64_t* offset) {
  const std::uint64_t blocks = (last_ - first_) / options_->block_bytes;
  // At most slot_count_ blocks of at least twice as many are in flight: this ends.
  do {
    const std::uint64_t block = random_below(blocks);
    *offset = first_ + block * options_->block_bytes;
  } while ((generation_of(*offset) & kInFlight) != 0);
  return true;
}

void Worker::fill(Slot* slot) {
  if (generations_ != nullptr) {
    std::uint32_t& generation = generation_of(slot->offset);
    generation = generation == 0 ? static_cast<std::uint32_t>(options_->generation)
                                 : (generation & ~kInFlight) + 1;
    slot->generation = generation;
    generation |= kInFlight;
  } else {
    slot->generation = options_->generation;
  }
  const std::uint64_t block = slot->offset / pattern::kBlockBytes;
  for (std::uint32_t i = 0; i < slot->bytes / pattern::kBlockBytes; ++i) {
    pattern::fill_block(slot->data + i * pattern::kBlockBytes, block + i, slot->generation,
                        options_->seed);
  }
}

bool Worker::next_request(Slot* slot) {
  std::uint64_t offset = 0;
  switch (options_->workload) {
    case Workload::kRandRead: {
      const std::uint64_t blocks = span_ / options_->block_bytes;
      offset = random_below(blocks) * options_->block_bytes;
      break;
    }
    case Workload::kRandWrite:
      if (!next_random_write(&offset)) return false;
      break;
    default:
      if (!next_sequential(&offset)) return false;
      break;
  }
  slot->offset = offset;
  if (last_ - offset < slot->bytes && offset < last_) {
    // The end of a disk that is no multiple of bs: rebuild the chain for what is left.
    ChainShape shape = shape_;
    shape.block_bytes = static_cast<std::uint32_t>(last_ - offset);
    const auto number = static_cast<std::uint32_t>(slot - slots_);
    if (!shape.indirect) return false;
    build_chain(&queue_, slot, number, shape, tables_ + number * shape_.descriptors(),
                options_->writes() ? kBlkTypeOut : kBlkTypeIn);
  }
  if (options_->writes()) fill(slot);
  return true;
}

void Worker::submit(Slot* slot) {
  slot->header.sector = slot->offset / kBlkSectorBytes;
  slot->status = kStatusUnwritten;
  slot->submitted = read_tsc();
  queue_.stamp_offered(slot->head, slot->submitted);
  queue_.push(slot->head);
  if (options_->publish_each) queue_.show();
  slot->in_flight = true;
  ++in_flight_;
}

void Worker::note_wrong(const Slot& slot, std::uint32_t block) {
  if (figures_.wrong_blocks++ != 0) return;
  first_wrong_.offset = slot.offset + block * pattern::kBlockBytes;
  first_wrong_.expected_generation = slot.generation;
  __builtin_memcpy(first_wrong_.words, slot.data + block * pattern::kBlockBytes,
                   sizeof(first_wrong_.words));
}

void Worker::verify(Slot* slot) {
  const std::uint64_t block = slot->offset / pattern::kBlockBytes;
  const std::uint32_t count = slot->bytes / pattern::kBlockBytes;
  if (options_->workload == Workload::kVerify) {
    for (std::uint32_t i = 0; i * pattern::kBlockBytes < slot->bytes; ++i) {
      const std::uint32_t left = slot->bytes - i * static_cast<std::uint32_t>(pattern::kBlockBytes);
      figures_.digest +=
          pattern::image_digest_term(block + i, slot->data + i * pattern::kBlockBytes,
                                     left < pattern::kBlockBytes ? left : pattern::kBlockBytes);
    }
    figures_.blocks_verified += (slot->bytes + pattern::kBlockBytes - 1) / pattern::kBlockBytes;
    return;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint64_t generation = 0;
    const bool good = pattern::check_block(slot->data + i * pattern::kBlockBytes, block + i,
                                           options_->seed, &generation);
    if (!good || (phase_ == Phase::kReadBack && generation != slot->generation)) {
      note_wrong(*slot, i);
    }
  }
  figures_.blocks_verified += count;
}

void Worker::finish(Slot* slot) {
  const std::uint64_t now = read_tsc();
  progress_ = now;
  queue_.stamp_seen(slot->head, now);
  slot->in_flight = false;
  --in_flight_;
  if (slot->status != kBlkStatusOk) {
    ++figures_.io_errors;
  } else if (options_->check && (phase_ == Phase::kReadBack || !options_->writes())) {
    verify(slot);
  }
  if (generations_ != nullptr) generation_of(slot->offset) &= ~kInFlight;
  if (phase_ != Phase::kMeasure) return;
  ++figures_.operations;
  figures_.bytes += slot->bytes;
  // Those in flight when the time began had waited for the "begin" line to be printed.
  if (slot->submitted >= stage_->begin) latency_.add(now - slot->submitted);
}

/// Null, and an error is counted, if nothing that begins at `head` was asked.
Slot* Worker::slot_of(std::uint32_t head) {
  const std::uint32_t number = slot_number(head, shape_);
  if (number < slot_count_ && slots_[number].head == head && slots_[number].in_flight) {
    return &slots_[number];
  }
  ++figures_.io_errors;
  return nullptr;
}

/// The queue by itself (2.6.1): what has been answered by then counts, what has not is asked again.
const char* Worker::reset_queue() {
  const auto index = static_cast<std::uint16_t>(index_);
  if (!disk_->transport()->reset_queue(index)) return "the reset of a queue does not end";
  std::uint32_t head = 0;
  std::uint32_t written = 0;
  while (queue_.pop(&head, &written)) {
    if (Slot* slot = slot_of(head)) finish(slot);
  }
  queue_.clear();
  if (!disk_->enable_queue(&queue_, index, index_)) return disk_->error();
  for (std::uint32_t i = 0; i < slot_count_; ++i) {
    Slot* slot = &slots_[i];
    if (slot->in_flight) {
      slot->status = kStatusUnwritten;
      queue_.push(slot->head);
    } else if (next_request(slot)) {
      submit(slot);
    }
  }
  queue_.publish();
  --resets_left_;
  ++figures_.queue_resets;
  return nullptr;
}

std::uint32_t Worker::reap() {
  std::uint32_t head = 0;
  std::uint32_t written = 0;
  std::uint32_t count = 0;
  while (queue_.pop(&head, &written)) {
    ++count;
    Slot* slot = slot_of(head);
    if (slot == nullptr) continue;
    finish(slot);
    const bool more = phase_ == Phase::kDrain      ? false
                      : phase_ == Phase::kReadBack ? next_read_back(slot)
                                                   : next_request(slot);
    if (more) submit(slot);
  }
  queue_.publish();
  return count;
}

void Worker::begin() {
  // Wrong blocks, errors and the digest count from the first request on; speed counts from here.
  figures_.operations = figures_.bytes = 0;
  figures_.halts = figures_.empty_wakeups = 0;
  base_.kicks = queue_.counters().kicks;
  base_.suppressed = queue_.counters().suppressed;
  base_.interrupts = load_relaxed(interrupts_);
  latency_.clear();
  phase_ = Phase::kMeasure;
}

void Worker::freeze() {
  figures_.kicks = queue_.counters().kicks - base_.kicks;
  figures_.suppressed = queue_.counters().suppressed - base_.suppressed;
  figures_.interrupts = static_cast<std::uint32_t>(load_relaxed(interrupts_) -
                                                   static_cast<std::uint32_t>(base_.interrupts));
  phase_ = Phase::kDrain;
}

void Worker::step(std::uint64_t now) {
  if (phase_ == Phase::kWarmup) {
    if (index_ == 0 && now - started_ >= us_to_cycles(options_->warmup_milliseconds * 1000)) {
      JsonLine("begin").send();
      write_mark(Mark::kBegin);
      store_release(&stage_->begin, read_tsc());
    }
    if (load_acquire(&stage_->begin) != 0) begin();
  } else if (phase_ == Phase::kMeasure && options_->timed() && resets_left_ == 0 &&
             now - stage_->begin >= us_to_cycles(options_->milliseconds * 1000)) {
    freeze();
    if (index_ == 0) {
      store_release(&stage_->end, now);
      write_mark(Mark::kEnd);
      JsonLine("end").send();
    }
  }
}

const char* Worker::turn() {
  // With answers to be taken, so that requests go on between one and the next.
  if (resets_left_ != 0 && phase_ == Phase::kMeasure && queue_.has_finished()) {
    return reset_queue();
  }
  if (reap() != 0) return nullptr;
  if (in_flight_ == 0) return nullptr;
  const std::uint64_t now = read_tsc();
  if (now - progress_ > us_to_cycles(options_->timeout_milliseconds * 1000)) {
    const std::uint8_t status = disk_->transport()->status();
    return (status & kStatusNeedsReset) != 0 ? "the device wants a reset"
                                             : "a request is not answered in time";
  }
  if (now - progress_ < poll_cycles_) {
    cpu_relax();
    return nullptr;
  }
  if (options_->spin) {
    queue_.disarm();
    cpu_relax();
    return nullptr;
  }
  const std::uint32_t seen = load_acquire(interrupts_);
  if (needs_acknowledge_ && seen != acknowledged_) {
    acknowledged_ = seen;
    disk_->transport()->acknowledge();
  }
  if (!queue_.arm()) {
    ++figures_.halts;
    wait_for_interrupt(interrupts_, seen);
    if (load_acquire(interrupts_) != seen && !queue_.has_finished()) ++figures_.empty_wakeups;
  }
  // Flags ask for interrupts until they are taken back, and a packed ring comes by the same event
  // once more.
  if (!options_->event_idx || queue_.packed()) queue_.disarm();
  return nullptr;
}

const char* Worker::run() {
  started_ = progress_ = read_tsc();
  poll_cycles_ = us_to_cycles(options_->poll_us);
  step(started_);
  for (std::uint32_t i = 0; i < slot_count_; ++i) {
    if (next_request(&slots_[i])) submit(&slots_[i]);
  }
  queue_.publish();
  while (in_flight_ != 0) {
    const char* error = turn();
    if (error != nullptr) return error;
    step(read_tsc());
  }
  if (phase_ != Phase::kDrain) freeze();
  if (generations_ != nullptr && options_->check && figures_.io_errors == 0) {
    return read_back_sample();
  }
  return nullptr;
}

bool Worker::next_read_back(Slot* slot) {
  const std::uint64_t blocks = (last_ - first_) / options_->block_bytes;
  while (read_back_ < kReadBackBlocks && read_back_tries_++ < kReadBackTries) {
    const std::uint64_t block = random_below(blocks);
    if (generations_[block] == 0) continue;
    slot->offset = first_ + block * options_->block_bytes;
    slot->generation = generations_[block] & ~kInFlight;
    ++read_back_;
    return true;
  }
  return false;
}

// What was written must come back, in its last generation: a sample of it is read after the end.
const char* Worker::read_back_sample() {
  phase_ = Phase::kReadBack;
  progress_ = read_tsc();
  for (std::uint32_t i = 0; i < slot_count_; ++i) {
    build_chain(&queue_, &slots_[i], i, shape_,
                tables_ == nullptr ? nullptr : tables_ + i * shape_.descriptors(), kBlkTypeIn);
    if (next_read_back(&slots_[i])) submit(&slots_[i]);
  }
  queue_.publish();
  while (in_flight_ != 0) {
    const char* error = turn();
    if (error != nullptr) return error;
  }
  return nullptr;
}

}  // namespace bellhop::guest

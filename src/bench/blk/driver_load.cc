#include "bench/blk/driver_load.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "bench/harness/bench_image.h"
#include "bench/harness/cpu_account.h"
#include "virtio/abi/blk.h"

namespace bellhop::bench {

namespace {

constexpr std::uint64_t kHeaders = 0x400000;
constexpr std::uint64_t kStatuses = 0x500000;
constexpr std::uint64_t kData = 0x800000;
constexpr std::size_t kReadBack = 512;
constexpr int kPatienceMs = 10'000;
constexpr int kBetweenLooksMs = 100;
constexpr std::size_t kNoSlot = SIZE_MAX;
constexpr unsigned kFillDepth = 64;

bool is_writing(Workload workload) {
  return workload == Workload::kCreate || workload == Workload::kRandWrite;
}

std::chrono::steady_clock::duration span_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

}  // namespace

/// A moment between which and another one is measured.
struct DriverLoad::Mark {
  Clock::time_point time;
  CpuSample own;
  CpuSample server;
  std::uint64_t kicks = 0;
  std::uint64_t spurious_kicks = 0;  ///< of a device in this process
  std::uint64_t interrupts = 0;
};

std::uint64_t DriverLoad::memory_bytes(unsigned block_bytes) {
  return kData + std::uint64_t{kQueueSize} * block_bytes;
}

DriverLoad::DriverLoad(DrivenDisk disk, const Setting& setting, const EventFd& interrupt)
    : disk_(disk),
      setting_(setting),
      interrupt_(interrupt),
      blocks_(disk.bytes / setting.block_bytes),
      writes_(is_writing(setting.workload)),
      generation_(pattern::kFirstGeneration + 1),
      slots_(setting.depth),
      slot_of_head_(kQueueSize, kNoSlot) {}

std::uint64_t DriverLoad::next_offset() {
  const std::uint64_t n = issued_++;
  if (offsets_ != nullptr) return (*offsets_)[n % offsets_->size()];
  const bool random =
      setting_.workload == Workload::kRandRead || setting_.workload == Workload::kRandWrite;
  return (random ? pattern::mix(n + 1) : n) % blocks_ * setting_.block_bytes;
}

void DriverLoad::issue(std::size_t index) {
  const unsigned block_bytes = setting_.block_bytes;
  Slot& slot = slots_[index];
  slot.offset = next_offset();
  const GuestAddress header_at(kHeaders + index * sizeof(virtio::BlkRequestHeader));
  const GuestAddress data_at(kData + index * block_bytes);
  const GuestAddress status_at(kStatuses + index);
  virtio::BlkRequestHeader header{};
  header.type = writes_ ? virtio::kBlkTypeOut : virtio::kBlkTypeIn;
  header.sector = slot.offset / 512;
  (void)disk_.memory.write(header_at, std::as_bytes(std::span(&header, 1)));
  for (std::uint32_t at = 0; writes_ && setting_.check && at < block_bytes;
       at += pattern::kBlockBytes) {
    pattern::fill_block(block_.data(), (slot.offset + at) / pattern::kBlockBytes, generation_,
                        kImageSeed);
    (void)disk_.memory.write(GuestAddress(data_at.value() + at), block_);
  }
  const std::array untouched{std::byte{0xff}};
  (void)disk_.memory.write(status_at, untouched);
  slot.start = Clock::now();
  const auto head = disk_.driver.add(
      {{header_at, sizeof header, false}, {data_at, block_bytes, !writes_}, {status_at, 1, true}});
  slot_of_head_[head.value_or(0)] = index;  // a ring of 256 has room for every thread
  ++in_flight_;
}

Status DriverLoad::finish(std::size_t index, Clock::time_point now) {
  const Slot& slot = slots_[index];
  --in_flight_;
  std::array<std::byte, 1> status{};
  (void)disk_.memory.read(GuestAddress(kStatuses + index), status);
  if (status[0] != std::byte{virtio::kBlkStatusOk}) {
    return fail(fmt::format("the request at {} failed: no figure", slot.offset));
  }
  for (std::uint32_t at = 0; !writes_ && setting_.check && at < setting_.block_bytes;
       at += pattern::kBlockBytes) {
    (void)disk_.memory.read(GuestAddress(kData + index * setting_.block_bytes + at), block_);
    std::uint64_t generation = 0;
    if (!pattern::check_block(block_.data(), (slot.offset + at) / pattern::kBlockBytes, kImageSeed,
                              &generation)) {
      return fail(fmt::format("wrong data at {}: no figure", slot.offset + at));
    }
  }
  if (writes_ && written_.size() < kReadBack) written_.push_back(slot.offset);
  ++finished_;
  latencies_ns_.push_back(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - slot.start).count()));
  return {};
}

void DriverLoad::kick() {
  ++kicks_;
  disk_.device.kick(0);
}

Status DriverLoad::wait() {
  const EventFd& call = disk_.device.call(0);
  for (int waited_ms = 0; waited_ms < kPatienceMs; waited_ms += kBetweenLooksMs) {
    pollfd fds[2] = {{call.get(), POLLIN, 0}, {interrupt_.get(), POLLIN, 0}};
    (void)::poll(fds, 2, kBetweenLooksMs);
    if (fds[1].revents != 0) return fail("interrupted", kEndedByUser);
    if (fds[0].revents != 0) {
      ++wakeups_;
      (void)call.consume();
      return {};
    }
    if (disk_.device.resets_needed() > 0)
      return fail("the device has gone with requests in flight");
  }
  return fail("requests in flight were not answered", ETIMEDOUT);
}

Status DriverLoad::look(Clock::time_point now) {
  if (now < look_at_) return {};
  look_at_ = now + std::chrono::milliseconds(kBetweenLooksMs);
  pollfd interrupt{interrupt_.get(), POLLIN, 0};
  if (::poll(&interrupt, 1, 0) > 0) return fail("interrupted", kEndedByUser);
  return {};
}

template <class More>
Status DriverLoad::drive(More&& more) {
  for (std::size_t i = 0; i < slots_.size(); ++i) issue(i);
  if (disk_.driver.offer()) kick();
  while (in_flight_ > 0) {
    const Clock::time_point now = Clock::now();
    if (auto looked = look(now); !looked) return looked;
    auto goes_on = more(now);
    if (!goes_on) return forward(goes_on);
    disk_.driver.suppress_interrupts();
    bool some = false;
    while (const auto used = disk_.driver.reap()) {
      some = true;
      if (used->id >= kQueueSize || slot_of_head_[used->id] == kNoSlot) {
        return fail("the device answers a request that it was not given: no figure");
      }
      const std::size_t index = std::exchange(slot_of_head_[used->id], kNoSlot);
      if (auto good = finish(index, Clock::now()); !good) return good;
      if (*goes_on) issue(index);
    }
    if (disk_.driver.offer()) kick();
    if (!some && in_flight_ > 0 && !disk_.driver.enable_interrupts()) {
      if (auto waited = wait(); !waited) return waited;
    }
  }
  return {};
}

Status DriverLoad::fill() {
  std::vector<std::uint64_t> all;
  all.reserve(blocks_);
  for (std::uint64_t i = 0; i < blocks_; ++i) all.push_back(i * setting_.block_bytes);
  offsets_ = &all;
  writes_ = true;
  generation_ = pattern::kFirstGeneration;
  slots_.resize(kFillDepth);
  Status filled = drive([&](auto) -> Result<bool> { return issued_ < blocks_; });
  offsets_ = nullptr;
  writes_ = is_writing(setting_.workload);
  generation_ = pattern::kFirstGeneration + 1;
  slots_.resize(setting_.depth);
  issued_ = 0;
  written_.clear();
  return filled;
}

Status DriverLoad::read_back() {
  if (!setting_.check || written_.empty()) return {};
  if (setting_.image < 0) {
    offsets_ = &written_;
    writes_ = false;
    issued_ = 0;
    return drive([&](auto) -> Result<bool> { return issued_ < written_.size(); });
  }
  for (const std::uint64_t offset : written_) {
    std::uint64_t generation = 0;
    const ssize_t got =
        ::pread(setting_.image, block_.data(), block_.size(), static_cast<off_t>(offset));
    if (got != static_cast<ssize_t>(block_.size()) ||
        !pattern::check_block(block_.data(), offset / pattern::kBlockBytes, kImageSeed,
                              &generation)) {
      return fail(fmt::format("wrong data at {}: no figure", offset));
    }
  }
  return {};
}

Result<DriverLoad::Mark> DriverLoad::mark() const {
  Mark mark;
  auto own = CpuSample::take(::getpid());
  if (!own) return forward(own);
  mark.own = std::move(*own);
  if (disk_.server != 0) {
    auto server = CpuSample::take(disk_.server);
    if (!server) return forward(server);
    mark.server = std::move(*server);
    mark.kicks = kicks_;
    mark.interrupts = wakeups_;
  } else {
    const QueueCounters& counters = disk_.device.life().counters(0);
    mark.kicks = counters.kicks.get();
    mark.spurious_kicks = counters.spurious_kicks.get();
    mark.interrupts = counters.interrupts.get();
  }
  mark.time = Clock::now();
  return mark;
}

Result<Measurement> DriverLoad::run(double warmup_s, double seconds) {
  Clock::time_point limit = Clock::now() + span_of(warmup_s);
  std::optional<Mark> begin;
  std::optional<Mark> end;
  std::uint64_t operations = 0;
  latencies_ns_.reserve(1 << 20);
  const Status driven = drive([&](Clock::time_point now) -> Result<bool> {
    if (end || now < limit) return !end;
    auto taken = mark();
    if (!taken) return forward(taken);
    if (!begin) {
      begin = std::move(*taken);
      finished_ = 0;
      latencies_ns_.clear();
      limit = begin->time + span_of(seconds);
      return true;
    }
    end = std::move(*taken);
    operations = finished_;
    return false;
  });
  if (!driven) return forward(driven);
  std::vector<std::uint32_t> latencies = std::move(latencies_ns_);
  latencies_ns_.clear();
  if (auto same = read_back(); !same) return forward(same);
  if (!begin || !end || operations == 0) return fail("nothing was done in the measured time");

  Measurement m;
  m.seconds = std::chrono::duration<double>(end->time - begin->time).count();
  m.operations = operations;
  m.bytes = operations * setting_.block_bytes;
  const CpuUse own = used_between(begin->own, end->own, {::gettid()});
  if (disk_.server == 0) {
    add_cpu_use(m, own);
  } else {
    add_cpu_use(m, used_between(begin->server, end->server, {}));
    m.vcpu_cpu_s = own.vcpu_s;
    m.vcpu_run_delay_s = own.vcpu_run_delay_s;
  }
  m.counters.kicks = end->kicks - begin->kicks;
  if (disk_.server == 0) m.counters.spurious_kicks = end->spurious_kicks - begin->spurious_kicks;
  m.counters.interrupts = end->interrupts - begin->interrupts;
  std::ranges::sort(latencies);
  const auto percentile = [&latencies](double part) {
    const auto last = static_cast<double>(latencies.size() - 1);
    return latencies[static_cast<std::size_t>(part * last)] * 1e-3;
  };
  m.latency = {percentile(0.5), percentile(0.99), percentile(0.999), percentile(1)};
  return m;
}

}  // namespace bellhop::bench

#include "devices/rng/rng_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

namespace bellhop {

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40;
constexpr unsigned kMaxPeriod = 3'600'000;  // an hour
/// When a source that had nothing is asked again. Not every source can be waited for, and nobody
/// who wants random bytes is in that much of a hurry.
constexpr std::chrono::milliseconds kAskAgain{10};
/// The same for a source that failed, or came to its end.
constexpr std::chrono::milliseconds kAskAgainAfterError{1000};
/// What a request costs of a turn at least, however short it is.
constexpr std::size_t kMinCost = 64;

}  // namespace

const DeviceOption RngConfig::kOption = {
    .name = "rng",
    .summary = "A virtio-rng; may be given again",
    .value = "[src=FILE,...]",
    .keys = R"(
  src=FILE                 where the bytes come from (/dev/urandom)
  max-bytes=N  period=MS   no more than N bytes in MS milliseconds (1000); without: as many as asked
  id=, notify=, optimize=, coalesce=, iothread=, packed=, queue-reset=, notification-data=,
  in-order=                as for --disk)",
    .bare_key = "src",
    .may_be_bare = true,
    .served_as = "rng",
};

Result<RngConfig> RngConfig::parse(const PropertyList& properties) {
  RngConfig rng;
  PropertyReader reader("--rng", properties);
  reader.text("src", rng.source);
  reader.size("max-bytes", rng.max_bytes, 1, kMaxBytes);
  auto period = static_cast<unsigned>(rng.period.count());
  reader.number("period", period, 1, kMaxPeriod);
  rng.period = std::chrono::milliseconds(period);
  if (reader.has("period") && !reader.has("max-bytes")) {
    reader.refuse("period", "period= needs max-bytes=N, the bytes that the guest may have in it");
  }
  read_common_keys(reader, properties, rng);
  if (auto status = reader.finish(); !status) return forward(status);
  return rng;
}

Status RngConfig::check_files(FileRoles& roles) const {
  return roles.add(fmt::format("--rng {}", id), source, FileUse::kRead);
}

Result<std::unique_ptr<VirtioDevice>> make_device(const RngConfig& config,
                                                  const DeviceHost& /*host*/) {
  // Not blocking: a source that has nothing yet must not keep an I/O thread.
  UniqueFd source(::open(config.source.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat info {};
  if (!source.valid() || ::fstat(source.get(), &info) != 0) {
    return fail_errno(fmt::format("--rng: cannot open {}", config.source));
  }
  if (!S_ISCHR(info.st_mode) && !S_ISFIFO(info.st_mode) && !S_ISREG(info.st_mode)) {
    return fail(
        fmt::format("--rng: {} is no source of random bytes: it must be a character device, "
                    "a pipe or a file",
                    config.source));
  }
  return std::make_unique<RngDevice>(std::move(source), config);
}

RngDevice::RngDevice(UniqueFd source, RngConfig config)
    : source_(std::move(source)),
      config_(std::move(config)),
      traits_{.type = virtio::DeviceType::kRng,
              .id = config_.id,
              .queue_count = 1,
              .queue_max_size = kQueueSize} {}

Status RngDevice::activate(std::uint64_t /*features*/, std::span<QueueRunner* const> queues) {
  runner_ = queues[0];
  if (runner_ != nullptr) runner_->set_handler(this);
  return {};
}

void RngDevice::reset() noexcept {
  if (runner_ == nullptr) return;
  // The timer may fire until it is stopped.
  runner_->thread().run_sync([this] { runner_->thread().loop().stop_timer(*this); });
  runner_ = nullptr;
}

std::vector<DeviceStat> RngDevice::stats() const {
  return {{"requests", counters_.requests.get()},
          {"bytes", counters_.bytes.get()},
          {"limited", counters_.limited.get()},
          {"source_empty", counters_.source_empty.get()},
          {"source_errors", counters_.source_errors.get()},
          {"guest_faults", counters_.guest_faults.get()}};
}

void RngDevice::drain() noexcept {
  std::size_t turn = kBytesInOneTurn;
  while (turn != 0) {
    if (runner_->pop(chain_) != Pop::kChain) return;
    if (chain_.writable_bytes() == 0) {
      counters_.guest_faults.add();
      runner_->complete(chain_, 0);
      turn -= std::min(turn, kMinCost);
      continue;
    }
    const std::size_t allowed = allowance();
    if (allowed == 0) {
      counters_.limited.add();
      return put_back_and_wait(period_ends_ - Clock::now());
    }
    const ssize_t result = read(std::min(turn, allowed));
    if (result <= 0) return source_failed(result);
    const auto bytes = static_cast<std::size_t>(result);
    failing_.store(false, std::memory_order_relaxed);
    if (config_.max_bytes != 0) left_ -= bytes;
    turn -= std::min(turn, std::max(bytes, kMinCost));
    counters_.requests.add();
    counters_.bytes.add(bytes);
    runner_->complete(chain_, static_cast<std::uint32_t>(bytes));
  }
  runner_->yield();
}

/// What the guest may have now.
std::size_t RngDevice::allowance() noexcept {
  if (config_.max_bytes == 0) return SIZE_MAX;
  const auto now = Clock::now();
  if (now >= period_ends_) {
    left_ = config_.max_bytes;
    period_ends_ = now + config_.period;
  }
  return left_;
}

/// Reads into the chain: bytes, or -errno.
ssize_t RngDevice::read(std::size_t most) noexcept {
  std::size_t count = 0;
  for (const GuestSpan& buffer : chain_.writable()) {
    if (most == 0) break;
    room_[count] = buffer.part(0, most).as_iovec();
    most -= room_[count++].iov_len;
  }
  ssize_t done = 0;
  do {
    done = ::readv(source_.get(), room_.data(), static_cast<int>(count));
    runner_->counters().system_calls.add();
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : done;
}

void RngDevice::source_failed(ssize_t result) noexcept {
  if (result == -EAGAIN) {
    counters_.source_empty.add();
    return put_back_and_wait(kAskAgain);
  }
  counters_.source_errors.add();
  if (!failing_.exchange(true, std::memory_order_relaxed)) {
    // Its thread shall not wait for a terminal. The message comes before reset() is done.
    runner_->thread().loop().post([this, result] {
      log_.warn("{}: {} gives nothing: {}; the guest waits", config_.id, config_.source,
                result == 0 ? "it has come to its end"
                            : std::generic_category().message(static_cast<int>(-result)).c_str());
    });
  }
  put_back_and_wait(kAskAgainAfterError);
}

void RngDevice::put_back_and_wait(std::chrono::nanoseconds time) noexcept {
  [[maybe_unused]] const bool back = runner_->rewind(chain_);
  assert(back);
  runner_->park();
  runner_->thread().start_timer(*this, time);
}

}  // namespace bellhop

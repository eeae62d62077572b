#include "block/raw_file.h"

#include <fmt/format.h>

#include <atomic>
#include <system_error>

#include "base/log.h"
#include "base/resizable.h"
#include "block/aio_queue.h"
#include "block/disk_file.h"
#include "block/image_format.h"
#include "block/inline_queue.h"
#include "block/thread_queue.h"
#include "block/uring_queue.h"
#include "block/worker_pool.h"

namespace bellhop {

namespace {

class RawFileBackend final : public BlockBackend, public Resizable {
 public:
  RawFileBackend(DiskFile file, Aio aio)
      : file_(std::move(file)), aio_(aio), workers_(file_), reserve_(engine(), file_.fd()) {}

  [[nodiscard]] const BlockLimits& limits() const noexcept override { return file_.limits(); }

  [[nodiscard]] Result<std::uint64_t> measure() const override { return file_.measure(); }

  Status resize(std::uint64_t bytes) override { return file_.grow(bytes); }

  [[nodiscard]] const char* kind() const noexcept override { return to_string(aio_); }

  Status reserve(unsigned queues, unsigned depth, QueueSharing sharing, LoopKind loop) override {
    return reserve_.fill(queues, depth, UringQueue::uses_own_ring(sharing, loop));
  }

  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop& loop, QueueSharing sharing,
                                                 unsigned depth) override {
    const bool own_ring = UringQueue::uses_own_ring(sharing, loop.kind());
    auto parts = reserve_.take(depth, own_ring);
    if (!parts) return forward(parts);
    FileQueue::Setup setup{file_, workers_, loop, sharing, std::move(*parts)};
    if (works_inline()) return InlineQueue::create(std::move(setup));
    const bool uring = engine() == Aio::kIoUring && (!own_ring || setup.parts->ring);
    if (uring) return UringQueue::create(std::move(setup));
    if (setup.parts->aio.valid()) return AioQueue::create(std::move(setup));
    return ThreadQueue::create(std::move(setup));
  }

 private:
  [[nodiscard]] bool works_inline() const noexcept {
    return file_.in_memory() && aio_ != Aio::kThreads;
  }
  /// That which needs something of the host.
  [[nodiscard]] Aio engine() const noexcept { return works_inline() ? Aio::kThreads : aio_; }

  DiskFile file_;
  Aio aio_;
  WorkerPool workers_;
  EngineReserve reserve_;
};

Status try_engine(Aio aio, const DiskFile& file) {
  return EngineReserve(aio, file.fd()).try_engine();
}

/// What nobody named: the best that this host has.
Aio choose_engine(const RawFileSource& source, const DiskFile& file) {
  if (file.in_memory()) return Aio::kIoUring;
  const auto uring = try_engine(Aio::kIoUring, file);
  if (uring) return Aio::kIoUring;
  const bool native = source.cache == Cache::kNone && try_engine(Aio::kNative, file);
  const Aio aio = native ? Aio::kNative : Aio::kThreads;
  // Once: it is the same for all disks.
  static std::atomic_flag told;
  if (!told.test_and_set()) {
    // log: at start
    log::warn("this host has no io_uring for us ({}): disks do with aio={}",
              std::generic_category().message(uring.error().code), to_string(aio));
  }
  return aio;
}

}  // namespace

Result<std::unique_ptr<BlockBackend>> open_raw_file(const RawFileSource& source) {
  if (source.aio == Aio::kNative && source.cache != Cache::kNone) {
    return fail(fmt::format("{}: aio=native needs cache=none (with the page cache its calls wait); "
                            "use aio=io_uring or threads",
                            source.path),
                EINVAL);
  }
  auto file = DiskFile::open(source);
  if (!file) return forward(file);
  if (!source.surely_raw) {
    if (auto checked = check_raw_image(file->fd(), source.path); !checked) return forward(checked);
  }
  Aio aio = source.aio;
  if (aio == Aio::kAuto) {
    aio = choose_engine(source, *file);
  } else if (!file->in_memory()) {
    if (auto tried = try_engine(aio, *file); !tried) {
      return fail(fmt::format("{}: {}", source.path, tried.error().message), tried.error().code);
    }
  }
  return std::make_unique<RawFileBackend>(std::move(*file), aio);
}

}  // namespace bellhop

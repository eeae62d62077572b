#include "block/raw_file.h"

#include <fmt/format.h>

#include "block/aio_queue.h"
#include "block/disk_file.h"
#include "block/inline_queue.h"
#include "block/thread_queue.h"
#include "block/uring_queue.h"
#include "block/worker_pool.h"

namespace bellhop {

namespace {

class RawFileBackend final : public BlockBackend {
 public:
  RawFileBackend(DiskFile file, Aio aio) : file_(std::move(file)), aio_(aio), workers_(file_) {}

  [[nodiscard]] const BlockLimits& limits() const noexcept override { return file_.limits(); }

  [[nodiscard]] Result<std::uint64_t> measure() const override { return file_.measure(); }

  [[nodiscard]] const char* kind() const noexcept override {
    switch (aio_) {
      case Aio::kIoUring:
        return "io_uring";
      case Aio::kNative:
        return "native";
      case Aio::kThreads:
        break;
    }
    return "threads";
  }

  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop& loop, QueueSharing sharing,
                                                 unsigned depth) override {
    const FileQueue::Setup setup{file_, workers_, loop, sharing, depth};
    if (file_.in_memory() && aio_ != Aio::kThreads) return InlineQueue::create(setup);
    switch (aio_) {
      case Aio::kIoUring:
        return UringQueue::create(setup);
      case Aio::kNative:
        return AioQueue::create(setup);
      case Aio::kThreads:
        break;
    }
    return ThreadQueue::create(setup);
  }

 private:
  DiskFile file_;
  Aio aio_;
  WorkerPool workers_;
};

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
  return std::make_unique<RawFileBackend>(std::move(*file), source.aio);
}

}  // namespace bellhop

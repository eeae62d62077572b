// What the engines under a disk cost: CPU time of the whole process for a request of 4 KiB, random
// reads and writes, a batch of N outstanding at a time. `sys` counts system calls for a request.
//
// BELLHOP_BENCH_DIR names the folder of the image (/dev/shm unless told).

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "block/raw_file.h"
#include "event/event_loop.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kImage = std::uint64_t{64} << 20;
constexpr std::size_t kBlock = 4096;

enum class Medium { kFile, kNull };

struct Case {
  const char* name;
  Medium medium;
  Aio aio;
  LoopKind loop;
  QueueSharing sharing;
};

class Image {
 public:
  Image() {
    const char* const folder = std::getenv("BELLHOP_BENCH_DIR");
    path_ = std::string(folder != nullptr ? folder : "/dev/shm") + "/bellhop-bench-XXXXXX";
    const UniqueFd fd(::mkstemp(path_.data()));
    const std::vector<char> piece(std::size_t{1} << 20, 'b');
    for (std::uint64_t done = 0; fd.valid() && done < kImage; done += piece.size()) {
      if (::write(fd.get(), piece.data(), piece.size()) < 0) break;
    }
    ::fdatasync(fd.get());
  }
  ~Image() { ::unlink(path_.c_str()); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Batch final : private EventHandler {
 public:
  Batch(BlockBackend& backend, const Case& wanted, std::size_t depth)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(kBlock, depth * kBlock))),
        requests_(depth) {
    auto loop = EventLoop::create(wanted.loop);
    if (!loop) return;
    loop_ = std::move(*loop);
    auto queue = backend.make_queue(*loop_, wanted.sharing, static_cast<unsigned>(depth));
    if (!queue) return;
    queue_ = std::move(*queue);
    if (const EventFd* const event = queue_->completion_event()) {
      if (!loop_->watch(*event, *this)) queue_.reset();
    }
    for (std::size_t i = 0; i < depth; ++i) {
      requests_[i].batch = this;
      requests_[i].span = GuestSpan(memory_.get() + i * kBlock, kBlock);
    }
  }
  ~Batch() {
    if (queue_ && queue_->completion_event() != nullptr) {
      loop_->unwatch(*queue_->completion_event());
    }
  }
  [[nodiscard]] bool ready() const { return queue_ != nullptr; }
  [[nodiscard]] std::uint64_t system_calls() const {
    return loop_->system_calls() + queue_->system_calls();
  }

  void run(BlockOp op) {
    for (Request& request : requests_) {
      random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
      request.op = op;
      request.offset = (random_ >> 33) % (kImage / kBlock) * kBlock;
      request.length = kBlock;
      request.data = {&request.span, 1};
      request.completed = [](BlockIo& io, int error) noexcept {
        Batch& self = *static_cast<Request&>(io).batch;
        --self.running_;
        self.failed_ = self.failed_ || error != 0;
      };
      ++running_;
      queue_->enqueue(request);
    }
    queue_->submit();
    while (running_ != 0) loop_->run_once(std::chrono::seconds(1));
  }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  struct Request : BlockIo {
    Batch* batch = nullptr;
    GuestSpan span;
  };
  struct Free {
    void operator()(std::byte* data) const noexcept { std::free(data); }
  };
  void on_event(std::uint64_t) noexcept override { queue_->reap(); }

  std::unique_ptr<std::byte, Free> memory_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<BlockQueue> queue_;
  std::vector<Request> requests_;
  std::size_t running_ = 0;
  bool failed_ = false;
  std::uint64_t random_ = 1;
};

void run_case(benchmark::State& state, const Case& wanted, BlockOp op) {
  const auto depth = static_cast<std::size_t>(state.range(0));
  static const Image image;
  std::unique_ptr<BlockBackend> backend;
  if (wanted.medium == Medium::kNull) {
    backend = make_null_backend(kImage);
  } else {
    auto opened = open_raw_file({image.path(), false, Cache::kNone, wanted.aio});
    if (!opened) return state.SkipWithError(opened.error().message.c_str());
    backend = std::move(*opened);
  }
  Batch batch(*backend, wanted, depth);
  if (!batch.ready()) return state.SkipWithError("no such loop or queue here");
  const std::uint64_t before = batch.system_calls();
  for (auto _ : state) batch.run(op);
  if (batch.failed()) state.SkipWithError("a request failed");
  const auto requests = static_cast<double>(state.iterations()) * static_cast<double>(depth);
  state.SetItemsProcessed(static_cast<std::int64_t>(requests));
  state.counters["cpu_per_request"] =
      benchmark::Counter(requests, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["sys"] = static_cast<double>(batch.system_calls() - before) / requests;
}

constexpr auto kLoopOnly = QueueSharing::kLoopOnly;
constexpr auto kShared = QueueSharing::kSharedWithVcpu;
constexpr Case kCases[] = {
    {"null", Medium::kNull, Aio::kThreads, LoopKind::kIoUring, kLoopOnly},
    {"io_uring", Medium::kFile, Aio::kIoUring, LoopKind::kIoUring, kLoopOnly},
    {"io_uring_shared", Medium::kFile, Aio::kIoUring, LoopKind::kIoUring, kShared},
    {"io_uring_epoll", Medium::kFile, Aio::kIoUring, LoopKind::kEpoll, kLoopOnly},
    {"native", Medium::kFile, Aio::kNative, LoopKind::kIoUring, kLoopOnly},
    {"native_shared", Medium::kFile, Aio::kNative, LoopKind::kIoUring, kShared},
    {"native_epoll", Medium::kFile, Aio::kNative, LoopKind::kEpoll, kLoopOnly},
    {"threads", Medium::kFile, Aio::kThreads, LoopKind::kIoUring, kLoopOnly},
};

const bool kRegistered = [] {
  for (const Case& wanted : kCases) {
    for (const BlockOp op : {BlockOp::kRead, BlockOp::kWrite}) {
      const std::string name =
          std::string("block/") + wanted.name + (op == BlockOp::kRead ? "/read" : "/write");
      benchmark::RegisterBenchmark(
          name.c_str(), [&wanted, op](benchmark::State& state) { run_case(state, wanted, op); })
          ->Arg(1)
          ->Arg(16)
          ->MeasureProcessCPUTime();
    }
  }
  return true;
}();

}  // namespace
}  // namespace bellhop

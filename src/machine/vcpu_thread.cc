#include "machine/vcpu_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <utility>

#include "base/thread.h"

namespace bellhop {

VcpuThread::VcpuThread(std::unique_ptr<Vcpu> vcpu, unsigned index, CpuList cpus, Wiring wiring)
    : vcpu_(std::move(vcpu)), index_(index), cpus_(std::move(cpus)), wiring_(std::move(wiring)) {}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    request_.store(Request::kQuit, std::memory_order_release);
  }
  changed_.notify_all();
  vcpu_->kick();
  thread_.join();
}

Status VcpuThread::start() {
  auto thread = start_thread(ThreadKind::kVcpu, fmt::format("vCPU {}", index_),
                             ThreadWork{.run = [this] { loop(); },
                                        .prepare =
                                            [this] {
                                              prepare();
                                              return Status();
                                            }});
  if (!thread) return forward(thread);
  thread_ = std::move(*thread);
  wait_paused();
  return {};
}

void VcpuThread::request_pause() noexcept {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (request_.load(std::memory_order_relaxed) != Request::kRun) return;
    request_.store(Request::kPause, std::memory_order_release);
  }
  vcpu_->kick();
}

void VcpuThread::wait_paused() {
  std::unique_lock<std::mutex> hold(mutex_);
  changed_.wait(hold, [this] { return paused_; });
}

void VcpuThread::resume() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (request_.load(std::memory_order_relaxed) != Request::kPause) return;
    request_.store(Request::kRun, std::memory_order_release);
  }
  changed_.notify_all();
}

Status VcpuThread::set_cpus(const CpuList& cpus) {
  if (tid() != 0) {
    if (auto pinned = pin_thread(tid(), cpus); !pinned) return pinned;
  }
  cpus_ = cpus;
  if (!cpus.empty()) allowed_ = cpus;
  return {};
}

void VcpuThread::prepare() {
  ::pthread_setname_np(::pthread_self(), fmt::format("vcpu{}", index_).c_str());
  tid_ = ::gettid();
  pinned_ = pin_this_thread(cpus_);
  allowed_ = allowed_cpus();
}

void VcpuThread::loop() {
  while (true) {
    const Request request = request_.load(std::memory_order_acquire);
    if (request == Request::kQuit) return;
    if (request == Request::kPause) {
      std::unique_lock<std::mutex> hold(mutex_);
      paused_ = true;
      changed_.notify_all();
      changed_.wait(hold, [this] { return request_.load() != Request::kPause; });
      // Only here: a pause that overtakes the resume before it finds the thread standing still.
      paused_ = false;
      continue;
    }
    auto exit = vcpu_->run();
    bool go_on = false;
    if (exit) {
      go_on = dispatch(*exit);
    } else {
      wiring_.ended(VcpuExit::Reason::kRefused, exit.error().message);
    }
    if (!go_on) request_pause();
  }
}

bool VcpuThread::dispatch(const VcpuExit& exit) {
  using Reason = VcpuExit::Reason;
  switch (exit.reason) {
    case Reason::kMmioWrite:
      wiring_.memory->write(exit.address, exit.data);
      return true;
    case Reason::kMmioRead:
      wiring_.memory->read(exit.address, exit.data);
      return true;
    case Reason::kPioOut:
      wiring_.ports->write(exit.address, exit.data);
      return true;
    case Reason::kPioIn:
      wiring_.ports->read(exit.address, exit.data);
      return true;
    case Reason::kInterrupted:
      return true;
    case Reason::kShutdown:
    case Reason::kHalt:
    case Reason::kSystemEvent:
      wiring_.ended(exit.reason, {});
      return false;
    case Reason::kRefused:
    case Reason::kInternalError:
      wiring_.ended(exit.reason, vcpu_->dump());
      return false;
    case Reason::kOther:
      wiring_.ended(exit.reason, fmt::format("unknown exit {} of vCPU {}\n{}", exit.detail, index_,
                                             vcpu_->dump()));
      return false;
  }
  return true;
}

}  // namespace bellhop

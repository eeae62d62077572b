#include "testing/ring_worker.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "testing/test_memory.h"

namespace bellhop::testing {

namespace {

GuestAddress guest_address(const GuestMemory& memory, const std::byte* at) {
  for (const GuestMemory::Region& region : memory.regions()) {
    if (at >= region.host && at < region.host + region.size) {
      return GuestAddress(region.base.value() + static_cast<std::uint64_t>(at - region.host));
    }
  }
  std::abort();
}

QueueConfig config_of(const GuestMemory& memory, const OffloadedRing& ring) {
  QueueConfig config;
  config.size = ring.size;
  config.ready = true;
  config.desc = guest_address(memory, ring.desc);
  config.driver = guest_address(memory, ring.avail);
  config.device = guest_address(memory, ring.used);
  return config;
}

UniqueFd copy_of(const EventFd* event) {
  return event != nullptr ? UniqueFd(::dup(event->get())) : UniqueFd();
}

void signal(const UniqueFd& event) {
  const std::uint64_t one = 1;
  if (event.valid() && ::write(event.get(), &one, sizeof one) != sizeof one) std::abort();
}

void wait_for(const UniqueFd& epoll, int fd) {
  epoll_event edge{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &edge) != 0) std::abort();
}

}  // namespace

RingWorker::RingWorker(const GuestMemory& memory, const OffloadedRing& ring, RingFeatures features,
                       Serve serve, int also)
    : serve_(std::move(serve)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      kick_(copy_of(ring.kick)),
      fault_(copy_of(ring.fault)),
      end_(must(EventFd::create())),
      call_(copy_of(ring.call)),
      queue_(must(SplitRing::activate(
          memory, config_of(memory, ring), features, counters_,
          {.next_avail = static_cast<std::uint16_t>(ring.base), .next_used = used_index(ring)}))) {
  if (kick_.valid()) wait_for(epoll_, kick_.get());
  if (also >= 0) wait_for(epoll_, also);
  wait_for(epoll_, end_.get());
  thread_ = std::thread([this] { run(); });
}

std::uint16_t RingWorker::stop() {
  if (thread_.joinable()) {
    ending_ = true;
    end_.signal();
    thread_.join();
  }
  return queue_.state().next_avail;
}

void RingWorker::set_call(const EventFd* call) {
  const std::lock_guard<std::mutex> hold(mutex_);
  call_ = copy_of(call);
}

void RingWorker::run() {
  while (!ending_) {
    std::array<epoll_event, 3> events{};
    (void)::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (!ending_) serve_all();
  }
}

void RingWorker::serve_all() {
  const std::lock_guard<std::mutex> hold(mutex_);
  bool blocked = false;
  do {
    Pop answer = Pop::kEmpty;
    while (!blocked && (answer = queue_.pop(chain_)) != Pop::kEmpty && answer != Pop::kBroken) {
      std::uint32_t written = 0;
      if (answer == Pop::kMalformed || serve_(chain_, written)) {
        queue_.complete(chain_, written);
      } else {
        blocked = true;
        if (!queue_.rewind(chain_)) std::abort();
      }
    }
    if (queue_.publish()) signal(call_);
    if (queue_.broken()) signal(fault_);
  } while (!queue_.broken() && queue_.enable_kicks() && !blocked);
}

}  // namespace bellhop::testing

#include "machine/vm_binder.h"

#include <fmt/format.h>

namespace bellhop {

namespace {

IoEventMatch to_io_event(const DoorbellMatch& match) noexcept {
  return {.space = match.space == DoorbellSpace::kPorts ? IoSpace::kPio : IoSpace::kMmio,
          .address = match.address,
          .length = match.length,
          .datamatch = match.datamatch};
}

}  // namespace

Status VmBinder::attach_doorbell(const EventFd& doorbell, const DoorbellMatch& match) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto has = static_cast<unsigned>(needed_.size());
  const unsigned kept = match.needed || has >= reserved_ ? 0 : reserved_ - has;
  if (max_ != 0 && attached_ + kept >= max_) {
    return fail(fmt::format("the limit of {} ioeventfds is reached ({} reserved)", max_, reserved_),
                ENOSPC);
  }
  auto attached = vm_.attach_ioeventfd(doorbell, to_io_event(match));
  if (attached) {
    ++attached_;
    if (match.needed) needed_.push_back(&doorbell);
  }
  return attached;
}

void VmBinder::detach_doorbell(const EventFd& doorbell, const DoorbellMatch& match) noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (!vm_.detach_ioeventfd(doorbell, to_io_event(match))) return;
  --attached_;
  std::erase(needed_, &doorbell);
}

}  // namespace bellhop

#include "machine/vm_binder.h"

#include <fmt/format.h>

namespace bellhop {

Status VmBinder::attach_doorbell(const EventFd& doorbell, const IoEventMatch& match,
                                 Server server) {
  const bool required = server != Server::kDevice;
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto has = static_cast<unsigned>(required_.size());
  const unsigned kept = required || has >= reserved_ ? 0 : reserved_ - has;
  if (max_ != 0 && attached_ + kept >= max_) {
    return fail(fmt::format("the limit of {} ioeventfds is reached ({} reserved)", max_, reserved_),
                ENOSPC);
  }
  auto attached = vm_.attach_ioeventfd(doorbell, match);
  if (attached) {
    ++attached_;
    if (required) required_.push_back(&doorbell);
  }
  return attached;
}

void VmBinder::detach_doorbell(const EventFd& doorbell, const IoEventMatch& match) noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (!vm_.detach_ioeventfd(doorbell, match)) return;
  --attached_;
  std::erase(required_, &doorbell);
}

}  // namespace bellhop

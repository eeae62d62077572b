#include "virtio/queue/interrupt_delay.h"

#include <utility>

#include "virtio/queue/usdt.h"

namespace bellhop {

void InterruptDelay::ask() noexcept {
  if (std::exchange(asked_, true)) {
    queue_.counters->interrupts_saved.add();
    return;
  }
  queue_.thread->loop().start_timer(*this, time_);
}

void InterruptDelay::end() noexcept {
  if (!asked_) return;
  queue_.thread->loop().stop_timer(*this);
  on_timer();
}

void InterruptDelay::on_timer() noexcept {
  asked_ = false;
  const EventFd* const event = queue_.interrupt->prepare();
  if (event == nullptr) return;
  queue_.counters->interrupts.add();
  BELLHOP_USDT2(interrupt_signalled, queue_.device, queue_.number);
  event->signal();
}

}  // namespace bellhop

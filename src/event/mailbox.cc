#include "event/mailbox.h"

namespace bellhop {

Status Mailbox::open() {
  auto event = EventFd::create();
  if (!event) return forward(event);
  event_ = std::move(*event);
  return {};
}

void Mailbox::post(std::function<void()> message) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = messages_.empty();
    messages_.push_back(std::move(message));
  }
  if (first) event_.signal();
}

void Mailbox::stop() noexcept {
  stop_.store(true);
  event_.signal();
}

void Mailbox::on_event(std::uint64_t) noexcept {
  std::vector<std::function<void()>> messages;
  {
    const std::lock_guard lock(mutex_);
    messages.swap(messages_);
  }
  for (const auto& message : messages) message();
}

}  // namespace bellhop

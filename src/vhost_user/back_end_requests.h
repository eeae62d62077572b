#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vhost_user/messages.h"

namespace bellhop {

/// The channel on which a back end speaks first (SET_BACKEND_REQ_FD). Of all that it may say there
/// we know one message, CONFIG_CHANGE; another one, or what is none, ends the channel.
///
/// It is made once, by who may make sockets, and every later back end gets the same end: where one
/// has spoilt it, those after it have none. No call waits. Any thread.
class BackEndRequests {
 public:
  /// Errors: no descriptors left.
  static Result<std::unique_ptr<BackEndRequests>> create();

  /// Readable when there may be something to take().
  [[nodiscard]] int fd() const noexcept { return ours_.get(); }
  /// What the back end is to have a copy of.
  [[nodiscard]] int peer_fd() const noexcept { return peers_.get(); }
  [[nodiscard]] bool usable() const noexcept;

  /// Takes what has come, a bounded number of messages. Returns whether one says that the
  /// configuration space has changed.
  bool take() noexcept;
  /// Forgets what a back end that has gone has said.
  void forget() noexcept;

 private:
  BackEndRequests(UniqueFd ours, UniqueFd peers) noexcept
      : ours_(std::move(ours)), peers_(std::move(peers)) {}
  bool take_one();
  void end() noexcept;

  UniqueFd ours_;
  UniqueFd peers_;
  mutable std::mutex mutex_;  ///< a few system calls that do not wait
  std::array<std::byte, sizeof(vhost_user::Header)> bytes_{};
  std::size_t have_ = 0;  ///< of the next message's header
  bool usable_ = true;
  bool changed_ = false;
};

}  // namespace bellhop

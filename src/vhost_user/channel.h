#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vhost_user/messages.h"

namespace bellhop::vhost_user {

/// A message that came in: its frame is sound, its contents are not looked at yet.
struct Message {
  Header header;
  std::array<std::byte, kMaxPayload> payload{};  ///< header.size bytes
  std::vector<UniqueFd> fds;

  [[nodiscard]] Request request() const noexcept { return Request{header.request}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return std::span(payload).first(header.size);
  }
  /// The payload, if it has just the size of a T.
  template <class T>
  [[nodiscard]] bool read(T& out) const noexcept {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kMaxPayload);
    if (header.size != sizeof(T)) return false;
    std::memcpy(&out, payload.data(), sizeof(T));
    return true;
  }
};

/// One end of a vhost-user connection: whole messages with their descriptors, over a Unix socket.
/// Calls in a row wait no longer than `patience` in all, so that a peer that answers each of them
/// late, or byte by byte, gains nothing: what was waited comes back as time passes between calls.
/// One call at a time, any thread.
///
/// Errors of all calls: the peer has gone (code ECONNRESET), says nothing or reads nothing for too
/// long (ETIMEDOUT), or sends what is no message (EPROTO). The connection is of no use then.
class Channel {
 public:
  using Patience = std::chrono::milliseconds;

  Channel() noexcept = default;
  Channel(UniqueFd socket, Patience patience) noexcept
      : socket_(std::move(socket)), patience_(patience) {}
  /// Errors: the path is too long for a socket, nobody listens there, or takes no connection.
  static Result<Channel> connect(const std::string& path, Patience patience);

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// `flags` besides the version.
  Status send(Request request, std::uint32_t flags, std::span<const std::byte> payload,
              std::span<const int> fds = {});
  Result<Message> receive();

 private:
  using Clock = std::chrono::steady_clock;
  class Turn;

  UniqueFd socket_;
  Patience patience_{};
  Clock::duration waited_{};      ///< of patience_
  Clock::time_point last_end_{};  ///< of the call before
};

}  // namespace bellhop::vhost_user

#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

// A device's own state on its way to its front end, or back (SET_DEVICE_STATE_FD). It goes over a
// socket pair of our own, in the place of the pipe that the front end offers: nothing that it does
// with its end keeps us waiting.
namespace bellhop {

/// Where the front end finds `state`, and then the end: all of it is there already. Errors: no
/// descriptors left; a state larger than a socket holds.
Result<UniqueFd> hand_out_state(std::span<const std::byte> state);

/// Takes in what a front end has kept. On one thread.
class StateReader {
 public:
  /// The most that is kept: far more than any device has.
  static constexpr std::size_t kMost = std::size_t{64} * 1024;

  struct Begun;
  /// Errors: no descriptors left.
  static Result<Begun> begin();

  /// read() is to be called when it is readable; -1: all has come.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  void read();
  /// Once the front end has closed its end. Errors (the peer's fault): it has not; more has come
  /// than a state has.
  [[nodiscard]] Result<std::span<const std::byte>> all() const;

 private:
  explicit StateReader(UniqueFd socket) noexcept : socket_(std::move(socket)) {}

  UniqueFd socket_;
  std::vector<std::byte> state_;
  bool too_long_ = false;
};

struct StateReader::Begun {
  StateReader reader;
  UniqueFd theirs;  ///< to be written to by the front end
};

}  // namespace bellhop

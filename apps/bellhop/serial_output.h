#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Where a guest's serial port goes (`--serial`).
class SerialOutput {
 public:
  /// `tty` (standard output, with standard input as the way back), `null`, or `file=PATH` (made
  /// anew). Errors: another word, a file that cannot be written.
  static Result<SerialOutput> open(const std::string& text);

  /// Nobody who reads: the guest goes on all the same. Somebody who does not read for now: it
  /// waits.
  void write(std::span<const std::byte> data) const noexcept;
  /// Nothing is waited for any more, and nothing written where it would have to be. Any thread.
  void give_up() const noexcept { end_.signal(); }
  [[nodiscard]] bool is_terminal() const noexcept { return terminal_; }

 private:
  SerialOutput() = default;
  [[nodiscard]] int descriptor() const noexcept;

  bool terminal_ = false;
  bool may_block_ = false;
  EventFd end_;
  UniqueFd file_;
};

}  // namespace bellhop

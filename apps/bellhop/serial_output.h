#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "apps/bellhop/serial_terminal.h"
#include "base/output_files.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "control/command.h"

namespace bellhop {

/// Where a guest's serial port goes (`--serial`).
///
/// Nobody waits for whoever reads: what cannot be written at once is kept, up to kBacklog bytes,
/// and a thread of its own writes it later. A guest that looks at its port's status sees the
/// transmitter busy until half of that is gone, so that nothing is lost to a slow reader; what a
/// guest sends all the same is dropped and counted.
class SerialOutput {
 public:
  /// The word for a pseudo terminal.
  static constexpr std::string_view kPty = "pty";
  static constexpr std::size_t kBacklog = std::size_t{64} << 10;
  /// Beyond the backlog: what a FIFO's worth of bytes may still bring.
  static constexpr std::size_t kSlack = 1024;

  /// `tty` (standard output, with standard input as the way back), `null`, or `file=PATH` (made
  /// anew by `outputs`, then appended to), or `pty` (a SerialTerminal; one line of the log says
  /// where). Errors: another word, a file that cannot be written, a FIFO that nobody reads, no
  /// thread, descriptor or pseudo terminal left.
  static Result<std::unique_ptr<SerialOutput>> open(const std::string& text, OutputFiles& outputs);
  /// The PATH of `file=PATH`; empty: anything else.
  static std::string file_of(const std::string& text);
  ~SerialOutput();
  SerialOutput(const SerialOutput&) = delete;
  SerialOutput& operator=(const SerialOutput&) = delete;

  /// Takes it, and never waits. False: there is no room for more until the guest is told. vCPU
  /// threads.
  bool write(std::span<const std::byte> data) noexcept;
  /// Who is told that there is room again, and takes what comes the other way (of a `pty` alone).
  /// Null: nobody to call any more; returns when no call is under way.
  void connect(SerialGuest guest);
  /// What a reader does not take at once is dropped from now on. Any thread.
  void give_up() noexcept;
  /// Waits until everything is written, or give_up(). Errors: what was lost, and why; a reader that
  /// went away is none.
  Status finish();
  /// Whether it is the terminal that the program was started at.
  [[nodiscard]] bool is_terminal() const noexcept { return terminal_; }
  /// Where it goes, for clients of the API.
  [[nodiscard]] control::SerialPort port() const;

 private:
  SerialOutput() = default;
  Status open_standard_output();
  Status open_file(const std::string& path, OutputFiles& outputs);
  void run();
  /// Writes until nothing is left or it would have to wait. With the lock held.
  void flush() noexcept;
  [[nodiscard]] ssize_t try_write(const std::byte* data, std::size_t bytes) const noexcept;
  /// The same; the log hears where a line stands.
  [[nodiscard]] ssize_t write_some(const std::byte* data, std::size_t bytes) const noexcept;
  void lose(std::size_t bytes, int error) noexcept;

  std::unique_ptr<SerialTerminal> pty_;  ///< that does all, if it is there

  std::string place_;
  bool terminal_ = false;
  bool regular_ = false;   ///< never makes a writer wait
  bool blocking_ = false;  ///< only a byte at a time, where poll() allows it, is sure not to wait
  bool socket_ = false;
  bool beside_log_ = false;  ///< standard error is the same file
  int fd_ = -1;
  UniqueFd own_;
  EventFd wake_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::byte> backlog_;
  bool full_ = false;  ///< the guest waits for room
  bool given_up_ = false;
  bool finished_ = false;
  std::uint64_t lost_ = 0;
  int error_ = 0;  ///< why the first of them were lost; 0: nobody read
  std::mutex guest_mutex_;
  SerialGuest guest_;
  std::thread thread_;
};

}  // namespace bellhop

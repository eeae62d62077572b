#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <string>

#include "base/output_files.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// The host's end of a port: who reads what the guest writes, and writes what the guest reads.
/// Nothing here ever waits. One call at a time.
class ConsoleBackend {
 public:
  virtual ~ConsoleBackend() = default;

  /// Where it is, for people.
  [[nodiscard]] virtual std::string place() const = 0;
  /// Whether a peer is there.
  [[nodiscard]] virtual bool connected() const noexcept = 0;
  /// While connected: what to wait for when read() or write() say -EAGAIN. -1: nothing is ever to
  /// be read; all is thrown away.
  [[nodiscard]] virtual int input() const noexcept { return -1; }
  [[nodiscard]] virtual int output() const noexcept { return -1; }

  /// Bytes, 0 at the end, or -errno.
  [[nodiscard]] virtual ssize_t read(std::span<const iovec> room) noexcept;
  [[nodiscard]] virtual ssize_t write(std::span<const iovec> data) noexcept;
  /// read() came to the end. True if the peer as a whole has gone, false if only nothing more is to
  /// be read: then input() is -1 from now on.
  [[nodiscard]] virtual bool end_of_input() noexcept { return true; }
  /// Whether the peer has gone and left nothing to be read.
  [[nodiscard]] virtual bool gone() const noexcept { return false; }
  /// Whether the peer has gone, whatever it left.
  [[nodiscard]] virtual bool hung_up() const noexcept { return false; }

  /// How a peer comes.
  enum class Arrival : std::uint8_t {
    kNever,     ///< there has been one from the beginning, or there is none any more
    kListener,  ///< when listener() can be read
    kUnseen,    ///< connect() has to try now and then
  };
  [[nodiscard]] virtual Arrival arrival() const noexcept { return Arrival::kNever; }
  [[nodiscard]] virtual int listener() const noexcept { return -1; }
  /// Takes a peer that has come. True if there is one now.
  [[nodiscard]] virtual bool connect() noexcept { return connected(); }
  /// Parts from the peer.
  virtual void disconnect() noexcept {}
};

/// Nobody: what is written is thrown away.
std::unique_ptr<ConsoleBackend> make_null_console();
/// Standard input and output, or any other two descriptors, which stay the caller's. A terminal is
/// left in the mode it is in. Errors: a descriptor that is not open.
Result<std::unique_ptr<ConsoleBackend>> make_stdio_console(int input, int output);
/// A file that gets everything, emptied when `outputs` begin. Errors: OutputFiles::open().
Result<std::unique_ptr<ConsoleBackend>> make_file_console(const std::string& path,
                                                          OutputFiles& outputs);
/// A Unix socket that listens at `path`: one client at a time, others wait. A socket that is left
/// there by a program that died is replaced. Errors: the path is too long, something else's, or
/// another process listens there.
Result<std::unique_ptr<ConsoleBackend>> make_socket_console(const std::string& path);
/// A pseudo terminal; place() is the end that a terminal program opens. Errors: none left.
Result<std::unique_ptr<ConsoleBackend>> make_pty_console();

}  // namespace bellhop

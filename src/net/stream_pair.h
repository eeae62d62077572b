#pragma once

#include <array>
#include <memory>

#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace bellhop {

/// Frames over a connected stream socket, each behind its length in four bytes, most significant
/// first: what passt and QEMU's `-netdev stream` speak. No header of virtio's and so no offloads.
///
/// Both ways go through memory of ours, so that many frames are one system call: what comes is read
/// as it comes and cut into frames; what goes is gathered until flush(), or until the memory is
/// full.
class StreamPair final : public NetPair {
 public:
  /// `socket` becomes non-blocking.
  explicit StreamPair(UniqueFd socket);

  ssize_t send(std::span<const iovec> frame) noexcept override;
  ssize_t flush() noexcept override;
  ssize_t receive(std::span<const iovec> room) noexcept override;
  [[nodiscard]] int fd() const noexcept override { return socket_.get(); }

 private:
  static constexpr std::size_t kLengthBytes = 4;
  /// Several of the longest frames, and a few hundred of the usual ones.
  static constexpr std::size_t kBufferBytes = std::size_t{512} * 1024;

  /// Bytes first_ to last_ of it are in use.
  struct Buffer {
    std::unique_ptr<std::byte[]> data = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
    std::size_t first = 0;
    std::size_t last = 0;
    [[nodiscard]] std::size_t size() const noexcept { return last - first; }
    [[nodiscard]] std::size_t room() const noexcept { return kBufferBytes - last; }
    void to_front() noexcept;
  };

  /// The next whole frame, without its length; 0 if there is none yet; -EPROTO if it cannot be one.
  [[nodiscard]] ssize_t next_frame() const noexcept;
  ssize_t fill() noexcept;

  UniqueFd socket_;
  // One thread sends while another receives: they share nothing else.
  Buffer out_;
  Buffer in_;
};

}  // namespace bellhop

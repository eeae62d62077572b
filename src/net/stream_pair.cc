#include "net/stream_pair.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bellhop {

namespace {

std::size_t total(std::span<const iovec> parts) noexcept {
  std::size_t sum = 0;
  for (const iovec& part : parts) sum += part.iov_len;
  return sum;
}

std::uint32_t big_endian(std::uint32_t value) noexcept {
  return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}

/// Copies to byte `offset` of `room` on, as much as fits.
void scatter(std::span<const iovec> room, std::size_t offset,
             std::span<const std::byte> bytes) noexcept {
  for (const iovec& part : room) {
    if (bytes.empty()) return;
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const std::size_t here = std::min(part.iov_len - offset, bytes.size());
    std::memcpy(static_cast<std::byte*>(part.iov_base) + offset, bytes.data(), here);
    bytes = bytes.subspan(here);
    offset = 0;
  }
}

}  // namespace

void StreamPair::Buffer::to_front() noexcept {
  if (first == 0) return;
  std::memmove(data.get(), data.get() + first, size());
  last -= first;
  first = 0;
}

StreamPair::StreamPair(UniqueFd socket) : socket_(std::move(socket)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  (void)::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
}

ssize_t StreamPair::send(std::span<const iovec> frame) noexcept {
  const std::size_t all = total(frame);
  if (all < kNetHeaderBytes || all - kNetHeaderBytes > kMaxFrameBytes) return -EINVAL;
  const auto bytes = static_cast<std::uint32_t>(all - kNetHeaderBytes);
  if (out_.room() < kLengthBytes + bytes) {
    if (const ssize_t flushed = flush(); flushed < 0 && flushed != -EAGAIN) return flushed;
    out_.to_front();
    if (out_.room() < kLengthBytes + bytes) return -EAGAIN;
  }
  const std::uint32_t length = big_endian(bytes);
  std::byte* to = out_.data.get() + out_.last;
  std::memcpy(to, &length, kLengthBytes);
  to += kLengthBytes;
  std::size_t skip = kNetHeaderBytes;
  for (const iovec& part : frame) {
    const std::size_t skipped = std::min(skip, part.iov_len);
    skip -= skipped;
    const std::size_t here = part.iov_len - skipped;
    if (here != 0) std::memcpy(to, static_cast<const std::byte*>(part.iov_base) + skipped, here);
    to += here;
  }
  out_.last += kLengthBytes + bytes;
  return static_cast<ssize_t>(all);
}

ssize_t StreamPair::flush() noexcept {
  ssize_t written = 0;
  while (out_.size() != 0) {
    const ssize_t done = ::send(socket_.get(), out_.data.get() + out_.first, out_.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) return -EAGAIN;
      // Nobody is there any more; nor will be for what is left.
      out_.first = out_.last = 0;
      return -EBADFD;
    }
    out_.first += static_cast<std::size_t>(done);
    written += done;
  }
  out_.first = out_.last = 0;
  return written;
}

ssize_t StreamPair::next_frame() const noexcept {
  if (in_.size() < kLengthBytes) return 0;
  std::uint32_t length = 0;
  std::memcpy(&length, in_.data.get() + in_.first, kLengthBytes);
  length = big_endian(length);
  if (length == 0 || length > kMaxFrameBytes) return -EPROTO;
  return in_.size() - kLengthBytes < length ? 0 : static_cast<ssize_t>(length);
}

/// More of the stream: bytes, or -errno.
ssize_t StreamPair::fill() noexcept {
  if (in_.size() == 0) in_.first = in_.last = 0;
  // Room for the longest frame there is, so that the one that has begun can end.
  if (kBufferBytes - in_.first < kLengthBytes + kMaxFrameBytes) in_.to_front();
  ssize_t got = 0;
  do {
    got = ::recv(socket_.get(), in_.data.get() + in_.last, in_.room(), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? -EAGAIN : -errno;
  if (got == 0) return -ECONNRESET;
  in_.last += static_cast<std::size_t>(got);
  return got;
}

ssize_t StreamPair::receive(std::span<const iovec> room) noexcept {
  ssize_t bytes = next_frame();
  if (bytes == 0) {
    // Once: what is still missing then is worth waiting for.
    if (const ssize_t got = fill(); got < 0) return got;
    bytes = next_frame();
    if (bytes == 0) return -EAGAIN;
  }
  if (bytes < 0) return bytes;
  const auto length = static_cast<std::size_t>(bytes);
  constexpr std::array<std::byte, kNetHeaderBytes> kPlain{};
  scatter(room, 0, kPlain);
  scatter(room, kNetHeaderBytes, {in_.data.get() + in_.first + kLengthBytes, length});
  in_.first += kLengthBytes + length;
  return static_cast<ssize_t>(std::min(kNetHeaderBytes + length, total(room)));
}

}  // namespace bellhop

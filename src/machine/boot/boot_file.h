#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/guest_span.h"

namespace bellhop {

/// The bytes of a kernel or an initrd, wherever they are: they go to guest RAM without a stop on
/// the way.
class BootBytes {
 public:
  virtual ~BootBytes() = default;
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
  /// Fills `to` from `offset` on. False if not all of that is there, or can be read.
  [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<std::byte> to) const noexcept = 0;

  [[nodiscard]] bool holds(std::uint64_t offset, std::uint64_t length) const noexcept {
    return offset <= size() && length <= size() - offset;
  }
  template <class T>
  [[nodiscard]] bool load(std::uint64_t offset, T& value) const noexcept {
    return read(offset, std::as_writable_bytes(std::span(&value, 1)));
  }
  /// The same, into guest RAM.
  [[nodiscard]] bool place(std::uint64_t offset, const GuestSpan& to) const noexcept {
    return read(offset, std::span(static_cast<std::byte*>(to.as_iovec().iov_base), to.size()));
  }
};

class BytesInMemory final : public BootBytes {
 public:
  explicit BytesInMemory(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> to) const noexcept override {
    if (!holds(offset, to.size())) return false;
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// A file of the user's. Its size is what it was when it was opened; another process may make it
/// shorter.
class BootFile final : public BootBytes {
 public:
  /// `option` asks for it. Errors, with both: it cannot be opened, is no file, or has
  /// more than `limit` bytes, for which `limit_text` stands.
  static Result<BootFile> open(const std::string& option, const std::string& path,
                               std::uint64_t limit, const std::string& limit_text);

  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> to) const noexcept override;

 private:
  BootFile(UniqueFd fd, std::uint64_t size) noexcept : fd_(std::move(fd)), size_(size) {}

  UniqueFd fd_;
  std::uint64_t size_;
};

}  // namespace bellhop

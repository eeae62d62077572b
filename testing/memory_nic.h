#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "net/net_backend.h"

namespace bellhop::testing {

/// A wire in memory for each pair: a pair of packet sockets, of which the NIC has one end and the
/// test the other. Frames carry the header, both ways, as with a tap.
class MemoryNic final : public NetBackend {
 public:
  explicit MemoryNic(unsigned pairs = 1) {
    limits_.pairs = pairs;
    limits_.to_host = Offloads::all();
    limits_.to_guest = Offloads::all();
    limits_.mtu = 1500;
    for (unsigned i = 0; i < pairs; ++i) pairs_.push_back(std::make_unique<Pair>());
  }

  // ---- for the test: the far end of a pair's wire ----

  /// False if the wire is full.
  bool put(std::span<const std::byte> header_and_frame, unsigned pair = 0) {
    return ::write(pairs_[pair]->far.get(), header_and_frame.data(), header_and_frame.size()) >= 0;
  }
  /// Bytes of the next frame; 0 if there is none.
  std::size_t get(std::span<std::byte> to, unsigned pair = 0) {
    const ssize_t done = ::read(pairs_[pair]->far.get(), to.data(), to.size());
    return done < 0 ? 0 : static_cast<std::size_t>(done);
  }
  /// Nothing comes from the far end of a pair's wire any more.
  void hang_up(unsigned pair = 0) { (void)::shutdown(pairs_[pair]->far.get(), SHUT_WR); }
  /// The next sends and receives of all pairs fail with -error; 0: no more.
  void fail_with(int error) { error_ = error; }
  /// Frames longer than this are refused with EINVAL.
  void refuse_longer_than(std::size_t bytes) { most_bytes_ = bytes; }
  /// Calls of the host are refused.
  void refuse_settings(bool on) { refuse_ = on; }
  [[nodiscard]] NetLimits& mutable_limits() noexcept { return limits_; }
  [[nodiscard]] unsigned pairs_in_use() const noexcept { return in_use_; }
  [[nodiscard]] Offloads guest_offloads() const noexcept {
    return Offloads::from_bits(offloads_.load());
  }

  // ---- for the device ----

  [[nodiscard]] const NetLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] NetPair& pair(unsigned index) noexcept override {
    pairs_[index]->error = &error_;
    pairs_[index]->most_bytes = &most_bytes_;
    return *pairs_[index];
  }
  Status use_pairs(unsigned count) override {
    if (refuse_) return fail("refused");
    in_use_ = count;
    return {};
  }
  Status set_guest_offloads(Offloads offloads) override {
    if (refuse_) return fail("refused");
    offloads_ = offloads.bits();
    return {};
  }

 private:
  struct Pair final : NetPair {
    Pair() {
      std::array<int, 2> fds{};
      if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) !=
          0) {
        std::abort();
      }
      near = UniqueFd(fds[0]);
      far = UniqueFd(fds[1]);
    }
    ssize_t send(std::span<const iovec> frame) noexcept override {
      if (const int code = error->load(); code != 0) return -code;
      std::size_t bytes = 0;
      for (const iovec& part : frame) bytes += part.iov_len;
      if (bytes > most_bytes->load()) return -EINVAL;
      const ssize_t done = ::writev(near.get(), frame.data(), static_cast<int>(frame.size()));
      return done < 0 ? -errno : done;
    }
    ssize_t receive(std::span<const iovec> room) noexcept override {
      if (const int code = error->load(); code != 0) return -code;
      const ssize_t done = ::readv(near.get(), room.data(), static_cast<int>(room.size()));
      return done < 0 ? -errno : done;
    }
    [[nodiscard]] int fd() const noexcept override { return near.get(); }
    [[nodiscard]] int kernel_fd() const noexcept override { return near.get(); }

    UniqueFd near;
    UniqueFd far;
    std::atomic<int>* error = nullptr;
    std::atomic<std::size_t>* most_bytes = nullptr;
  };

  std::string name_ = "memory";
  NetLimits limits_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::atomic<int> error_{0};
  std::atomic<std::size_t> most_bytes_{SIZE_MAX};
  std::atomic<bool> refuse_{false};
  std::atomic<unsigned> in_use_{1};
  std::atomic<unsigned> offloads_{0};
};

}  // namespace bellhop::testing

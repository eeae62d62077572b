#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/net_wire.h"

namespace bellhop::bench {

/// The host's end of the link, on a real UDP socket: answers pings, takes the guest's stream and
/// checks every byte of it, or sends a stream of its own. The guest says which, in a hello; see
/// guest/net_wire.h for what they say to each other. One thread.
class NetEnd {
 public:
  /// `socket` is connected to the guest.
  explicit NetEnd(UniqueFd socket);

  /// Serves until `stop` says so; it is asked whenever nothing came for a while (100 ms at most).
  /// Errors: the socket fails.
  template <class Stop>
  Status serve(Stop stop) {
    while (true) {
      const auto came = turn();
      if (!came) return forward(came);
      if (*came == 0 && stop()) return {};
    }
  }

  [[nodiscard]] const wire::Receipt& received() const noexcept { return receipt_; }
  [[nodiscard]] std::uint64_t sent() const noexcept { return next_; }

 private:
  enum class State { kIdle, kReceiving, kSending };

  static constexpr unsigned kBatch = 32;  // messages of one system call
  static constexpr std::size_t kBufferBytes = 65536;
  static constexpr std::size_t kControlBytes = 64;

  /// Room for the messages of one recvmmsg or sendmmsg.
  struct Batch {
    Batch();
    std::vector<std::uint8_t> data;
    std::vector<mmsghdr> headers;
    std::vector<iovec> pieces;
    struct alignas(8) Control {
      char bytes[kControlBytes];
    };
    std::vector<Control> controls;

    [[nodiscard]] std::uint8_t* buffer(unsigned i) { return data.data() + i * kBufferBytes; }
  };

  /// Each answers how many messages came in.
  Result<unsigned> turn();
  Result<unsigned> send_stream();
  /// Takes what is there; waits for it as the state wants it.
  Result<unsigned> receive(bool wait);
  void take_train(const std::uint8_t* data, std::uint32_t bytes, std::uint32_t segment);
  void take(const std::uint8_t* data, std::uint32_t bytes);
  void take_control(const wire::Control& control);
  void send_control(wire::Kind kind);
  void acknowledge(bool idle);
  [[nodiscard]] bool may_send() const;
  void add_frame(unsigned number);
  void set_patience(unsigned milliseconds);

  UniqueFd socket_;
  State state_ = State::kIdle;
  unsigned patience_ms_ = 0;
  wire::Setting setting_;
  wire::Receipt receipt_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t next_ = 0;   ///< sequence number of the next datagram
  std::uint32_t index_ = 0;  ///< its place in its message
  bool trains_ = true;       ///< the kernel cuts
  std::uint64_t credited_ = 0;
  std::uint64_t recovered_ = 0;
  Batch in_;
  Batch out_;
};

}  // namespace bellhop::bench

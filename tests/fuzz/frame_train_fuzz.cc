// Whatever frames a driver sends one after the other, the host takes out of the trains what the
// driver put there.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "devices/net/frame_train.h"
#include "devices/net/net_offloads.h"
#include "memory/guest_span.h"
#include "testing/udp_frames.h"

namespace {

using namespace bellhop;
using Bytes = std::vector<std::byte>;

void check(bool good) {
  if (!good) std::abort();
}

class Sender {
 public:
  void send(Bytes frame) {
    FrameTrain::Frame look;
    std::memcpy(&look.header, frame.data(), sizeof look.header);
    look.bytes = frame.size() - sizeof look.header;
    if (!check_sent_header(look.header, look.bytes, Offloads::all())) return;
    // What it has taken out is not there to be compared.
    std::memcpy(frame.data(), &look.header, sizeof look.header);
    Bytes copy = frame;
    std::vector<GuestSpan> buffers{GuestSpan(copy.data(), copy.size())};
    look.buffers = buffers;
    buffers[0].part(sizeof look.header).copy_out(look.head);
    if (!train_.add(look, true)) {
      leave();
      check(train_.add(look, true));
    }
    waiting_.push_back(std::move(frame));
    kept_.push_back(std::move(copy));
  }
  void leave() {
    if (waiting_.empty()) return;
    check(train_.frames() == waiting_.size());
    Bytes sent;
    for (const iovec& part : train_.finish()) {
      const auto* const data = static_cast<const std::byte*>(part.iov_base);
      sent.insert(sent.end(), data, data + part.iov_len);
    }
    train_.clear();
    if (waiting_.size() == 1) {
      check(sent == waiting_[0]);
    } else {
      const auto apart = testing::take_apart(sent);
      check(apart.size() == waiting_.size());
      for (std::size_t i = 0; i < apart.size(); ++i) {
        check(testing::same_datagram(apart[i], waiting_[i]));
      }
    }
    waiting_.clear();
    kept_.clear();
  }

 private:
  FrameTrain train_;
  std::vector<Bytes> waiting_;
  std::vector<Bytes> kept_;  ///< what the train points at
};

}  // namespace

/// Input: for each frame its payload's length (two bytes), a flow, how many bytes of it are to be
/// turned over, and these: where, and how.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Sender sender;
  for (unsigned number = 0; size >= 4 && number < 200; ++number) {
    const std::size_t payload = (std::size_t{data[0]} << 8 | data[1]) % 3000;
    const testing::UdpFlow flow{.ip6 = (data[2] & 1) != 0,
                                .to_port = static_cast<std::uint16_t>(data[2] >> 7)};
    const std::size_t changes = data[3] % 4U;
    data += 4;
    size -= 4;
    Bytes frame = testing::udp_frame(flow, payload, number, static_cast<std::uint16_t>(payload));
    for (std::size_t i = 0; i < changes && size >= 2; ++i) {
      frame[data[0] % frame.size()] ^= static_cast<std::byte>(data[1]);
      data += 2;
      size -= 2;
    }
    sender.send(std::move(frame));
  }
  sender.leave();
  return 0;
}

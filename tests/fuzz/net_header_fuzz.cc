// Whatever header a driver puts before a frame, it is refused or means something to the host.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "devices/net/net_offloads.h"

namespace {

using namespace bellhop;
using namespace bellhop::virtio;

void check(bool good) {
  if (!good) std::abort();
}

void check_what_passed(const NetHeader& before, const NetHeader& header, std::size_t frame_bytes,
                       Offloads allowed) {
  check(frame_bytes >= kEthernetHeaderBytes && frame_bytes <= kMaxFrameBytes);
  check((header.flags & ~kNetHeaderNeedsCsum) == 0 && header.num_buffers == 0);
  if (header.flags != 0) {
    check(allowed.has(Offload::kCsum));
    check(header.csum_start == before.csum_start && header.csum_offset == before.csum_offset);
    check(std::size_t{header.csum_start} + header.csum_offset + 2 <= frame_bytes);
  }
  if (header.gso_type == kNetGsoNone) {
    check(header.gso_size == 0 && header.hdr_len == 0);
  } else {
    check(!allowed.empty() && header.gso_size != 0 && header.hdr_len <= frame_bytes);
    check(header.gso_type == before.gso_type && header.gso_size == before.gso_size);
  }
}

}  // namespace

/// Input: the header, the offloads that were negotiated, the length of the frame.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  NetHeader before{};
  if (size < sizeof before + 4) return 0;
  std::memcpy(&before, data, sizeof before);
  data += sizeof before;
  const Offloads allowed = Offloads::from_bits(data[0] & Offloads::all().bits());
  const std::size_t frame_bytes =
      (std::size_t{data[1] & 1U} << 16) | (std::size_t{data[2]} << 8) | data[3];

  NetHeader header = before;
  if (check_sent_header(header, frame_bytes, allowed)) {
    check_what_passed(before, header, frame_bytes, allowed);
    // What passed once is not refused later, and does not change any more.
    NetHeader again = header;
    check(check_sent_header(again, frame_bytes, allowed));
    check(std::memcmp(&again, &header, sizeof header) == 0);
  }
  if (check_received_header(before.flags, before.gso_type, {})) {
    check(before.gso_type == kNetGsoNone && (before.flags & kNetHeaderNeedsCsum) == 0);
  }
  check(check_received_header(before.flags, before.gso_type, allowed) ||
        !check_received_header(before.flags, before.gso_type, {}));
  return 0;
}

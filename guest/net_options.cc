#include "guest/net_options.h"

#include "guest/cmdline.h"
#include "guest/console.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {
namespace {

constexpr const char* kDirections[] = {"to-host", "to-guest", nullptr};
constexpr const char* kSwitch[] = {"on", "off", nullptr};
/// A frame of 64 bytes, without checksum: Ethernet, IPv4 and UDP take 42 of them.
constexpr std::uint32_t kSmallestMessage = 22;
constexpr std::uint32_t kSmallestBatch = 32;
/// What an Ethernet frame of 1500 bytes carries after IPv4 and UDP.
constexpr std::uint32_t kDatagramBytes = 1472;

}  // namespace

NetOptions parse_net_options(const Options& common) {
  NetOptions o;
  o.common = &common;
  const bool packets = common.workload == Workload::kNetPackets;
  o.features.event_idx = common.event_idx;
  // One descriptor holds a whole frame; tables are for who asks for them.
  o.features.indirect = cmdline_value("ring").present() && common.indirect;
  o.features.csum = cmdline_choice("csum", kSwitch) == 0;
  o.features.uso = cmdline_choice("uso", kSwitch) == 0;
  o.features.mergeable = cmdline_choice("mergeable", kSwitch) == 0;
  o.cut.message_bytes =
      number32("message", packets ? kSmallestMessage : 65536, 1, 16 * 1024 * 1024);
  o.cut.datagram_bytes = number32("datagram", kDatagramBytes, 1, wire::kMaxDatagramBytes);
  o.to_guest = common.workload == Workload::kNetReceive ||
               (packets && cmdline_choice("direction", kDirections) == 1);
  o.nic = number32("nic", 0, 0, 31);
  o.window_bytes = number32("window", o.window_bytes, 1, 1U << 30);
  o.batch = number32("batch", packets ? kSmallestBatch : 1, 1, 1024);
  o.receive_buffers = number32("rx_buffers", 0, 0, virtio::kMaxQueueSize);
  o.receive_bytes = number32("rx_buffer", 0, 0, 1U << 20);
  if (const char* wrong = cmdline_bad_word(); wrong != nullptr) {
    JsonLine("error").text("what", "value not understood").text("word", wrong).send();
    leave(kExitUsage);
  }
  if (common.workload != Workload::kNetPing && !o.cut.valid()) {
    fail(kExitUsage, "every datagram of a message needs at least 16 bytes");
  }
  if (o.receive_bytes != 0 && o.receive_bytes < 128) fail(kExitUsage, "rx_buffer is too small");
  return o;
}

}  // namespace bellhop::guest

// Whatever a driver writes into the control queue, it is refused or done, and the NIC stays one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "devices/net/net_control.h"
#include "testing/memory_nic.h"
#include "testing/test_memory.h"
#include "virtio/abi/net.h"

namespace {

using namespace bellhop;
using bellhop::testing::MemoryNic;
using bellhop::testing::must;

constexpr unsigned kPairs = 4;

void check(bool good) {
  if (!good) std::abort();
}

/// A NIC after DRIVER_OK whose driver has set up no queue: the commands come from here.
struct Nic {
  std::shared_ptr<MemoryNic> wire = std::make_shared<MemoryNic>(kPairs);
  NetDevice device{wire, {.id = "net0", .mac = 0x0605'0403'0202, .mtu = 1500, .queue_size = 8}};
  std::unique_ptr<QueueRunner> runner = must(QueueRunner::create({}));
  NetControl control{device, *runner};

  void start(std::uint64_t features) {
    const std::vector<QueueRunner*> none(2 * kPairs + 1, nullptr);
    must(device.activate(features, none));
  }
};

}  // namespace

/// Input: features that are left out, where the request is cut into buffers, then commands: each a
/// length and as many bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Nic nic;
  if (size < 4) return 0;
  const std::uint64_t left_out = (std::uint64_t{data[0]} << 17) | (data[1] & 4U);
  const std::size_t cut = data[2] + 1U;
  nic.start(nic.device.traits().features & ~left_out);
  std::span<const std::uint8_t> input(data + 3, size - 3);
  while (!input.empty()) {
    // Lengths over 200 stand for all that is left, so that long tables come up.
    const std::size_t wanted = input[0] > 200 ? SIZE_MAX : input[0];
    input = input.subspan(1);
    const auto request = input.first(std::min(wanted, input.size()));
    input = input.subspan(request.size());

    std::vector<std::byte> bytes(request.size());
    std::ranges::transform(request, bytes.begin(),
                           [](std::uint8_t byte) { return std::byte{byte}; });
    std::vector<GuestSpan> buffers;
    for (std::size_t at = 0; at < bytes.size(); at += cut) {
      buffers.emplace_back(bytes.data() + at, std::min(cut, bytes.size() - at));
    }
    (void)nic.control.execute(BufferRun(buffers), bytes.size());

    check(nic.wire->pairs_in_use() >= 1 && nic.wire->pairs_in_use() <= kPairs);
    check((nic.wire->guest_offloads().bits() & ~Offloads::all().bits()) == 0);
    virtio::NetConfig config{};
    nic.device.read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    check(config.mtu == 1500 && config.max_virtqueue_pairs == kPairs);
    check((config.status & virtio::kNetStatusLinkUp) != 0);
  }
  nic.device.reset();
  check(nic.wire->pairs_in_use() == 1 && nic.wire->guest_offloads().empty());
  return 0;
}

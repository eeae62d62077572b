#include "testing/limits_driver.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include "testing/eventually.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

using namespace virtio;

namespace {

constexpr std::uint64_t kFirstRing = 0x10000;

/// For what is a fault of the test itself.
void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

LimitsDriver::LimitsDriver(const GuestMemory& memory, InProcessDevice& host, const RingSetup& setup,
                           unsigned seed)
    : memory_(memory), host_(host), setup_(setup), random_(seed), next_place_(kRequests) {
  std::uint64_t at = kFirstRing;
  for (unsigned i = 0; i < host.life().queue_count(); ++i) {
    queues_.push_back(
        {.driver = std::make_unique<FakeDriver>(memory, GuestAddress(at), setup.driver_size,
                                                RingFeatures{.indirect = false,
                                                             .event_idx = setup.event_idx,
                                                             .packed = setup.packed,
                                                             .in_order = setup.in_order}),
         .chains = std::vector<Chain>(setup.driver_size)});
    at += (FakeDriver::bytes_needed(setup.driver_size) + 0xfff) & ~std::uint64_t{0xfff};
  }
  require(at <= kRequests);
}

std::vector<QueueConfig> LimitsDriver::queue_configs() const {
  std::vector<QueueConfig> configs;
  configs.reserve(queues_.size());
  for (const Queue& queue : queues_) configs.push_back(queue.driver->config());
  return configs;
}

std::vector<std::byte> LimitsDriver::random_bytes(std::size_t count) {
  // A length that no piece has, so that bytes at a wrong place differ.
  std::array<std::byte, 4093> some{};
  std::ranges::generate(some, [this] { return static_cast<std::byte>(random_()); });
  std::vector<std::byte> bytes(count);
  for (std::size_t at = 0; at < count; at += some.size()) {
    std::memcpy(bytes.data() + at, some.data(), std::min(some.size(), count - at));
  }
  return bytes;
}

std::uint64_t LimitsDriver::stat(std::string_view name) const {
  for (const DeviceStat& stat : host_.life().stats()) {
    if (name == stat.name) return stat.value;
  }
  std::abort();
}

GuestAddress LimitsDriver::place(std::uint64_t bytes, std::uint64_t alignment) {
  std::uint64_t at = (next_place_ + random(0, 100) + alignment - 1) / alignment * alignment;
  if (at + bytes > kMemory) at = kRequests;
  next_place_ = at + bytes;
  return GuestAddress(at);
}

std::vector<std::uint32_t> LimitsDriver::cut(std::uint32_t bytes, unsigned pieces) {
  if (bytes == 0 || pieces == 0) return {};
  std::set<std::uint32_t> ends{bytes};
  while (ends.size() < std::min(pieces, bytes)) ends.insert(random(1, bytes));
  std::vector<std::uint32_t> lengths;
  lengths.reserve(ends.size());
  std::uint32_t begin = 0;
  for (const std::uint32_t end : ends) lengths.push_back(end - std::exchange(begin, end));
  return lengths;
}

unsigned LimitsDriver::pieces(unsigned promised) const {
  return setup_.layout == Layout::kDirect ? std::min<unsigned>(promised, setup_.driver_size)
                                          : promised;
}

std::optional<unsigned> LimitsDriver::give(unsigned queue, std::span<const std::byte> readable,
                                           std::uint32_t writable, unsigned promised) {
  const auto read_bytes = static_cast<std::uint32_t>(readable.size());
  const unsigned least = (read_bytes != 0 ? 1U : 0U) + (writable != 0 ? 1U : 0U);
  const unsigned most = std::min(pieces(promised), read_bytes + writable);
  if (most < least) return std::nullopt;
  // The ends of what is allowed more often than what lies between.
  const unsigned kind = random(0, 3);
  const unsigned all = kind == 0 ? least : (kind == 1 ? random(least, most) : most);
  unsigned to_read = read_bytes == 0 ? 0 : (writable == 0 ? all : random(1, all - 1));
  to_read = std::max(std::min(to_read, read_bytes), all - std::min(all, writable));
  std::vector<FakeDriver::Buffer> buffers;
  std::size_t done = 0;
  for (const std::uint32_t length : cut(read_bytes, to_read)) {
    buffers.push_back({place(length), length, false});
    require(memory_.write(buffers.back().address, readable.subspan(done, length)));
    done += length;
  }
  for (const std::uint32_t length : cut(writable, all - to_read)) {
    buffers.push_back({place(length), length, true});
    require(memory_.write(buffers.back().address, std::vector<std::byte>(length, kUntouched)));
  }
  return offer(queue, buffers);
}

void LimitsDriver::write_table(GuestAddress at, std::span<const FakeDriver::Buffer> buffers) {
  std::vector<Desc> table(buffers.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    const bool last = i + 1 == table.size();
    table[i].addr = buffers[i].address.value();
    table[i].len = buffers[i].length;
    table[i].flags = static_cast<std::uint16_t>((buffers[i].device_writes ? kDescWrite : 0U) |
                                                (last ? 0U : kDescNext));
    table[i].next = static_cast<std::uint16_t>(last ? 0 : i + 1);
  }
  require(memory_.write(at, std::as_bytes(std::span(table))));
}

void LimitsDriver::write_packed_table(GuestAddress at,
                                      std::span<const FakeDriver::Buffer> buffers) {
  std::vector<PackedDesc> table(buffers.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i].addr = buffers[i].address.value();
    table[i].len = buffers[i].length;
    table[i].flags = buffers[i].device_writes ? kDescWrite : std::uint16_t{0};
  }
  require(memory_.write(at, std::as_bytes(std::span(table))));
}

std::optional<unsigned> LimitsDriver::offer(unsigned queue,
                                            std::span<const FakeDriver::Buffer> buffers) {
  FakeDriver& driver = *queues_[queue].driver;
  std::optional<std::uint16_t> head;
  if (setup_.layout == Layout::kDirect) {
    head = driver.add(buffers);
  } else {
    const auto bytes = static_cast<std::uint32_t>(buffers.size() * sizeof(Desc));
    const GuestAddress at = place(bytes, alignof(Desc));
    if (driver.features().packed) {
      write_packed_table(at, buffers);
    } else {
      write_table(at, buffers);
    }
    head = driver.add({{at, bytes, false}});
    if (head) driver.make_indirect(*head, at, bytes, writable_bytes(buffers));
  }
  if (!head) return std::nullopt;
  Chain& chain = queues_[queue].chains[*head];
  chain.request = next_request_++;
  chain.writable.clear();
  std::ranges::copy_if(buffers, std::back_inserter(chain.writable),
                       &FakeDriver::Buffer::device_writes);
  if (driver.offer()) host_.kick(queue);
  return chain.request;
}

std::optional<LimitsDriver::Answer> LimitsDriver::take(unsigned queue) {
  std::optional<FakeDriver::Used> used;
  FakeDriver& driver = *queues_[queue].driver;
  const bool came = eventually([&] {
    used = driver.reap();
    if (!used) (void)driver.enable_interrupts();
    return used.has_value();
  });
  if (!came || used->id >= setup_.driver_size) return std::nullopt;
  const Chain& chain = queues_[queue].chains[used->id];
  Answer answer{.request = chain.request, .length = used->length, .bytes = {}};
  for (const FakeDriver::Buffer& buffer : chain.writable) {
    const std::size_t before = answer.bytes.size();
    answer.bytes.resize(before + buffer.length);
    require(memory_.read(buffer.address, std::span(answer.bytes).subspan(before)));
  }
  ++answered_;
  return answer;
}

std::optional<LimitsDriver::Answer> LimitsDriver::ask(unsigned queue,
                                                      std::span<const std::byte> readable,
                                                      std::uint32_t writable, unsigned promised) {
  if (!give(queue, readable, writable, promised)) return std::nullopt;
  return take(queue);
}

bool LimitsDriver::give_malformed(unsigned queue, unsigned way) {
  const GuestAddress readable = place(64);
  const GuestAddress writable = place(64);
  require(memory_.write(writable, std::vector<std::byte>(64, kUntouched)));
  std::vector<FakeDriver::Buffer> buffers{{readable, 64, false}, {writable, 1, true}};
  switch (way) {
    case 0:  // more pieces than anybody was promised
      buffers.insert(buffers.begin(), kMaxChainBuffers, {readable, 1, false});
      break;
    case 1:  // outside RAM
      buffers.insert(buffers.begin(), {GuestAddress(kMemory + 0x1000), 16, false});
      break;
    case 2:  // of no length
      buffers.insert(buffers.begin(), {readable, 0, false});
      break;
    default:  // writable before readable
      buffers.insert(buffers.begin(), {GuestAddress(writable.value() + 1), 1, true});
      break;
  }
  if (buffers.size() > pieces(UINT32_MAX)) return false;
  return offer(queue, buffers).has_value();
}

}  // namespace bellhop::testing

#include "testing/vhost_user_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "testing/eventually.h"

namespace bellhop::testing {

using namespace vhost_user;

VhostUserClient::VhostUserClient(unsigned count, std::uint16_t size, RingFeatures features)
    : features_(features) {
  for (unsigned i = 0; i < count; ++i) {
    rings.push_back(std::make_unique<Ring>(memory, i, size, features));
  }
}

Status VhostUserClient::connect(const std::string& path) {
  acks_ = 0;
  auto channel = Channel::connect(path, Channel::Patience(kPatience));
  if (!channel) return forward(channel);
  channel_ = std::move(*channel);
  return {};
}

bool VhostUserClient::tell(Request request, std::span<const std::byte> payload,
                           std::span<const int> fds, std::uint32_t flags) {
  if (!channel_.send(request, flags, payload, fds)) return false;
  if ((flags & kNeedReply) == 0) return true;
  const auto reply = channel_.receive();
  std::uint64_t refused = 0;
  if (!reply || reply->request() != request || !reply->read(refused)) return false;
  if (reply->header.flags != (kVersion | kReply)) std::abort();  // DPDK takes no others
  return refused == 0;
}

std::optional<Message> VhostUserClient::ask_raw(Request request,
                                                std::span<const std::byte> payload) {
  if (!channel_.send(request, 0, payload)) return std::nullopt;
  auto reply = channel_.receive();
  if (!reply || reply->request() != request) return std::nullopt;
  if (reply->header.flags != (kVersion | kReply)) std::abort();
  return std::move(*reply);
}

bool VhostUserClient::is_closed() {
  pollfd wanted{.fd = socket(), .events = POLLRDHUP, .revents = 0};
  const auto patience = std::chrono::milliseconds(kPatience).count();
  return ::poll(&wanted, 1, static_cast<int>(patience)) == 1 && (wanted.revents & POLLRDHUP) != 0;
}

bool VhostUserClient::negotiate(std::uint64_t features, std::uint64_t protocol) {
  if (!tell(Request::kSetOwner) || !ask<std::uint64_t>(Request::kGetFeatures)) return false;
  if ((features & kProtocolBit) != 0) {
    if (!ask<std::uint64_t>(Request::kGetProtocolFeatures)) return false;
    if (!tell(Request::kSetProtocolFeatures, protocol)) return false;
    if ((protocol & kAcks) != 0) acks_ = kNeedReply;
  }
  return tell(Request::kSetFeatures, features);
}

MemoryRegion VhostUserClient::region(std::size_t index) const {
  const auto& one = memory.regions()[index];
  return {.guest_address = one.base.value(),
          .size = one.size,
          .user_address = std::bit_cast<std::uint64_t>(one.host),
          .mmap_offset = one.file_offset};
}

bool VhostUserClient::set_memory() {
  MemoryTable table;
  table.count = 2;
  std::array<int, 2> fds{};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    table.regions[i] = region(i);
    fds[i] = memory.regions()[i].fd;
  }
  const auto bytes = std::as_bytes(std::span(&table, 1));
  return tell(Request::kSetMemTable, bytes.first(8 + fds.size() * sizeof(MemoryRegion)), fds,
              acks_);
}

bool VhostUserClient::set_size(unsigned ring) {
  return tell(Request::kSetVringNum, VringState{.index = ring, .num = rings[ring]->size});
}

bool VhostUserClient::set_base(unsigned ring, std::uint32_t base) {
  return tell(Request::kSetVringBase, VringState{.index = ring, .num = base});
}

VringAddresses VhostUserClient::addresses(unsigned ring) const {
  const QueueConfig config = rings[ring]->driver.config();
  const std::uint64_t user = std::bit_cast<std::uint64_t>(memory.regions()[0].host);
  return {.index = ring,
          .flags = logs_rings ? kVringLog : 0,
          .desc = user + config.desc.value(),
          .used = user + config.device.value(),
          .avail = user + config.driver.value(),
          .log = logs_rings ? config.device.value() : 0};
}

bool VhostUserClient::set_addresses(unsigned ring) {
  return tell(Request::kSetVringAddr, addresses(ring));
}

bool VhostUserClient::set_event(Request request, unsigned ring, int fd) {
  const std::array fds{fd};
  return tell(request, std::uint64_t{ring}, fds);
}

bool VhostUserClient::enable(unsigned ring, bool on) {
  return tell(Request::kSetVringEnable, VringState{.index = ring, .num = on ? 1U : 0U});
}

bool VhostUserClient::track_inflight() {
  if (!inflight.file.valid()) {
    const InflightDescription wanted{.mmap_size = 0,
                                     .mmap_offset = 0,
                                     .num_queues = static_cast<std::uint16_t>(rings.size()),
                                     .queue_size = rings[0]->size,
                                     .padding = 0};
    auto reply = ask_raw(Request::kGetInflightFd, std::as_bytes(std::span(&wanted, 1)));
    if (!reply || !reply->read(inflight.region) || reply->fds.size() != 1) return false;
    inflight.file = std::move(reply->fds[0]);
  }
  const std::array fds{inflight.file.get()};
  return tell(Request::kSetInflightFd, inflight.region, fds);
}

bool VhostUserClient::set_log(const PageLog& log) {
  logs_rings = true;
  const LogDescription told{.mmap_size = log.bytes(), .mmap_offset = 0};
  // Answered whether an acknowledgement is asked for or not.
  return tell(Request::kSetLogBase, std::as_bytes(std::span(&told, 1)), std::array{log.fd()},
              kNeedReply);
}

std::optional<Channel> VhostUserClient::hear() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return std::nullopt;
  const UniqueFd theirs(ends[1]);
  Channel ours{UniqueFd(ends[0]), Channel::Patience(kPatience)};
  if (!tell(Request::kSetBackendReqFd, {}, std::array{theirs.get()})) return std::nullopt;
  return ours;
}

bool VhostUserClient::start_ring(unsigned ring, std::uint32_t base) {
  return set_size(ring) && set_base(ring, base) && set_addresses(ring) && set_kick(ring) &&
         set_call(ring) && set_err(ring) && enable(ring);
}

std::optional<std::uint32_t> VhostUserClient::stop_ring(unsigned ring) {
  const VringState asked{.index = ring, .num = 0};
  const auto reply = ask<VringState>(Request::kGetVringBase, std::as_bytes(std::span(&asked, 1)));
  if (!reply || reply->index != ring) return std::nullopt;
  return reply->num;
}

void VhostUserClient::offer(unsigned ring, std::span<const std::byte> bytes, std::uint64_t slot) {
  const GuestAddress out(kBuffers + 0x2000 * slot);
  const GuestAddress in(out.value() + 0x1000);
  if (!memory.write(out, bytes)) std::abort();
  const auto length = static_cast<std::uint32_t>(bytes.size());
  FakeDriver& driver = rings[ring]->driver;
  if (!driver.add({{out, length, false}, {in, length, true}})) std::abort();
  (void)driver.offer();
}

std::optional<std::uint32_t> VhostUserClient::reap(unsigned ring) {
  std::optional<DriverRing::Used> used;
  if (!eventually([&] { return (used = rings[ring]->driver.reap()).has_value(); })) {
    return std::nullopt;
  }
  return used->length;
}

std::optional<std::uint32_t> VhostUserClient::kick_and_reap(unsigned ring) {
  rings[ring]->kick.signal();
  return reap(ring);
}

bool VhostUserClient::echo(unsigned ring) {
  std::array<std::byte, 5> bytes{};
  bytes.fill(static_cast<std::byte>(++echoes_));
  offer(ring, bytes);
  if (kick_and_reap(ring) != bytes.size()) return false;
  std::array<std::byte, bytes.size()> back{};
  return memory.read(GuestAddress(kBuffers + 0x1000), back) && back == bytes;
}

}  // namespace bellhop::testing

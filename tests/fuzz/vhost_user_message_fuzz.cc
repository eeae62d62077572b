// Whatever a vhost-user front end says, with whatever descriptors: the back end goes on or parts,
// its rings stay in the memory that it was given, and afterwards a good front end is served.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "event/io_thread.h"
#include "memory/fault_guard.h"
#include "testing/echo_device.h"
#include "testing/vhost_user_client.h"
#include "transport/vhost_user/vhost_user_device.h"

namespace {

using namespace bellhop;
using namespace bellhop::vhost_user;
using bellhop::testing::must;
using Client = bellhop::testing::VhostUserClient;

constexpr unsigned kRings = 2;
constexpr std::uint64_t kLoose = 16U << 20;  ///< as large as the first region
constexpr std::uint64_t kNotes = 4096;       ///< requests in flight of all rings
constexpr std::uint64_t kLog = 132 << 10;    ///< a bit for each page of the client's memory
constexpr std::uint64_t kInBand =
    std::uint64_t{1} << kProtocolBackendReq | std::uint64_t{1} << kProtocolInbandNotifications;
constexpr std::uint64_t kPacked = virtio::feature_mask(virtio::kFeatureRingPacked);

struct Host {
  Host() {
    must(FaultGuard::install());
    if (::ftruncate(loose.get(), kLoose) != 0 || ::ftruncate(notes.get(), kNotes) != 0 ||
        ::ftruncate(log.get(), kLog) != 0 || ::pipe2(pipe.data(), O_CLOEXEC) != 0) {
      std::abort();
    }
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    for (std::size_t i = 0; i < ends.size(); ++i) news[i] = UniqueFd(ends[i]);
    auto made = std::make_unique<bellhop::testing::EchoDevice>(static_cast<std::uint16_t>(kRings));
    device = must(VhostUserDevice::create(std::move(made),
                                          {.memory = nullptr,
                                           .threads = {thread.get()},
                                           .notify = NotifyMode::kIoEventFd,
                                           .ring_features = kPacked},
                                          {.in_band = true}));
  }
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  std::unique_ptr<VhostUserDevice> device;
  UniqueFd loose{::memfd_create("loose", MFD_CLOEXEC)};  ///< not sealed: it is cut now and then
  UniqueFd notes{::memfd_create("notes", MFD_CLOEXEC)};  ///< of requests in flight, by the input
  UniqueFd log{::memfd_create("log", MFD_CLOEXEC)};      ///< cut now and then, too
  std::array<int, 2> pipe{};
  std::array<UniqueFd, 2> news;  ///< what the device says by itself, read and written
};

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}
  [[nodiscard]] bool empty() const { return left_.empty(); }
  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const std::uint8_t one = left_.front();
    left_ = left_.subspan(1);
    return one;
  }
  std::span<const std::uint8_t> take(std::size_t count) {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::uint8_t> left_;
};

template <class T>
void put(Message& message, const T& value, std::size_t size = sizeof(T)) {
  std::memcpy(message.payload.data(), &value, size);
  message.header.size = static_cast<std::uint32_t>(size);
}

/// What a good front end would say, for the input to spoil.
void fill(Message& message, const Client& client, unsigned ring) {
  MemoryTable table;
  table.count = 2;
  for (std::size_t i = 0; i < 2; ++i) table.regions[i] = client.region(i);
  switch (message.request()) {
    case Request::kSetFeatures:
      return put(message, Client::kVersion1 | Client::kProtocolBit |
                              (ring != 0 ? Client::kLogBit : std::uint64_t{0}));
    case Request::kSetProtocolFeatures:
      return put(message, Client::kTracking | Client::kLogging | (ring != 0 ? kInBand : 0));
    case Request::kSetLogBase:
      return put(message, LogDescription{.mmap_size = kLog, .mmap_offset = 0});
    case Request::kGetInflightFd:
    case Request::kSetInflightFd:
      return put(message, InflightDescription{.mmap_size = kNotes,
                                              .mmap_offset = 0,
                                              .num_queues = kRings,
                                              .queue_size = 16,
                                              .padding = 0});
    case Request::kSetMemTable:
      return put(message, table, 8 + 2 * sizeof(MemoryRegion));
    case Request::kAddMemReg:
    case Request::kRemMemReg:
      return put(message, SingleRegion{.padding = 0, .region = client.region(ring)});
    case Request::kSetVringAddr:
      return put(message, client.addresses(ring));
    case Request::kSetVringNum:
      return put(message, VringState{.index = ring, .num = 16});
    case Request::kVringKick:
    case Request::kSetVringBase:
    case Request::kGetVringBase:
      return put(message, VringState{.index = ring, .num = 0});
    case Request::kSetVringEnable:
      return put(message, VringState{.index = ring, .num = 1});
    case Request::kSetVringKick:
    case Request::kSetVringCall:
    case Request::kSetVringErr:
      return put(message, std::uint64_t{ring});
    case Request::kGetConfig:
    case Request::kSetConfig:
      put(message, ConfigHead{.offset = 0, .size = 8, .flags = 0});
      message.header.size += 8;
      return;
    default:
      return;
  }
}

constexpr unsigned kNotesChoice = 5;
constexpr unsigned kLogChoice = 8;
constexpr unsigned kNewsChoice = 9;

void add_fd(Message& message, Host& host, const Client& client, unsigned ring, unsigned choice) {
  const std::array fds{client.memory.regions()[0].fd,
                       client.memory.regions()[1].fd,
                       client.rings[ring]->kick.get(),
                       client.rings[ring]->call.get(),
                       host.loose.get(),
                       host.notes.get(),
                       host.pipe[0],
                       host.pipe[1],
                       host.log.get(),
                       host.news[1].get()};
  if (choice >= fds.size()) return;
  message.fds.emplace_back(::fcntl(fds[choice], F_DUPFD_CLOEXEC, 0));
}

/// What a lost back end may have left, or anything else.
void spoil_notes(Input& input, Host& host) {
  for (unsigned count = input.byte() % 32U; count != 0; --count) {
    const std::uint64_t at = (input.byte() | static_cast<unsigned>(input.byte()) << 8U) % kNotes;
    const std::uint8_t value = input.byte();
    if (::pwrite(host.notes.get(), &value, 1, static_cast<off_t>(at)) != 1) std::abort();
  }
}

bool one_message(Input& input, Host& host, Client& client, Channel& channel) {
  Message message;
  const std::uint8_t what = input.byte();
  const std::uint8_t how = input.byte();
  const unsigned ring = how & 1;
  message.header = {
      .request = what % 48U, .flags = kVersion | ((how & 2) != 0 ? kNeedReply : 0), .size = 0};
  if ((how & 4) == 0) fill(message, client, ring);
  if ((how & 8) != 0) {  // spoilt, or made up
    const std::uint8_t at = input.byte();
    const auto bytes = input.take(input.byte() % 32U);
    for (std::size_t i = 0; i < bytes.size(); ++i) message.payload[at + i] ^= std::byte{bytes[i]};
    if ((how & 16) != 0) message.header.size = input.byte() * 2U;
  }
  const bool memory = message.request() == Request::kSetMemTable;
  const bool event =
      message.request() >= Request::kSetVringKick && message.request() <= Request::kSetVringErr;
  if ((how & 32) != 0) {
    for (unsigned count = input.byte() % 4U; count != 0; --count) {
      add_fd(message, host, client, ring, input.byte() % 11U);
    }
  } else if (memory) {
    add_fd(message, host, client, ring, 0);
    add_fd(message, host, client, ring, 1);
  } else if (message.request() == Request::kSetInflightFd) {
    spoil_notes(input, host);
    add_fd(message, host, client, ring, kNotesChoice);
  } else if (message.request() == Request::kSetLogBase) {
    add_fd(message, host, client, ring, kLogChoice);
  } else if (message.request() == Request::kSetBackendReqFd) {
    add_fd(message, host, client, ring, kNewsChoice);
  } else if (message.request() == Request::kSetLogFd) {
    add_fd(message, host, client, ring, 3);
  } else if (message.request() == Request::kAddMemReg) {
    add_fd(message, host, client, ring, ring);
  } else if (event) {
    add_fd(message, host, client, ring, message.request() == Request::kSetVringKick ? 2 : 3);
  }
  if ((how & 64) != 0) client.rings[ring]->kick.signal();
  if ((how & 128) != 0) {
    const std::uint8_t which = input.byte();
    if (::ftruncate(host.loose.get(), (which % 2) * kLoose) != 0) std::abort();
    if (::ftruncate(host.log.get(), (which / 2 % 2) * kLog) != 0) std::abort();
  }
  return host.device->handle(message, channel).has_value();
}

}  // namespace

/// Input: messages, each two bytes and what these ask for.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Host& host = *new Host;  // its log lines must not outlive the log
  Client client(kRings);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  Channel channel{UniqueFd(ends[0]), Channel::Patience(10)};
  const UniqueFd reader(ends[1]);
  const std::array<std::byte, 2> request{std::byte{1}, std::byte{2}};
  for (unsigned ring = 0; ring < kRings; ++ring) client.offer(ring, request);
  Input input(data, size);
  for (unsigned count = 0; count < 64 && !input.empty(); ++count) {
    if (!one_message(input, host, client, channel)) break;
    std::array<std::byte, 1024> answers{};
    (void)::recv(reader.get(), answers.data(), answers.size(), MSG_DONTWAIT);
    if (host.device->news().consume() != 0) host.device->look_at_news();
    host.device->look_at_watched();
    // What it says itself is read, or it would wait for that.
    (void)::recv(host.news[0].get(), answers.data(), answers.size(), MSG_DONTWAIT);
  }
  host.device->disconnected();
  // Each input is to do the same whatever came before it.
  if (::ftruncate(host.notes.get(), 0) != 0 || ::ftruncate(host.notes.get(), kNotes) != 0 ||
      ::ftruncate(host.log.get(), kLog) != 0) {
    std::abort();
  }
  if (host.device->running() != 0) std::abort();
  return 0;
}

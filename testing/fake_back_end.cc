#include "testing/fake_back_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "testing/test_memory.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

using namespace vhost_user;
using namespace virtio;

namespace {

struct Mapping {
  MemoryRegion region;
  std::byte* host = nullptr;
};

template <class T>
T load(const std::byte* at) {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::atomic_ref<std::uint16_t> index_at(std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(at));
}

}  // namespace

class FakeBackEnd::Session {
 public:
  Session(FakeBackEnd& owner, UniqueFd socket)
      : owner_(owner), fd_(socket.get()), channel_(std::move(socket), Channel::Patience(60000)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Session() {
    (void)::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    for (unsigned i = 0; i < rings_.size(); ++i) halt(i);
    for (const Mapping& one : memory_) ::munmap(one.host, one.region.size);
  }

 private:
  struct Ring {
    unsigned size = 0;
    std::uint16_t next = 0;
    VringAddresses at;
    UniqueFd kick;
    EventFd call;
    EventFd fault;
    bool enabled = false;
    std::unique_ptr<EventFd> end;
    std::thread worker;
  };

  void run() {
    while (true) {
      pollfd wanted{.fd = fd_, .events = POLLIN, .revents = 0};
      (void)::poll(&wanted, 1, -1);
      auto message = channel_.receive();
      if (!message) return;
      Hook hook;
      {
        const std::lock_guard<std::mutex> hold(owner_.mutex_);
        hook = owner_.hook_;
      }
      if (hook && hook(*message, channel_)) continue;
      const auto answer = carry_out(*message);
      if (!answer) ++owner_.wrong_;
      if ((message->header.flags & kNeedReply) != 0) {
        const std::uint64_t refused = answer ? 0 : 1;
        reply(message->request(), refused);
      }
    }
  }

  template <class T>
  void reply(Request request, const T& value) {
    (void)channel_.send(request, kReply, std::as_bytes(std::span(&value, 1)));
  }

  /// Nothing: it was wrong.
  std::optional<bool> carry_out(Message& message) {
    std::uint64_t number = 0;
    VringState state;
    switch (message.request()) {
      case Request::kSetOwner:
        return true;
      case Request::kGetFeatures:
        reply(message.request(), owner_.features_.load());
        return true;
      case Request::kGetProtocolFeatures:
        reply(message.request(), owner_.protocol_.load());
        return true;
      case Request::kGetQueueNum:
        reply(message.request(), owner_.queues_.load());
        return true;
      case Request::kSetProtocolFeatures:
        if (!message.read(number) || (number & ~owner_.protocol_) != 0) return std::nullopt;
        return true;
      case Request::kSetFeatures:
        if (!message.read(number) || (number & ~owner_.features_) != 0) return std::nullopt;
        owner_.acked_features_ = number;
        return true;
      case Request::kGetConfig:
      case Request::kSetConfig:
        return use_config(message);
      case Request::kSetBackendReqFd: {
        if (message.fds.size() != 1) return std::nullopt;
        const std::lock_guard<std::mutex> hold(owner_.mutex_);
        owner_.requests_ = std::move(message.fds[0]);
        return true;
      }
      case Request::kNetSetMtu:
        if (!message.read(number)) return std::nullopt;
        owner_.mtu_ = number;
        return true;
      case Request::kSetMemTable:
        return map(message);
      case Request::kSetVringAddr: {
        VringAddresses at;
        if (!message.read(at) || at.index >= rings_.size() || at.flags != 0) return std::nullopt;
        rings_[at.index].at = at;
        return true;
      }
      case Request::kSetVringKick:
      case Request::kSetVringCall:
      case Request::kSetVringErr:
        if (!message.read(number) || number >= rings_.size() || message.fds.size() != 1) {
          return std::nullopt;
        }
        return set_event(message.request(), static_cast<unsigned>(number),
                         std::move(message.fds[0]));
      default:
        if (!message.read(state) || state.index >= rings_.size()) return std::nullopt;
        return set_state(message.request(), state);
    }
  }

  std::optional<bool> use_config(const Message& message) {
    const std::lock_guard<std::mutex> hold(owner_.mutex_);
    std::vector<std::byte>& space = owner_.config_;
    ConfigHead head;
    const auto bytes = message.bytes();
    if (bytes.size() < sizeof head) return std::nullopt;
    std::memcpy(&head, bytes.data(), sizeof head);
    const bool within = head.offset <= space.size() && head.size <= space.size() - head.offset &&
                        bytes.size() == sizeof head + head.size;
    if (message.request() == Request::kGetConfig) {
      std::vector<std::byte> answer(bytes.begin(), within ? bytes.end() : bytes.begin());
      if (within) std::copy_n(space.begin() + head.offset, head.size, answer.begin() + sizeof head);
      (void)channel_.send(message.request(), kReply, answer);
      return true;
    }
    if (!within) return std::nullopt;
    std::ranges::copy(bytes.subspan(sizeof head), space.begin() + head.offset);
    return true;
  }

  std::optional<bool> map(const Message& message) {
    MemoryTable table;
    std::memcpy(&table, message.payload.data(),
                std::min<std::size_t>(message.header.size, sizeof table));
    if (table.count > kMaxRegions || message.fds.size() != table.count ||
        message.header.size !=
            offsetof(MemoryTable, regions) + table.count * sizeof(MemoryRegion)) {
      return std::nullopt;
    }
    for (unsigned i = 0; i < table.count; ++i) {
      const MemoryRegion& region = table.regions[i];
      void* const host = ::mmap(nullptr, region.size, PROT_READ | PROT_WRITE, MAP_SHARED,
                                message.fds[i].get(), static_cast<off_t>(region.mmap_offset));
      if (host == MAP_FAILED) return std::nullopt;
      memory_.push_back({region, static_cast<std::byte*>(host)});
    }
    return true;
  }

  std::optional<bool> set_event(Request request, unsigned index, UniqueFd event) {
    Ring& ring = rings_[index];
    if (request == Request::kSetVringKick) {
      if (ring.worker.joinable()) return std::nullopt;
      ring.kick = std::move(event);
      start(index);
      return true;
    }
    const std::lock_guard<std::mutex> hold(rings_mutex_);
    (request == Request::kSetVringCall ? ring.call : ring.fault) =
        must(EventFd::adopt(std::move(event)));
    return true;
  }

  std::optional<bool> set_state(Request request, VringState state) {
    Ring& ring = rings_[state.index];
    switch (request) {
      case Request::kSetVringNum:
        ring.size = state.num;
        return true;
      case Request::kSetVringBase:
        ring.next = static_cast<std::uint16_t>(state.num);
        return true;
      case Request::kSetVringEnable:
        ring.enabled = state.num != 0;
        start(state.index);
        return true;
      case Request::kGetVringBase:
        halt(state.index);
        state.num = ring.next + owner_.base_shift_;
        reply(request, state);
        return true;
      default:
        return std::nullopt;
    }
  }

  void start(unsigned index) {
    Ring& ring = rings_[index];
    if (!ring.enabled || !ring.kick.valid() || ring.worker.joinable()) return;
    ring.end = std::make_unique<EventFd>(must(EventFd::create()));
    ++owner_.serving_;
    ring.worker = std::thread([this, &ring] { serve(ring); });
  }
  void halt(unsigned index) {
    Ring& ring = rings_[index];
    if (ring.worker.joinable()) {
      ring.end->signal();
      ring.worker.join();
      --owner_.serving_;
    }
    ring.kick.reset();  // the worker takes a copy as it starts
  }

  std::byte* by(std::uint64_t address, std::uint64_t MemoryRegion::*base) {
    for (const Mapping& one : memory_) {
      const std::uint64_t offset = address - one.region.*base;
      if (offset < one.region.size) return one.host + offset;
    }
    return nullptr;
  }

  void serve(Ring& ring) {
    std::byte* const desc = by(ring.at.desc, &MemoryRegion::user_address);
    std::byte* const avail = by(ring.at.avail, &MemoryRegion::user_address);
    std::byte* const used = by(ring.at.used, &MemoryRegion::user_address);
    const int kick = ::fcntl(ring.kick.get(), F_DUPFD_CLOEXEC, 0);
    const EventFd interrupt = must(EventFd::adopt(UniqueFd(kick)));
    while (true) {
      std::array<pollfd, 2> wanted{pollfd{.fd = interrupt.get(), .events = POLLIN, .revents = 0},
                                   pollfd{.fd = ring.end->get(), .events = POLLIN, .revents = 0}};
      (void)::poll(wanted.data(), wanted.size(), -1);
      if (wanted[1].revents != 0) return;
      (void)interrupt.consume();
      auto index = index_at(avail + kAvailIdxOffset);
      if (static_cast<std::uint16_t>(index.load() - ring.next) > ring.size) {
        const std::lock_guard<std::mutex> hold(rings_mutex_);
        ring.fault.signal();
        continue;
      }
      while (ring.next != index.load()) {
        const auto head = load<std::uint16_t>(avail + 4 + 2U * (ring.next % ring.size));
        const std::uint32_t written = echo(desc, head);
        auto out = index_at(used + kUsedIdxOffset);
        const std::array<std::uint32_t, 2> entry{head, written};
        std::memcpy(used + 4 + 8U * (out.load() % ring.size), entry.data(), sizeof entry);
        ++ring.next;
        out.store(static_cast<std::uint16_t>(out.load() + 1));
        ++owner_.served_;
        const std::lock_guard<std::mutex> hold(rings_mutex_);
        ring.call.signal();
      }
    }
  }

  std::uint32_t echo(const std::byte* descs, std::uint16_t head) {
    std::vector<std::byte> bytes;
    std::uint32_t written = 0;
    for (std::uint16_t at = head;;) {
      const auto desc = load<Desc>(descs + sizeof(Desc) * at);
      std::byte* const data = by(desc.addr, &MemoryRegion::guest_address);
      if (data == nullptr) return written;
      if ((desc.flags & kDescWrite) == 0) {
        bytes.insert(bytes.end(), data, data + desc.len);
      } else {
        for (std::uint32_t i = 0; i < desc.len && written < bytes.size(); ++i) {
          data[i] = static_cast<std::byte>(std::to_integer<unsigned>(bytes[written++]) + 1);
        }
      }
      if ((desc.flags & kDescNext) == 0) return written;
      at = desc.next;
    }
  }

  FakeBackEnd& owner_;
  int fd_;
  Channel channel_;
  std::vector<Mapping> memory_;
  std::mutex rings_mutex_;  ///< call and fault, which change while rings are served
  std::array<Ring, 4> rings_;
  std::thread thread_;
};

FakeBackEnd::FakeBackEnd() = default;
FakeBackEnd::~FakeBackEnd() { hang_up(); }

Result<Channel> FakeBackEnd::connect(Channel::Patience patience) {
  if (refuse_) return fail("nobody listens", ECONNREFUSED);
  hang_up();
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  ++connections_;
  session_ = std::make_unique<Session>(*this, UniqueFd(ends[1]));
  return Channel(UniqueFd(ends[0]), patience);
}

void FakeBackEnd::hang_up() { session_.reset(); }

bool FakeBackEnd::tell_config_change() {
  const std::lock_guard<std::mutex> hold(mutex_);
  const Header header{.request = kBackendConfigChange, .flags = kVersion, .size = 0};
  return ::send(requests_.get(), &header, sizeof header, MSG_NOSIGNAL) == sizeof header;
}

void FakeBackEnd::set_hook(Hook hook) {
  const std::lock_guard<std::mutex> hold(mutex_);
  hook_ = std::move(hook);
}

}  // namespace bellhop::testing

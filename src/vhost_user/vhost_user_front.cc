#include "vhost_user/vhost_user_front.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/kernel_signal.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace vhost_user;

namespace {

constexpr std::uint64_t kProtocolBit = std::uint64_t{1} << kFeatureProtocol;

constexpr std::uint64_t protocol_mask(unsigned bit) { return std::uint64_t{1} << bit; }

std::uint64_t address_of(const std::byte* pointer) noexcept {
  return std::bit_cast<std::uint64_t>(pointer);
}

}  // namespace

Result<std::unique_ptr<VhostUserFront>> VhostUserFront::create(const Setup& setup,
                                                               Connect connect) {
  // Now, for who starts the device may not be allowed to.
  if (const auto kernel = KernelSignal::get(); !kernel) return forward(kernel);
  std::unique_ptr<VhostUserFront> front(new VhostUserFront(setup, std::move(connect)));
  auto silent = EventFd::create();
  if (!silent) return forward(silent);
  front->silent_ = std::move(*silent);
  if (setup.config_bytes != 0) {
    auto requests = BackEndRequests::create();
    if (!requests) return forward(requests);
    front->requests_ = std::move(*requests);
  }
  front->handed_.resize(setup.queues);
  front->faults_.resize(setup.queues);
  for (unsigned i = 0; i < setup.queues; ++i) {
    VhostPeer& peer = *front;
    VhostRingOwner& owner = *front;
    front->rings_.push_back(std::make_unique<VhostRing>(peer, i, owner, i));
  }
  const std::lock_guard<std::mutex> hold(front->mutex_);
  if (auto opened = front->open(); !opened) return forward(opened);
  return front;
}

VhostUserFront::~VhostUserFront() { unwatch(); }

std::string VhostUserFront::named(std::string_view what) const {
  return fmt::format("{}: {}", setup_.name, what);
}

/// A new connection, and what can be agreed on before there is a driver.
Status VhostUserFront::open() {
  connected_ = false;
  acks_ = false;
  hears_ = false;
  memory_ = nullptr;
  auto channel = connect_(setup_.patience);
  if (!channel) return forward(channel);
  channel_ = std::move(*channel);
  connected_ = true;
  {
    const std::lock_guard<std::mutex> hold(faults_mutex_);
    lost_ = false;
  }
  if (auto owned = tell(Request::kSetOwner, Bytes()); !owned) return owned;
  const auto offered = ask<std::uint64_t>(Request::kGetFeatures);
  if (!offered) return forward(offered);
  // What a driver was offered once it is offered for good.
  if (const auto missing = (setup_.features | features_ | kProtocolBit) & ~*offered; missing != 0) {
    return give_up({fmt::format("the back end lacks features {:#x}", missing), ENOTSUP});
  }
  if (features_ == 0) features_ = setup_.features | (setup_.wanted & *offered);
  if (auto agreed = agree(); !agreed) return agreed;
  if (setup_.config_bytes != 0) {
    if (auto fetched = fetch_config(); !fetched) return fetched;
  }
  up_ = true;
  return {};
}

/// The features of the protocol, and what comes with each of them.
Status VhostUserFront::agree() {
  const auto protocol = ask<std::uint64_t>(Request::kGetProtocolFeatures);
  if (!protocol) return forward(protocol);
  const unsigned needed = setup_.least_queue_num != 0 ? setup_.least_queue_num : setup_.queues;
  const bool counts = (*protocol & protocol_mask(kProtocolMq)) != 0;
  if (needed > 1 && !counts) {
    return give_up({"the back end lacks the protocol feature MQ", ENOTSUP});
  }
  std::uint64_t wanted = protocol_mask(kProtocolMq) | protocol_mask(kProtocolReplyAck);
  if (setup_.config_bytes != 0) {
    if ((*protocol & protocol_mask(kProtocolConfig)) == 0) {
      return give_up({"the back end lacks the protocol feature CONFIG", ENOTSUP});
    }
    wanted |= protocol_mask(kProtocolConfig);
    requests_->forget();
    if (requests_->usable()) wanted |= protocol_mask(kProtocolBackendReq);
  }
  if (setup_.mtu != 0) wanted |= protocol_mask(kProtocolMtu);
  const std::uint64_t agreed = *protocol & wanted;
  if (auto set = tell(Request::kSetProtocolFeatures, agreed); !set) return set;
  acks_ = (agreed & protocol_mask(kProtocolReplyAck)) != 0;
  if (counts) {
    const auto queues = ask<std::uint64_t>(Request::kGetQueueNum);
    if (!queues) return forward(queues);
    if (*queues < needed) {
      return give_up({fmt::format("the back end has {} queues, not {}", *queues, needed), ENOTSUP});
    }
    if (auto enough = look_for_last_ring(*queues); !enough) return enough;
  }
  if ((agreed & protocol_mask(kProtocolBackendReq)) != 0) {
    const std::array fds{requests_->peer_fd()};
    if (auto set = tell(Request::kSetBackendReqFd, Bytes(), fds); !set) return set;
    hears_ = true;
  }
  if ((agreed & protocol_mask(kProtocolMtu)) != 0) {
    return tell(Request::kNetSetMtu, std::uint64_t{setup_.mtu});
  }
  return {};
}

/// A back end that says a smaller number than there are rings may count pairs, or have no more: its
/// last ring tells, before there is a driver.
Status VhostUserFront::look_for_last_ring(std::uint64_t said) {
  if (!acks_ || setup_.least_queue_num <= 1 || said >= setup_.queues) return {};
  constexpr std::uint32_t kSomeSize = 2;
  const VringState last{.index = setup_.queues - 1, .num = kSomeSize};
  auto known = tell(Request::kSetVringNum, last);
  if (known || !connected_) return known;
  return give_up({fmt::format("the back end has {} queues, number {} is not among them", said,
                              setup_.queues - 1),
                  ENOTSUP});
}

Status VhostUserFront::fetch_config() {
  config_stale_ = false;
  std::array<std::byte, sizeof(ConfigHead) + kMaxConfig> asked{};
  const ConfigHead head{
      .offset = 0, .size = static_cast<std::uint32_t>(setup_.config_bytes), .flags = 0};
  std::memcpy(asked.data(), &head, sizeof head);
  const auto bytes = std::span(asked).first(sizeof head + setup_.config_bytes);
  if (!connected_) return fail("vhost-user: there is no connection", ENOTCONN);
  if (auto sent = channel_.send(Request::kGetConfig, 0, bytes); !sent) {
    return give_up(sent.error());
  }
  const auto reply = reply_to(Request::kGetConfig);
  if (!reply) return forward(reply);
  ConfigHead said;
  const Bytes got = reply->bytes();
  if (got.size() == bytes.size()) std::memcpy(&said, got.data(), sizeof said);
  if (got.size() != bytes.size() || said.offset != 0 || said.size != head.size) {
    return give_up({fmt::format("the configuration space is answered by {} bytes, not {}",
                                got.size(), bytes.size()),
                    EPROTO});
  }
  const Bytes space = got.subspan(sizeof head);
  bool differs = false;
  {
    const std::lock_guard<std::mutex> hold(config_mutex_);
    differs = !config_.empty() && !std::ranges::equal(config_, space);
    config_.assign(space.begin(), space.end());
  }
  news_ |= differs;
  return {};
}

void VhostUserFront::read_config(std::uint32_t offset, std::span<std::byte> data) {
  bool news = false;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    // Of what it says while no driver is there no thread of ours hears.
    if (hears_ && requests_->take()) config_stale_ = true;
    if (config_stale_) {
      if (auto fetched = fetch_config(); !fetched) {
        log_.error("{}", named(fetched.error().message));
      }
      // Posted, not waited for: who has the I/O thread may wait for what the caller has.
      if (thread_ != nullptr) {
        thread_->loop().post([this] {
          if (request_watch_) request_watch_->arm();
        });
      }
    }
    news = std::exchange(news_, false);
  }
  if (news) changed_();
  const std::lock_guard<std::mutex> hold(config_mutex_);
  std::ranges::copy(std::span(config_).subspan(offset, data.size()), data.begin());
}

Status VhostUserFront::write_config(std::uint32_t offset, Bytes data) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const ConfigHead head{
      .offset = offset, .size = static_cast<std::uint32_t>(data.size()), .flags = 0};
  std::array<std::byte, sizeof head + kMaxConfig> bytes{};
  std::memcpy(bytes.data(), &head, sizeof head);
  std::ranges::copy(data, bytes.begin() + sizeof head);
  if (auto set = tell(Request::kSetConfig, Bytes(bytes).first(sizeof head + data.size())); !set) {
    return set;
  }
  const std::lock_guard<std::mutex> config(config_mutex_);
  std::ranges::copy(data, config_.begin() + offset);
  return {};
}

Status VhostUserFront::give_up(const Error& why) {
  if (connected_) {
    connected_ = false;
    up_ = false;
    // Wakes the watch as the peer's own end would.
    (void)::shutdown(channel_.fd(), SHUT_RDWR);
  }
  return fail("vhost-user: " + why.message, why.code);
}

Result<Message> VhostUserFront::reply_to(Request request) {
  auto reply = channel_.receive();
  if (!reply) return forward(give_up(reply.error()));
  if (reply->request() != request || (reply->header.flags & kReply) == 0 || !reply->fds.empty()) {
    return forward(give_up(
        {fmt::format("message {} is answered by message {}, flags {:#x}",
                     static_cast<unsigned>(request), reply->header.request, reply->header.flags),
         EPROTO}));
  }
  return reply;
}

Status VhostUserFront::tell(Request request, Bytes payload, std::span<const int> fds) {
  if (!connected_) return fail("vhost-user: there is no connection", ENOTCONN);
  if (auto sent = channel_.send(request, acks_ ? kNeedReply : 0, payload, fds); !sent) {
    return give_up(sent.error());
  }
  if (!acks_) return {};
  const auto reply = reply_to(request);
  if (!reply) return forward(reply);
  std::uint64_t refused = 0;
  if (!reply->read(refused)) {
    return give_up({fmt::format("message {} is acknowledged by {} bytes",
                                static_cast<unsigned>(request), reply->header.size),
                    EPROTO});
  }
  if (refused == 0) return {};
  return fail(
      fmt::format("vhost-user: the back end refuses message {}", static_cast<unsigned>(request)),
      EINVAL);
}

template <class T>
Result<T> VhostUserFront::ask(Request request, Bytes payload) {
  if (!connected_) return fail("vhost-user: there is no connection", ENOTCONN);
  if (auto sent = channel_.send(request, 0, payload); !sent) {
    return forward(give_up(sent.error()));
  }
  const auto reply = reply_to(request);
  if (!reply) return forward(reply);
  T value{};
  if (!reply->read(value)) {
    return forward(give_up({fmt::format("message {} is answered by {} bytes",
                                        static_cast<unsigned>(request), reply->header.size),
                            EPROTO}));
  }
  return value;
}

Status VhostUserFront::begin(std::uint64_t features) {
  unwatch();  // of the connection that may end here
  Status begun;
  bool news = false;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    begun = reopen_if_lost();
    if (begun) begun = tell(Request::kSetFeatures, (features & features_) | kProtocolBit);
    news = std::exchange(news_, false);
  }
  if (news) changed_();
  return begun;
}

/// There is no connection, or its end has been told already.
bool VhostUserFront::gone() const noexcept {
  const std::lock_guard<std::mutex> faults(faults_mutex_);
  return !connected_ || lost_;
}

Status VhostUserFront::reopen_if_lost() {
  if (!gone()) return {};
  if (auto opened = open(); !opened) return opened;
  log_.info("{}", named("connected to its back end again"));
  news_ = true;
  return {};
}

/// Guest memory never changes once it is made: each peer is told once.
Status VhostUserFront::set_memory(const GuestMemory& memory) {
  if (memory_ == &memory) return {};
  const auto regions = memory.regions();
  if (regions.size() > kMaxRegions || !memory.shared()) {
    return fail("the guest's memory cannot be shared with another process", EINVAL);
  }
  MemoryTable table;
  table.count = static_cast<std::uint32_t>(regions.size());
  std::array<int, kMaxRegions> fds{};
  for (std::size_t i = 0; i < regions.size(); ++i) {
    table.regions[i] = {.guest_address = regions[i].base.value(),
                        .size = regions[i].size,
                        .user_address = address_of(regions[i].host),
                        .mmap_offset = regions[i].file_offset};
    fds[i] = regions[i].fd;
  }
  const auto bytes =
      std::as_bytes(std::span(&table, 1))
          .first(offsetof(MemoryTable, regions) + regions.size() * sizeof(MemoryRegion));
  auto set = tell(Request::kSetMemTable, bytes, std::span(fds).first(regions.size()));
  if (set) memory_ = &memory;
  return set;
}

Status VhostUserFront::set_event(Request request, unsigned ring, const EventFd& event) {
  const std::uint64_t index = ring;
  const auto shared = event.share();
  if (!shared) return forward(shared);
  const std::array fds{*shared};
  return tell(request, std::as_bytes(std::span(&index, 1)), fds);
}

Status VhostUserFront::set_up(unsigned ring, const OffloadedRing& handed) {
  const std::lock_guard<std::mutex> hold(mutex_);
  handed_[ring] = handed;
  if (auto set = set_memory(*handed.memory); !set) return set;
  VringState state{.index = ring, .num = handed.size};
  if (auto set = tell(Request::kSetVringNum, state); !set) return set;
  state.num = handed.base;
  if (auto set = tell(Request::kSetVringBase, state); !set) return set;
  const VringAddresses addresses{.index = ring,
                                 .flags = 0,
                                 .desc = address_of(handed.desc),
                                 .used = address_of(handed.used),
                                 .avail = address_of(handed.avail),
                                 .log = 0};
  if (auto set = tell(Request::kSetVringAddr, addresses); !set) return set;
  if (auto set = set_event(Request::kSetVringErr, ring, *handed.fault); !set) return set;
  const EventFd& call = handed.call != nullptr ? *handed.call : silent_;
  if (auto set = set_event(Request::kSetVringCall, ring, call); !set) return set;
  // Last: the ring counts as started from here.
  return set_event(Request::kSetVringKick, ring, *handed.kick);
}

/// There is always an event: back ends take its lack for a fault, or poll.
Status VhostUserFront::set_call(unsigned ring, const EventFd* call) {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (gone()) return {};
  auto set = set_event(Request::kSetVringCall, ring, call != nullptr ? *call : silent_);
  return set ? set : fail(named(set.error().message), set.error().code);
}

Result<std::uint32_t> VhostUserFront::take_down(unsigned ring) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const OffloadedRing& handed = handed_[ring];
  // Where a packed ring stands only the peer knows: one that has gone leaves it broken.
  const std::uint32_t used = handed.packed ? handed.base : used_index(handed);
  if (gone()) return used;
  const VringState asked{.index = ring, .num = 0};
  const auto reply = ask<VringState>(Request::kGetVringBase, std::as_bytes(std::span(&asked, 1)));
  if (!reply) return fail(named(reply.error().message), reply.error().code);
  const auto base = static_cast<std::uint16_t>(reply->num);
  const RingState packed = ring_state_of_packed_base(reply->num);
  const bool outside = handed.packed
                           ? packed.next_avail >= handed.size || packed.next_used >= handed.size
                           : reply->num != base;
  if (reply->index != ring || outside) {
    const auto given_up = give_up(
        {fmt::format("ring {} is said to be at {} of ring {}", ring, reply->num, reply->index),
         EPROTO});
    return fail(named(given_up.error().message), EPROTO);
  }
  if (handed.packed) return reply->num;
  // No more can have been taken than there are entries. Either of both may be wrong, and the used
  // index is the guest's to spoil: no reason to part.
  return static_cast<std::uint16_t>(base - used) <= handed.size ? base : used;
}

Status VhostUserFront::enable(unsigned ring, bool on) {
  return tell(Request::kSetVringEnable, VringState{.index = ring, .num = on ? 1U : 0U});
}

Status VhostUserFront::use_rings(unsigned count) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const unsigned before = std::exchange(in_use_, count);
  const auto change_to = [&](unsigned wanted) -> Status {
    for (unsigned ring = 0; ring < setup_.queues; ++ring) {
      if ((ring < before) == (ring < count) || !is_ready(ring)) continue;
      if (auto told = enable(ring, ring < wanted); !told) return told;
    }
    return {};
  };
  auto done = change_to(count);
  if (done) return done;
  in_use_ = before;
  (void)change_to(before);  // those that it did not refuse
  return done;
}

bool VhostUserFront::is_ready(unsigned ring) const noexcept {
  const std::lock_guard<std::mutex> faults(faults_mutex_);
  return faults_[ring] != nullptr;
}

Status VhostUserFront::ring_ready(unsigned ring) {
  const std::lock_guard<std::mutex> hold(mutex_);
  if (auto told = enable(ring, ring < in_use_); !told) return told;
  const std::lock_guard<std::mutex> faults(faults_mutex_);
  faults_[ring] = handed_[ring].fault;
  // It may have gone between the answer and now.
  if (lost_) handed_[ring].fault->signal();
  return {};
}

void VhostUserFront::ring_leaves(unsigned ring) noexcept {
  {
    const std::lock_guard<std::mutex> faults(faults_mutex_);
    faults_[ring] = nullptr;
  }
  const std::lock_guard<std::mutex> hold(mutex_);
  if (gone()) return;
  if (auto off = enable(ring, false); !off) {
    log_.error("{}", named(off.error().message));
  }
}

Status VhostUserFront::watch(IoThread& thread) {
  unwatch();
  Status watched;
  thread.run_sync([&] {
    ReadyHandler& handler = *this;
    auto made = thread.loop().watch_fd(channel_.fd(), Readiness::kHungUp, handler);
    if (!made) {
      watched = forward(made);
      return;
    }
    watch_ = std::move(*made);
    watch_->arm();
    if (!hears_) return;
    made = thread.loop().watch_fd(requests_->fd(), Readiness::kReadable, request_call_);
    if (!made) {
      watched = forward(made);
      return;
    }
    request_watch_ = std::move(*made);
    request_watch_->arm();
  });
  const std::lock_guard<std::mutex> hold(mutex_);
  thread_ = &thread;
  return watched;
}

void VhostUserFront::unwatch() noexcept {
  IoThread* thread = nullptr;
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    thread = std::exchange(thread_, nullptr);
  }
  if (thread == nullptr) return;
  // Not with the lock held: see read_config(). Whatever was posted under it comes first.
  thread->run_sync([this] {
    watch_.reset();
    request_watch_.reset();
  });
}

/// The peer has gone, or we gave it up. On the I/O thread: no exchange is waited for.
void VhostUserFront::on_ready() noexcept {
  {
    const std::lock_guard<std::mutex> faults(faults_mutex_);
    if (std::exchange(lost_, true)) return;
    up_ = false;
    losses_.add();
    log_.error("{}", named("the connection to its back end has ended"));
    for (const EventFd* const fault : faults_) {
      if (fault != nullptr) fault->signal();
    }
  }
  changed_();
}

/// It speaks first. On the I/O thread: what has changed is asked for by who wants to know it, and
/// only then is more of it heard.
void VhostUserFront::on_request() noexcept {
  if (requests_->take()) {
    config_stale_ = true;
    changed_();
  } else if (requests_->usable()) {
    request_watch_->arm();
  } else {
    log_.warn("{}", named("its back end says what it may not; changes are not heard any more"));
  }
}

unsigned VhostUserFront::served() const noexcept {
  const std::lock_guard<std::mutex> faults(faults_mutex_);
  if (lost_) return 0;
  return static_cast<unsigned>(
      std::ranges::count_if(faults_, [](const EventFd* fault) { return fault != nullptr; }));
}

}  // namespace bellhop

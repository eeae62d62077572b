#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "testing/fake_driver.h"
#include "testing/page_log.h"
#include "testing/test_memory.h"
#include "vhost_user/channel.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/ring_state.h"

namespace bellhop::testing {

/// A vhost-user front end and the driver behind it, for tests of a back end: shared memory, rings
/// in it, and every message by itself, so that a test can leave one out, change their order or say
/// what no good front end says.
class VhostUserClient {
 public:
  static constexpr std::uint64_t kProtocolBit = std::uint64_t{1} << vhost_user::kFeatureProtocol;
  static constexpr std::uint64_t kVersion1 = std::uint64_t{1} << virtio::kFeatureVersion1;
  static constexpr std::uint64_t kAcks = std::uint64_t{1} << vhost_user::kProtocolReplyAck;
  static constexpr std::uint64_t kRingAt = 0x10000;    ///< ring i lies at (i + 1) times this
  static constexpr std::uint64_t kBuffers = 0x200000;  ///< from here on memory is the test's

  /// A ring: the driver's end, and its events.
  struct Ring {
    Ring(const GuestMemory& memory, unsigned index, std::uint16_t entries, RingFeatures features)
        : driver(memory, GuestAddress((index + 1) * kRingAt), entries, features), size(entries) {}
    FakeDriver driver;
    std::uint16_t size;
    EventFd kick = must(EventFd::create());
    EventFd call = must(EventFd::create());
    EventFd err = must(EventFd::create());
  };

  static constexpr std::uint64_t kTracking = kAcks | std::uint64_t{1}
                                                         << vhost_user::kProtocolInflightShmfd;

  static constexpr std::uint64_t kLogBit = std::uint64_t{1} << vhost_user::kFeatureLogAll;
  static constexpr std::uint64_t kLogging = kAcks | std::uint64_t{1}
                                                        << vhost_user::kProtocolLogShmfd;

  explicit VhostUserClient(unsigned rings = 1, std::uint16_t size = 16, RingFeatures features = {});

  /// Errors: nobody listens at `path`.
  Status connect(const std::string& path);
  void disconnect() { channel_ = {}; }
  [[nodiscard]] vhost_user::Channel& channel() noexcept { return channel_; }
  [[nodiscard]] int socket() const noexcept { return channel_.fd(); }

  /// Sends a message; with kNeedReply among `flags` the answer must be an acknowledgement. False:
  /// it is a refusal. Aborts where there is none.
  bool tell(vhost_user::Request request, std::span<const std::byte> payload,
            std::span<const int> fds = {}, std::uint32_t flags = vhost_user::kNeedReply);
  template <class T>
  bool tell(vhost_user::Request request, const T& value, std::span<const int> fds = {}) {
    return tell(request, std::as_bytes(std::span(&value, 1)), fds, acks_);
  }
  bool tell(vhost_user::Request request) { return tell(request, {}, {}, acks_); }
  /// A question; nothing if the connection ends instead.
  template <class T>
  std::optional<T> ask(vhost_user::Request request, std::span<const std::byte> payload = {}) {
    const auto reply = ask_raw(request, payload);
    T value{};
    if (!reply || !reply->read(value)) return std::nullopt;
    return value;
  }
  std::optional<vhost_user::Message> ask_raw(vhost_user::Request request,
                                             std::span<const std::byte> payload);
  /// Whether the other end closes the connection now, or soon.
  [[nodiscard]] bool is_closed();

  // ---- a good front end's ways ----

  /// Owner, features and protocol features; acknowledgements from then on, if `protocol` has them.
  bool negotiate(std::uint64_t features = kVersion1 | kProtocolBit, std::uint64_t protocol = kAcks);
  /// All of memory, in two regions, whose addresses in this process are those of the front end.
  bool set_memory();
  bool set_size(unsigned ring);
  bool set_base(unsigned ring, std::uint32_t base);
  bool set_addresses(unsigned ring);
  bool set_kick(unsigned ring) {
    return set_event(vhost_user::Request::kSetVringKick, ring, rings[ring]->kick.get());
  }
  bool set_call(unsigned ring) {
    return set_event(vhost_user::Request::kSetVringCall, ring, rings[ring]->call.get());
  }
  bool set_err(unsigned ring) {
    return set_event(vhost_user::Request::kSetVringErr, ring, rings[ring]->err.get());
  }
  bool set_event(vhost_user::Request request, unsigned ring, int fd);
  bool enable(unsigned ring, bool on = true);
  /// Has the back end note its requests in flight in memory that this client keeps from one
  /// connection to the next; the first time it asks for that memory. kProtocolInflightShmfd must be
  /// agreed on.
  bool track_inflight();
  /// Has what is written noted in `log` from now on, once kLogBit is agreed on, used rings too.
  bool set_log(const PageLog& log);
  /// The channel on which the back end tells of changes, once it has been agreed on: none, if the
  /// back end does not take it.
  [[nodiscard]] std::optional<vhost_user::Channel> hear();
  /// All of the above in QEMU's order.
  bool start_ring(unsigned ring) { return start_ring(ring, first_base()); }
  bool start_ring(unsigned ring, std::uint32_t base);
  /// Of a ring that nobody has served yet.
  [[nodiscard]] std::uint32_t first_base() const noexcept {
    return features_.packed ? packed_base({}) : 0;
  }
  /// Where it stands; nothing if the connection ends instead.
  std::optional<std::uint32_t> stop_ring(unsigned ring);

  [[nodiscard]] vhost_user::VringAddresses addresses(unsigned ring) const;
  [[nodiscard]] vhost_user::MemoryRegion region(std::size_t index) const;

  /// A request of `bytes` to be read, and room for as many: EchoDevice's kind. Offered, not kicked.
  void offer(unsigned ring, std::span<const std::byte> bytes, std::uint64_t slot = 0);
  /// Kicks, and waits for a request's end: what the device wrote, in bytes. Nothing if none comes.
  std::optional<std::uint32_t> kick_and_reap(unsigned ring);
  std::optional<std::uint32_t> reap(unsigned ring);
  /// Sends one through and checks what comes back.
  bool echo(unsigned ring);

  /// What is kept of requests in flight. Not valid: nothing.
  struct Inflight {
    vhost_user::InflightDescription region;
    UniqueFd file;
  };
  Inflight inflight;
  bool logs_rings = false;  ///< addresses() ask for used rings to be noted
  GuestMemory memory = make_memory();
  std::vector<std::unique_ptr<Ring>> rings;

 private:
  RingFeatures features_;
  vhost_user::Channel channel_;
  std::uint32_t acks_ = 0;  ///< kNeedReply where that was agreed on
  unsigned echoes_ = 0;
};

}  // namespace bellhop::testing

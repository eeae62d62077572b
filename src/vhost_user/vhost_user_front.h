#pragma once

#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/log_limiter.h"
#include "base/result.h"
#include "base/shared_counter.h"
#include "event/io_thread.h"
#include "vhost/vhost_peer.h"
#include "vhost/vhost_ring.h"
#include "vhost_user/back_end_requests.h"
#include "vhost_user/channel.h"
#include "virtio/queue/queue_back_end.h"

namespace bellhop {

/// The front end of vhost-user: another process, the back end, serves a device's queues. It is told
/// of them over a Unix socket, maps the guest's memory itself, and gets the eventfds of kicks and
/// interrupts; the data path does not come by here.
///
/// Nothing that the back end says is believed, and calls in a row wait for it no longer than
/// `patience` in all: one ring's start, or the start of all of a device's rings. If it goes, falls
/// silent or answers nonsense the connection is given up: that is logged once, watch() has every
/// ring's fault event signalled, and the next begin() connects anew. A back end that is silent but
/// alive may still write to the guest's memory, and take kicks and interrupts or make them up: only
/// its end prevents that.
///
/// Control path; any thread.
class VhostUserFront final : private VhostPeer, private VhostRingOwner, private ReadyHandler {
 public:
  struct Setup {
    std::string name;  ///< for people: "fs0"
    unsigned queues = 1;
    /// What GET_QUEUE_NUM must say at least: a NIC's back end may count pairs. 0: as many as
    /// `queues`. A back end without the protocol feature MQ has one.
    unsigned least_queue_num = 0;
    std::uint64_t features = 0;  ///< of the device and its rings; all of them are needed
    std::uint64_t wanted = 0;    ///< those that are taken where the back end offers them
    /// The first so many bytes of the configuration space are the back end's, up to
    /// vhost_user::kMaxConfig. 0: nothing of it is.
    std::size_t config_bytes = 0;
    std::uint16_t mtu = 0;  ///< told to a back end that takes it; 0: none
    vhost_user::Channel::Patience patience{5000};
  };
  using Connect = std::function<Result<vhost_user::Channel>(vhost_user::Channel::Patience)>;

  /// Errors: no connection, a peer that does not speak the protocol, or lacks features or queues.
  static Result<std::unique_ptr<VhostUserFront>> create(const Setup& setup, Connect connect);
  ~VhostUserFront();

  /// What a driver may be offered: setup.features, and of setup.wanted what the first back end had.
  /// Those that come after it must have them all.
  [[nodiscard]] std::uint64_t features() const noexcept { return features_; }
  /// `changed` is called when connected() or the configuration reads differently. Any thread, with
  /// locks of the caller's held: it must not call back. Before begin().
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }
  /// False from the connection's end to the next begin(). Any thread.
  [[nodiscard]] bool connected() const noexcept { return up_; }
  /// The back end's configuration space, within setup.config_bytes. The back end is asked again if
  /// it has said that it has changed: the caller waits for it then. What cannot be had anew is as
  /// it was.
  void read_config(std::uint32_t offset, std::span<std::byte> data);
  /// Errors: it refuses, or has gone.
  Status write_config(std::uint32_t offset, std::span<const std::byte> data);

  /// Of the rings the first `count` are to be served, now and when they are started; all of them,
  /// if it is never called. The others are told to the back end, but not enabled. Errors: the back
  /// end refuses, or has gone.
  Status use_rings(unsigned count);
  /// What the driver acknowledged, before its rings are started.
  Status begin(std::uint64_t features);
  [[nodiscard]] QueueBackEnd& ring(unsigned queue) noexcept { return *rings_[queue]; }

  /// From now on `thread` looks whether the peer is there. Until unwatch(). After begin().
  Status watch(IoThread& thread);
  void unwatch() noexcept;

  /// Queues that the peer serves now.
  [[nodiscard]] unsigned served() const noexcept;
  /// Connections that were given up. Any thread.
  [[nodiscard]] std::uint64_t losses() const noexcept { return losses_.get(); }

 private:
  using Bytes = std::span<const std::byte>;

  VhostUserFront(const Setup& setup, Connect connect) noexcept
      : setup_(setup), connect_(std::move(connect)) {}

  Status set_up(unsigned ring, const OffloadedRing& handed) override;
  Status set_call(unsigned ring, const EventFd* call) override;
  Result<std::uint32_t> take_down(unsigned ring) override;
  Status ring_ready(unsigned ring) override;
  void ring_leaves(unsigned ring) noexcept override;
  void on_ready() noexcept override;
  void on_request() noexcept;

  // With mutex_ held.
  Status open();
  Status agree();
  Status reopen_if_lost();
  [[nodiscard]] bool gone() const noexcept;
  Status look_for_last_ring(std::uint64_t said);
  Status fetch_config();
  Status tell(vhost_user::Request request, Bytes payload, std::span<const int> fds = {});
  template <class T>
  Status tell(vhost_user::Request request, const T& value) {
    static_assert(!std::is_convertible_v<T, Bytes>,
                  "a span is sent by what it points at: as Bytes");
    return tell(request, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  Result<T> ask(vhost_user::Request request, Bytes payload = {});
  Result<vhost_user::Message> reply_to(vhost_user::Request request);
  Status set_memory(const GuestMemory& memory);
  Status enable(unsigned ring, bool on);
  [[nodiscard]] bool is_ready(unsigned ring) const noexcept;
  Status set_event(vhost_user::Request request, unsigned ring, const EventFd& event);
  /// The connection is of no use any more, for the reason that is given back.
  Status give_up(const Error& why);
  [[nodiscard]] std::string named(std::string_view what) const;

  const Setup setup_;
  const Connect connect_;
  std::function<void()> changed_ = [] {};
  std::uint64_t features_ = 0;  ///< as of the first connection
  EventFd silent_;              ///< nobody listens: for a driver that wants to hear nothing

  std::mutex mutex_;  ///< held for a ring's exchanges: at most `patience`
  vhost_user::Channel channel_;
  bool connected_ = false;
  std::atomic<bool> up_{false};          ///< connected_, for those without the lock
  bool acks_ = false;                    ///< REPLY_ACK is agreed on
  bool hears_ = false;                   ///< ... and BACKEND_REQ
  bool news_ = false;                    ///< changed_ is due, once mutex_ is let go
  const GuestMemory* memory_ = nullptr;  ///< as this peer knows it
  std::vector<OffloadedRing> handed_;
  unsigned in_use_ = UINT_MAX;  ///< rings
  std::vector<std::unique_ptr<VhostRing>> rings_;

  /// Never held while one waits for the peer: the I/O thread takes it.
  mutable std::mutex faults_mutex_;
  std::vector<const EventFd*> faults_;  ///< of the rings that the peer serves; else null
  bool lost_ = false;

  mutable std::mutex config_mutex_;  ///< never held while one waits
  std::vector<std::byte> config_;
  std::atomic<bool> config_stale_{false};  ///< the back end has said so
  std::unique_ptr<BackEndRequests> requests_;

  SharedCounter losses_;
  log::Limiter log_;            ///< a driver that resets and a peer that goes make lines together
  IoThread* thread_ = nullptr;  ///< with mutex_ held
  // The I/O thread's.
  std::unique_ptr<FdWatch> watch_;
  ReadyCall<VhostUserFront, &VhostUserFront::on_request> request_call_{*this};
  std::unique_ptr<FdWatch> request_watch_;
};

}  // namespace bellhop

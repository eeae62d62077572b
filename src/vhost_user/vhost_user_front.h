#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/shared_counter.h"
#include "event/io_thread.h"
#include "vhost/vhost_peer.h"
#include "vhost/vhost_ring.h"
#include "vhost_user/channel.h"
#include "virtio/queue/queue_back_end.h"

namespace bellhop {

/// The front end of vhost-user: another process, the back end, serves a device's queues. It is told
/// of them over a Unix socket, maps the guest's memory itself, and gets the eventfds of kicks and
/// interrupts; the data path does not come by here.
///
/// Nothing that the back end says is believed, and no call waits for it longer than `patience`. If
/// it goes, falls silent or answers nonsense the connection is given up: that is logged once,
/// watch() has every ring's fault event signalled, and the next begin() connects anew. A back end
/// that is silent but alive may still write to the guest's memory: only its end prevents that.
///
/// Control path; any thread.
class VhostUserFront final : private VhostPeer, private VhostRingOwner, private ReadyHandler {
 public:
  struct Setup {
    std::string name;  ///< for people: "fs0"
    unsigned queues = 1;
    std::uint64_t features = 0;  ///< of the device and its rings; all of them are needed
    vhost_user::Channel::Patience patience{5000};
  };
  using Connect = std::function<Result<vhost_user::Channel>(vhost_user::Channel::Patience)>;

  /// Errors: no connection, a peer that does not speak the protocol, or lacks features or queues.
  static Result<std::unique_ptr<VhostUserFront>> create(const Setup& setup, Connect connect);
  ~VhostUserFront();

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
  Result<std::uint16_t> take_down(unsigned ring) override;
  Status ring_ready(unsigned ring) override;
  void ring_leaves(unsigned ring) noexcept override;
  void on_ready() noexcept override;

  // With mutex_ held.
  Status open();
  Status tell(vhost_user::Request request, Bytes payload, std::span<const int> fds = {});
  template <class T>
  Status tell(vhost_user::Request request, const T& value) {
    return tell(request, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  Result<T> ask(vhost_user::Request request, Bytes payload = {});
  Result<vhost_user::Message> reply_to(vhost_user::Request request);
  Status set_memory(const GuestMemory& memory);
  Status set_event(vhost_user::Request request, unsigned ring, const EventFd& event);
  /// The connection is of no use any more, for the reason that is given back.
  Status give_up(const Error& why);
  [[nodiscard]] std::string named(std::string_view what) const;

  const Setup setup_;
  const Connect connect_;
  EventFd silent_;  ///< nobody listens: for a driver that wants to hear nothing

  std::mutex mutex_;  ///< held for a whole exchange: at most `patience`
  vhost_user::Channel channel_;
  bool connected_ = false;
  bool acks_ = false;                    ///< REPLY_ACK is agreed on
  const GuestMemory* memory_ = nullptr;  ///< as this peer knows it
  std::vector<OffloadedRing> handed_;
  std::vector<std::unique_ptr<VhostRing>> rings_;

  /// Never held while one waits for the peer: the I/O thread takes it.
  mutable std::mutex faults_mutex_;
  std::vector<const EventFd*> faults_;  ///< of the rings that the peer serves; else null
  bool lost_ = false;

  SharedCounter losses_;
  IoThread* thread_ = nullptr;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace bellhop

#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/log_limiter.h"
#include "base/relaxed_counter.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "transport/vhost_user/command.h"
#include "transport/vhost_user/inflight_memory.h"
#include "transport/vhost_user/peer_mapping.h"
#include "transport/vhost_user/peer_memory.h"
#include "transport/vhost_user/peer_ring.h"
#include "transport/vhost_user/state_transfer.h"
#include "vhost_user/channel.h"
#include "virtio/device/device_life.h"

namespace bellhop {

/// A device whose driver is behind a vhost-user front end: the front end's messages, in the place
/// of registers, say where memory and rings are and which descriptors stand for kicks and calls.
///
/// A ring runs while features are acknowledged, it has a kick, is enabled and lies in the front
/// end's memory; whichever message is the last that is needed starts it, each ring by itself.
/// Nothing that the front end says is believed: a message that cannot be carried out is counted,
/// told in a limited line, and refused by an acknowledgement if there is one to be given.
///
/// Threads: the one that reads the connection calls everything but the const members.
class VhostUserDevice final : private DoorbellHost, private DeviceListener {
 public:
  struct Options {
    /// INBAND_NOTIFICATIONS is offered: kicks, calls and errors of rings as messages.
    bool in_band = false;
  };
  /// Of `wiring`, neither the memory nor whether there are vCPUs is looked at; its mode must not be
  /// kSync, since kicks are eventfds. Errors: a device that needs the kernel's vhost; no eventfds
  /// left; a host on which they cannot be shared.
  static Result<std::unique_ptr<VhostUserDevice>> create(std::unique_ptr<VirtioDevice> device,
                                                         DeviceWiring wiring, Options options);
  static Result<std::unique_ptr<VhostUserDevice>> create(std::unique_ptr<VirtioDevice> device,
                                                         DeviceWiring wiring) {
    return create(std::move(device), std::move(wiring), Options());
  }
  ~VhostUserDevice();

  [[nodiscard]] const DeviceLife& life() const noexcept { return *life_; }
  /// For a NotifyTuner, which changes on its own thread how queues are notified.
  [[nodiscard]] DeviceLife& tuned_life() noexcept { return *life_; }
  /// VirtioDevice::look_again(). Any thread.
  Status look_again() { return life_->look_again(); }
  [[nodiscard]] const std::string& id() const noexcept { return life_->traits().id; }

  // ---- a connection ----

  /// Carries a message out and answers it over `channel`. Errors: the connection is of no use any
  /// more.
  Status handle(vhost_user::Message& message, vhost_user::Channel& channel);
  /// The connection has ended: what is in flight is waited for, and all is as it was made.
  void disconnected();

  /// Signalled when look_at_news() is to be called: the device has changed its configuration, or a
  /// ring is broken.
  [[nodiscard]] const EventFd& news() const noexcept { return news_; }
  void look_at_news();
  /// Adds what look_at_watched() is to be called for: events of rings whose calls go to a socket,
  /// or into messages; a state that the front end sends. Others after each call of it, and after
  /// each message.
  void add_watched(std::vector<pollfd>& to) const;
  void look_at_watched();
  /// Signalled when memory of the front end's has gone under us: the connection must end.
  [[nodiscard]] const EventFd& memory_lost() const noexcept { return memory_lost_; }

  // ---- any thread ----

  /// Messages that were refused.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.get(); }
  /// Rings that run now.
  [[nodiscard]] unsigned running() const noexcept;

 private:
  static constexpr std::uint64_t kProtocolBit = std::uint64_t{1} << vhost_user::kFeatureProtocol;
  static constexpr std::uint64_t kLogBit = std::uint64_t{1} << vhost_user::kFeatureLogAll;
  /// Features that are between the front end and us, and not the driver's.
  static constexpr std::uint64_t kOursAlone = kProtocolBit | kLogBit;

  explicit VhostUserDevice(Options options) noexcept : options_(options), memory_(memory_lost_) {}

  using Bytes = std::vector<std::byte>;
  // Questions are answered by a value.
  Result<std::uint64_t> on(const vhost_user::GetFeatures& asked) const;
  Result<std::uint64_t> on(const vhost_user::GetProtocolFeatures& asked) const;
  Result<std::uint64_t> on(const vhost_user::GetQueueNum& asked) const;
  Result<std::uint64_t> on(const vhost_user::GetMaxMemSlots& asked) const;
  Result<std::uint64_t> on(const vhost_user::GetStatus& asked) const;
  Result<vhost_user::VringState> on(const vhost_user::GetVringBase& asked);
  Result<Bytes> on(const vhost_user::GetConfig& asked);
  struct InflightAnswer {
    InflightMemory::Made made;
    std::size_t bytes = 0;
  };
  Result<InflightAnswer> on(const vhost_user::GetInflightFd& asked) const;
  Result<UniqueFd> on(const vhost_user::SetDeviceStateFd& told);
  Result<std::uint64_t> on(const vhost_user::CheckDeviceState& asked);
  Result<std::uint64_t> on(vhost_user::SetLogBase& told);
  Status on(const vhost_user::SetOwner& told);
  Status on(const vhost_user::ResetOwner& told);
  Status on(const vhost_user::ResetDevice& told);
  Status on(const vhost_user::SetFeatures& told);
  Status on(const vhost_user::SetProtocolFeatures& told);
  Status on(const vhost_user::SetStatus& told);
  Status on(vhost_user::SetMemTable& told);
  Status on(vhost_user::AddMemReg& told);
  Status on(const vhost_user::RemMemReg& told);
  Status on(const vhost_user::SetVringNum& told);
  Status on(const vhost_user::SetVringBase& told);
  Status on(const vhost_user::SetVringEnable& told);
  Status on(const vhost_user::VringKick& told);
  Status on(const vhost_user::SetVringAddr& told);
  Status on(vhost_user::SetVringEvent& told);
  Status on(const vhost_user::SetConfig& told);
  Status on(vhost_user::SetInflightFd& told);
  Status on(vhost_user::SetBackendReqFd& told);
  Status on(vhost_user::SetLogFd& told);

  /// The device is as it was made.
  void reset_device();
  [[nodiscard]] Status check_rings_rest() const;
  void relay_calls() noexcept;
  /// Tells the device which of its rings are in use, if that has changed.
  void tell_queues_in_use();
  /// Errors: the connection is of no use any more, as is where `why` has the code ECONNABORTED.
  Status refuse(const vhost_user::Message& message, const Error& why, vhost_user::Channel& channel);
  [[nodiscard]] bool wants_ack(const vhost_user::Message& message) const noexcept;

  [[nodiscard]] unsigned ring_count() const noexcept {
    return static_cast<unsigned>(rings_.size());
  }
  [[nodiscard]] std::uint64_t offered_features() const noexcept;
  [[nodiscard]] std::uint64_t offered_protocol() const noexcept;
  [[nodiscard]] bool agreed(unsigned protocol_feature) const noexcept {
    return (protocol_ >> protocol_feature & 1) != 0;
  }
  [[nodiscard]] bool enabled(const PeerRing& ring) const noexcept;
  [[nodiscard]] bool packed() const noexcept {
    return (features_ >> virtio::kFeatureRingPacked & 1) != 0;
  }

  /// Starts ring `index` if nothing is missing. Errors: it does not lie where it may, the host
  /// refuses.
  Status start_ring(unsigned index);
  Status start_rings();
  void stop_ring(unsigned index);
  void stop_rings();
  Result<QueueConfig> find_ring(const PeerRing& ring) const;
  Status take_base(PeerRing& ring) const;
  /// Where requests in flight of a ring are noted; nothing if they are not.
  [[nodiscard]] Result<std::optional<InflightQueue>> inflight_of(unsigned index) const;
  [[nodiscard]] bool logs() const noexcept { return (features_ & kLogBit) != 0; }
  /// Where it is noted in `log` what a ring that lies at `config` writes. Errors: it does not cover
  /// all that the ring may write.
  [[nodiscard]] Result<RingLog> log_of(const PeerRing& ring, const QueueConfig& config,
                                       const PeerMapping& log) const;
  /// Runs `change` while the ring rests, then starts it again.
  template <class Change>
  Status change_ring(unsigned index, Change&& change);
  /// The same for all of them and the memory.
  template <class Change>
  Status change_memory(Change&& change);
  Status set_kick(unsigned index, UniqueFd event);
  Status set_call(unsigned index, UniqueFd event);
  /// There is no descriptor for the ring's calls: they are messages, or not made.
  Status set_call_without_fd(unsigned index);
  void point_call(unsigned index, PeerCall call);
  void tell_ring_error(unsigned index);
  /// Says something to the front end by itself, if that can be had.
  void tell(std::uint32_t request, std::span<const std::byte> payload);
  void tell_ring(std::uint32_t request, unsigned index);

  Status arm_doorbell(unsigned /*queue*/, Server /*server*/, const EventFd& /*doorbell*/) override {
    return {};
  }
  void disarm_doorbell(unsigned /*queue*/, const EventFd& /*doorbell*/) noexcept override {}
  [[nodiscard]] bool doorbells_reachable() const noexcept override { return true; }
  void needs_reset() noexcept override;
  void config_changed() noexcept override;

  const Options options_;
  EventFd news_;
  EventFd memory_lost_;
  std::atomic<bool> needs_reset_{false};
  std::atomic<bool> ring_broke_{false};  ///< and nobody was told yet
  std::atomic<bool> config_changed_{false};
  PeerMemory memory_;
  /// Acknowledged, kFeatureProtocol too. No ring runs before they are told.
  std::uint64_t features_ = 0;
  bool features_told_ = false;
  std::uint64_t protocol_ = 0;
  std::uint8_t status_ = 0;
  std::vector<PeerRing> rings_;
  unsigned in_use_ = 0;                          ///< rings, as the device was told; 0: it was not
  std::optional<InflightMemory> inflight_;       ///< SET_INFLIGHT_FD
  std::optional<PeerMapping> written_;           ///< SET_LOG_BASE
  std::unique_ptr<EventFd> written_changed_;     ///< SET_LOG_FD
  bool state_saved_ = false;                     ///< and CHECK_DEVICE_STATE may ask
  std::optional<StateReader> state_;             ///< that the front end sends
  std::optional<vhost_user::Channel> requests_;  ///< ours to the front end
  RelaxedCounter refused_;
  log::Limiter log_;
  std::unique_ptr<DeviceLife> life_;
};

}  // namespace bellhop

#include "transport/negotiation.h"

#include <utility>

#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint8_t kDriverBits =
    kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk | kStatusFailed;

}  // namespace

Result<std::unique_ptr<Negotiation>> Negotiation::create(std::unique_ptr<VirtioDevice> device,
                                                         DeviceWiring wiring, TransportHost& host) {
  std::unique_ptr<Negotiation> negotiation(new Negotiation(host));
  auto life = DeviceLife::create(std::move(device), std::move(wiring), host, *negotiation);
  if (!life) return forward(life);
  negotiation->life_ = std::move(*life);
  return negotiation;
}

std::uint32_t Negotiation::device_features(std::uint32_t word) const noexcept {
  return word > 1 ? 0 : static_cast<std::uint32_t>(life_->offered_features() >> (32 * word));
}

std::uint32_t Negotiation::driver_features(std::uint32_t word) const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return word > 1 ? 0 : static_cast<std::uint32_t>(driver_features_ >> (32 * word));
}

void Negotiation::set_driver_features(std::uint32_t word, std::uint32_t value) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (word > 1 || (status() & (kStatusFeaturesOk | kStatusDriverOk)) != 0) {
    life_->guest_fault("writes features that are absent or settled");
    return;
  }
  const unsigned shift = 32 * word;
  driver_features_ &= ~(std::uint64_t{UINT32_MAX} << shift);
  driver_features_ |= std::uint64_t{value} << shift;
}

void Negotiation::write_status(std::uint8_t value) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (value == 0) {
    reset_locked();
    return;
  }
  const std::uint8_t before = status();
  // 2.1.1: bits are only ever added; NEEDS_RESET is the device's own.
  std::uint8_t added = static_cast<std::uint8_t>(value & kDriverBits & ~before);
  if ((added & kStatusFeaturesOk) != 0) {
    const bool acceptable = (driver_features_ & ~life_->offered_features()) == 0 &&
                            (driver_features_ & feature_mask(kFeatureVersion1)) != 0;
    // 2.2.2: the driver finds FEATURES_OK clear when it reads it back.
    if (!acceptable) {
      life_->guest_fault("acknowledges features that were not offered");
      added &= static_cast<std::uint8_t>(~kStatusFeaturesOk);
    }
  }
  if ((added & kStatusDriverOk) != 0 && ((before | added) & kStatusFeaturesOk) == 0) {
    life_->guest_fault("sets DRIVER_OK without FEATURES_OK");
    added &= static_cast<std::uint8_t>(~kStatusDriverOk);
  }
  set_status(added);
}

std::uint32_t Negotiation::legacy_features() const noexcept {
  return static_cast<std::uint32_t>(life_->offered_features() | feature_mask(kFeatureAnyLayout));
}

void Negotiation::write_legacy_status(std::uint8_t value) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (value == 0) {
    reset_locked();
    return;
  }
  const auto added =
      static_cast<std::uint8_t>(value & kDriverBits & ~kStatusFeaturesOk & ~status());
  legacy_.store(true, std::memory_order_release);
  if ((added & kStatusDriverOk) != 0) driver_features_ &= legacy_features();
  set_status(added);
}

void Negotiation::set_status(std::uint8_t added) {
  status_.fetch_or(added, std::memory_order_acq_rel);
  if ((added & kStatusFeaturesOk) != 0) notification_data_ = negotiated(kFeatureNotificationData);
  if ((added & kStatusDriverOk) == 0) return;
  if (!life_->start(driver_features_, HostFaults::kLogged)) needs_reset();
}

std::uint32_t Negotiation::unseen_interrupts() const noexcept {
  for (unsigned i = 0; i < life_->queue_count(); ++i) {
    if (life_->server(i) != Server::kDevice && life_->running(i)) return kInterruptUsedBuffer;
  }
  return 0;
}

void Negotiation::reset_locked() {
  life_->reset();
  driver_features_ = 0;
  legacy_.store(false, std::memory_order_release);
  notification_data_ = false;
  host_.device_was_reset();
  status_.store(0, std::memory_order_release);
}

/// With the lock held.
bool Negotiation::negotiated(unsigned feature) const noexcept {
  return (status() & kStatusFeaturesOk) != 0 && (driver_features_ & feature_mask(feature)) != 0;
}

bool Negotiation::reset_queue(std::uint32_t index) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!negotiated(kFeatureRingReset)) {
    life_->guest_fault("resets a queue without RING_RESET");
    return false;
  }
  life_->reset_queue(index);
  return true;
}

void Negotiation::reset() {
  const std::lock_guard<std::mutex> hold(lock_);
  reset_locked();
}

void Negotiation::needs_reset() noexcept {
  status_.fetch_or(kStatusNeedsReset, std::memory_order_acq_rel);
  host_.raise_config_interrupt();
}

void Negotiation::config_changed() noexcept {
  // Before DRIVER_OK the driver reads it all anyway.
  if ((status() & kStatusDriverOk) != 0) host_.raise_config_interrupt();
}

}  // namespace bellhop

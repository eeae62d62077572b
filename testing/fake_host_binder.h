#pragma once

#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>

#include "testing/fake_hypervisor.h"
#include "transport/host_binder.h"

namespace bellhop::testing {

/// Binds transports to a FakeVm. Pins of the interrupt controller stay here, so that a test can see
/// their edges.
class FakeHostBinder final : public HostBinder {
 public:
  static constexpr unsigned kPins = 24;

  explicit FakeHostBinder(FakeVm& vm) : vm_(&vm) {}

  Status attach_doorbell(const EventFd& doorbell, const IoEventMatch& match,
                         Server /*server*/) override {
    return vm_->attach_ioeventfd(doorbell, match);
  }
  void detach_doorbell(const EventFd& doorbell, const IoEventMatch& match) noexcept override {
    if (!vm_->detach_ioeventfd(doorbell, match)) ++bad_detaches_;
  }
  Result<unsigned> allocate_msi() override { return vm_->allocate_msi_route(); }
  Status set_msi(unsigned gsi, std::uint64_t address, std::uint32_t data) override {
    if (address == kRefusedAddress) return fail("no interrupt controller there", EINVAL);
    return vm_->set_msi_route(gsi, {.address = address, .data = data});
  }
  void free_msi(unsigned gsi) noexcept override { vm_->free_msi_route(gsi); }
  Status attach_interrupt(const EventFd& event, unsigned gsi) override {
    if (gsi >= kPins) return vm_->attach_irqfd(event, gsi);
    const std::lock_guard<std::mutex> hold(lock_);
    if (!pins_.emplace(gsi, &event).second) return fail("the pin is taken", EBUSY);
    return {};
  }
  void detach_interrupt(const EventFd& event, unsigned gsi) noexcept override {
    if (gsi >= kPins) {
      static_cast<void>(vm_->detach_irqfd(event, gsi));
      return;
    }
    const std::lock_guard<std::mutex> hold(lock_);
    if (pins_.erase(gsi) == 0) ++bad_detaches_;
  }

  /// Whether there was an edge on the pin since the last call.
  bool take_edge(unsigned gsi) {
    const std::lock_guard<std::mutex> hold(lock_);
    const auto pin = pins_.find(gsi);
    return pin != pins_.end() && pin->second->consume() != 0;
  }
  [[nodiscard]] std::size_t pins() const {
    const std::lock_guard<std::mutex> hold(lock_);
    return pins_.size();
  }
  /// Detaching what was never attached.
  [[nodiscard]] unsigned bad_detaches() const noexcept { return bad_detaches_; }

  /// An MSI address that this host does not take.
  static constexpr std::uint64_t kRefusedAddress = 0xdead0000;

 private:
  FakeVm* vm_;
  mutable std::mutex lock_;
  std::map<unsigned, const EventFd*> pins_;
  std::atomic<unsigned> bad_detaches_{0};
};

}  // namespace bellhop::testing

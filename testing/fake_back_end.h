#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "memory/guest_memory.h"
#include "vhost_user/channel.h"

namespace bellhop::testing {

/// The back end of vhost-user on threads of this process: it knows the guest's memory only by the
/// descriptors that it was sent, and serves rings there. A request's readable bytes come back in
/// its writable ones, each plus one. It is hostile as told.
class FakeBackEnd {
 public:
  static constexpr std::uint64_t kAllFeatures = ~std::uint64_t{0};
  /// Says what becomes of a message: true, and it is done with. On the back end's thread.
  using Hook = std::function<bool(const vhost_user::Message&, vhost_user::Channel&)>;

  FakeBackEnd();
  ~FakeBackEnd();
  FakeBackEnd(const FakeBackEnd&) = delete;
  FakeBackEnd& operator=(const FakeBackEnd&) = delete;

  /// A connection's other end; the one before ends. Errors: refuse_connections().
  Result<vhost_user::Channel> connect(vhost_user::Channel::Patience patience);
  /// As if its process died.
  void hang_up();

  void refuse_connections(bool refuse) { refuse_ = refuse; }
  void offer(std::uint64_t features, std::uint64_t protocol, std::uint64_t queues) {
    features_ = features;
    protocol_ = protocol;
    queues_ = queues;
  }
  void set_hook(Hook hook);
  /// Says of every ring that rests that it got so much further.
  void shift_bases(std::uint32_t by) { base_shift_ = by; }

  /// Its configuration space, which a front end may write.
  void set_config(std::vector<std::byte> config) {
    const std::lock_guard<std::mutex> hold(mutex_);
    config_ = std::move(config);
  }
  [[nodiscard]] std::vector<std::byte> config() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return config_;
  }
  /// Its own end of the channel on which it speaks first; -1: it was given none.
  [[nodiscard]] int request_fd() {
    const std::lock_guard<std::mutex> hold(mutex_);
    return requests_.get();
  }
  /// Says there that the configuration space has changed. False: there is no channel any more.
  bool tell_config_change();
  [[nodiscard]] std::uint64_t mtu() const noexcept { return mtu_; }

  /// Rings that are started and enabled.
  [[nodiscard]] unsigned serving() const noexcept { return serving_; }
  [[nodiscard]] unsigned served() const noexcept { return served_; }
  [[nodiscard]] unsigned connections() const noexcept { return connections_; }
  [[nodiscard]] std::uint64_t acked_features() const noexcept { return acked_features_; }
  /// Messages that make no sense, or not now.
  [[nodiscard]] unsigned wrong_messages() const noexcept { return wrong_; }

 private:
  class Session;

  std::unique_ptr<Session> session_;
  std::mutex mutex_;
  Hook hook_;  // under mutex_, as the next two
  std::vector<std::byte> config_;
  UniqueFd requests_;
  std::atomic<std::uint64_t> mtu_{0};
  std::atomic<bool> refuse_{false};
  std::atomic<std::uint32_t> base_shift_{0};
  std::atomic<std::uint64_t> features_{kAllFeatures};
  std::atomic<std::uint64_t> protocol_{kAllFeatures};
  std::atomic<std::uint64_t> queues_{4};
  std::atomic<std::uint64_t> acked_features_{0};
  std::atomic<unsigned> serving_{0};
  std::atomic<unsigned> served_{0};
  std::atomic<unsigned> connections_{0};
  std::atomic<unsigned> wrong_{0};
};

}  // namespace bellhop::testing

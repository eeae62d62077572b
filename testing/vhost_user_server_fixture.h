#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "base/unix_socket.h"
#include "event/io_thread.h"
#include "memory/fault_guard.h"
#include "testing/echo_device.h"
#include "testing/eventually.h"
#include "testing/vhost_user_client.h"
#include "transport/vhost_user/vhost_user_server.h"

namespace bellhop::testing {

/// A device behind a socket.
class VhostUserService {
 public:
  static constexpr vhost_user::Channel::Patience kHalfSaid{200};
  /// Of rings, which are offered beside the usual ones.
  static constexpr std::uint64_t kMoreFeatures = virtio::feature_mask(virtio::kFeatureRingPacked) |
                                                 virtio::feature_mask(virtio::kFeatureRingReset) |
                                                 virtio::feature_mask(virtio::kFeatureInOrder);

  explicit VhostUserService(std::unique_ptr<VirtioDevice> served, bool prefer_epoll = false,
                            NotifyMode notify = NotifyMode::kIoEventFd,
                            VhostUserDevice::Options options = {})
      : thread(must(IoThread::start({.name = "io0", .cpus = {}, .prefer_epoll = prefer_epoll}))) {
    must(FaultGuard::install());
    std::string name = (std::filesystem::temp_directory_path() / "serveXXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    folder_ = name;
    path = name + "/device.sock";
    auto device = must(VhostUserDevice::create(std::move(served),
                                               {.memory = nullptr,
                                                .threads = {thread.get()},
                                                .notify = notify,
                                                .ring_features = kMoreFeatures},
                                               options));
    life = &device->tuned_life();
    server = must(VhostUserServer::start({.listener = must(UnixListener::listen(path, 0600)),
                                          .device = std::move(device),
                                          .patience = kHalfSaid}));
  }
  ~VhostUserService() {
    server.reset();
    std::filesystem::remove_all(folder_);
  }
  VhostUserService(const VhostUserService&) = delete;
  VhostUserService& operator=(const VhostUserService&) = delete;

  [[nodiscard]] const VhostUserDevice& device() const { return server->device(); }
  /// All that a good front end says until its rings run. Aborts where it is not taken.
  void start(VhostUserClient& client) const {
    must(client.connect(path));
    bool done = client.negotiate() && client.set_memory();
    for (unsigned i = 0; done && i < client.rings.size(); ++i) done = client.start_ring(i);
    if (!done) std::abort();
  }
  static std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }
  static std::size_t open_descriptors() {
    const std::filesystem::directory_iterator fds("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
  }

  std::unique_ptr<IoThread> thread;
  std::string path;
  std::unique_ptr<VhostUserServer> server;
  DeviceLife* life = nullptr;

 private:
  std::string folder_;
};

/// An EchoDevice behind a socket, and what its clients need again and again.
class VhostUserServerFixture : public VhostUserService {
 public:
  static constexpr unsigned kRings = 2;

  explicit VhostUserServerFixture(bool prefer_epoll = false)
      : VhostUserServerFixture(new EchoDevice(kRings), prefer_epoll) {}

  EchoDevice* const echo;  ///< as long as the server is there

 private:
  VhostUserServerFixture(EchoDevice* made, bool prefer_epoll)
      : VhostUserService(std::unique_ptr<EchoDevice>(made), prefer_epoll), echo(made) {}
};

}  // namespace bellhop::testing

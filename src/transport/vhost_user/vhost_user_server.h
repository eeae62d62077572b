#pragma once

#include <cstdint>
#include <memory>
#include <thread>

#include "base/log_limiter.h"
#include "base/result.h"
#include "base/shared_counter.h"
#include "base/unique_fd.h"
#include "base/unix_socket.h"
#include "transport/vhost_user/vhost_user_device.h"
#include "vhost_user/channel.h"

namespace bellhop {

/// Serves a device to the vhost-user front ends that connect to a socket, one after the other: the
/// next one waits in the socket's backlog until the one before has gone and all that it had in
/// flight is done.
///
/// On a thread of its own, which waits for a reset of its device, for an exchange that a front end
/// leaves half said, and for nobody else's.
class VhostUserServer {
 public:
  struct Setup {
    UnixListener listener;
    std::unique_ptr<VhostUserDevice> device;
    /// How long a front end may leave a message half sent, or an answer unread.
    vhost_user::Channel::Patience patience{5000};
  };
  /// Errors: no thread or descriptor left.
  static Result<std::unique_ptr<VhostUserServer>> start(Setup setup);
  /// Ends the connection, waits for what is in flight, and removes the socket's file.
  ~VhostUserServer();
  VhostUserServer(const VhostUserServer&) = delete;
  VhostUserServer& operator=(const VhostUserServer&) = delete;

  [[nodiscard]] const VhostUserDevice& device() const noexcept { return *setup_.device; }
  /// VirtioDevice::look_again(). Any thread.
  Status look_again() { return setup_.device->look_again(); }
  /// Front ends that have connected.
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_.get(); }
  /// Ends the connection, with what it has in flight, and takes no more.
  void stop();
  /// The same without waiting for it. Any thread.
  void ask_to_stop() noexcept { end_.signal(); }

 private:
  explicit VhostUserServer(Setup setup) noexcept : setup_(std::move(setup)) {}

  void run();
  /// Until the front end has gone; false if this server is to end.
  bool serve(UniqueFd socket);

  Setup setup_;
  EventFd end_;
  SharedCounter connections_;
  log::Limiter log_;
  std::thread thread_;
};

}  // namespace bellhop

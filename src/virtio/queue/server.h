#pragma once

#include <cstdint>

namespace bellhop {

/// Who takes a queue's requests and gives them back.
enum class Server : std::uint8_t {
  kDevice,   ///< the device in this process, by a QueueRunner
  kKernel,   ///< the host's kernel (vhost), by an OffloadedQueue
  kProcess,  ///< another process (vhost-user), by an OffloadedQueue
};

constexpr const char* to_string(Server server) noexcept {
  return server == Server::kDevice ? "device" : server == Server::kKernel ? "kernel" : "process";
}

/// Who is to serve a queue.
struct ServerChoice {
  Server server = Server::kDevice;
  /// Not kDevice: the device does not start if it cannot be that one. Otherwise it serves itself.
  bool required = false;
};

/// Who touches the ring when a kick comes. From the device's activation to its reset, and back ends
/// are made for one of the two; unless QueueRunner::Setup::may_change.
enum class Drain : std::uint8_t {
  kByIoThread,  ///< nobody else does; kicks that come as vCPU exits are passed on
  kByVcpu,      ///< a vCPU thread for the length of a kick, under the queue lock
};

}  // namespace bellhop

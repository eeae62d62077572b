#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/log_limiter.h"
#include "base/result.h"
#include "base/unix_socket.h"
#include "control/api/api_connection.h"
#include "control/machine_control.h"
#include "event/io_thread.h"

namespace bellhop::control {

/// The API at a Unix socket: takes connections, and has a MachineControl execute what they ask for.
///
/// On a thread of its own, "api", which waits for nobody: no command, no client.
class ApiServer final : private ReadyHandler,
                        private TimerHandler,
                        private Task,
                        private ApiRequestSink {
 public:
  struct Setup {
    UnixListener listener;
    MachineControl* control = nullptr;  ///< outlives this, and is closed before it ends
    std::string version;                ///< of the program, for vmm.ping
    ApiLimits limits = {};
  };
  /// Errors: no thread or descriptor left.
  static Result<std::unique_ptr<ApiServer>> start(Setup setup);
  /// Sends the answers that are there, ends all connections and removes the socket's file. By then
  /// every command must have its answer (MachineControl::run() has returned).
  ~ApiServer() override;

  [[nodiscard]] int tid() const noexcept { return thread_->tid(); }

 private:
  explicit ApiServer(Setup setup) : setup_(std::move(setup)) {}

  Status listen();
  void on_ready() noexcept override;  // the listener
  void on_timer() noexcept override { can_accept_->arm(); }
  void run() noexcept override;  // takes away connections that are over
  void take_request(std::uint64_t connection, HttpRequest request) override;
  void connection_over() override { thread_->loop().defer(*this); }

  bool accept_one();
  /// There is room for one more. False: all are at work.
  bool make_room();
  void answer(std::uint64_t connection, const HttpResponse& response);

  Setup setup_;
  log::Limiter log_;
  std::unique_ptr<FdWatch> can_accept_;
  std::map<std::uint64_t, std::unique_ptr<ApiConnection>> connections_;
  std::uint64_t next_id_ = 0;
  std::unique_ptr<IoThread> thread_;  // ends first
};

}  // namespace bellhop::control

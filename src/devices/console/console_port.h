#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/console/console_backend.h"
#include "devices/console/console_control.h"
#include "devices/console/console_counters.h"
#include "event/io_thread.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// One port of a console: a back end, and the two queues that carry its bytes.
///
/// Output that nobody reads does not stop a thread. A port with a name (a program of the guest
/// writes to it) leaves it in the ring until the host has room. A console without one must not wait
/// like that: Linux spins until what it prints was taken. So there is a backlog of 64 KiB, and what
/// does not fit is dropped and counted.
///
/// Threads. The lock guards the back end and the backlog; peers come and go on the I/O thread only.
/// With ioeventfd everything else is there too, so nobody waits for the lock.
class ConsolePort final : private TimerHandler {
 public:
  static constexpr std::size_t kBacklog = 64 * 1024;
  /// Bytes that a queue moves before others get their turn.
  static constexpr std::size_t kBytesInOneTurn = 64 * 1024;

  enum class Kind : std::uint8_t { kConsole, kSerial };
  ConsolePort(unsigned number, Kind kind, std::unique_ptr<ConsoleBackend> backend,
              ConsoleControl& control, ConsoleCounters& counters);
  ~ConsolePort();

  /// The driver is ready; either queue may be missing. `open`: the guest reads, without having to
  /// say so now.
  void start(QueueRunner* rx, QueueRunner* tx, IoThread& thread, bool open);
  /// The queues are at rest. A peer stays; what waits in the backlog is lost.
  void stop() noexcept;
  /// A program of the guest has opened the port, or closed it. Any thread, between start and stop.
  void set_guest_open(bool open) noexcept;
  [[nodiscard]] bool guest_open() const noexcept { return guest_open_; }

  [[nodiscard]] const ConsoleBackend& backend() const noexcept { return *backend_; }

 private:
  /// The receive queue: what the peer writes goes straight into the driver's buffers.
  class Rx final : public QueueHandler {
   public:
    Rx(ConsolePort& port, QueueRunner& runner) noexcept : port_(port), runner_(runner) {}
    void drain() noexcept override;
    void submit() noexcept override {}

   private:
    friend class ConsolePort;
    ConsolePort& port_;
    QueueRunner& runner_;
    DescriptorChain chain_;
  };
  /// The transmit queue.
  class Tx final : public QueueHandler {
   public:
    Tx(ConsolePort& port, QueueRunner& runner) noexcept : port_(port), runner_(runner) {}
    void drain() noexcept override;
    void submit() noexcept override {}
    void begin_anew() noexcept override { sent_ = 0; }

   private:
    friend class ConsolePort;
    [[nodiscard]] bool send(std::size_t& turn) noexcept;
    ConsolePort& port_;
    QueueRunner& runner_;
    DescriptorChain chain_;
    std::size_t sent_ = 0;  ///< bytes of the chain that the ring begins with
  };
  // ---- the I/O thread ----
  void on_readable() noexcept;
  void on_writable() noexcept;
  void on_arrival() noexcept;
  void on_timer() noexcept override;
  void on_trouble() noexcept;
  void attach() noexcept;
  void detach() noexcept;
  void wait_for_peer(bool another_waits) noexcept;
  void wake_queues() noexcept;
  void flush_backlog() noexcept;

  // ---- any thread that drains ----
  [[nodiscard]] ssize_t read(DescriptorChain& chain, std::size_t most) noexcept;
  [[nodiscard]] ssize_t write(DescriptorChain& chain, std::size_t from, std::size_t most) noexcept;
  [[nodiscard]] std::size_t keep(std::span<const iovec> data) noexcept;
  void watch_input() noexcept;
  void lost_peer() noexcept;
  void arm(std::unique_ptr<FdWatch>& watch) noexcept;

  unsigned number_;
  Kind kind_;
  std::unique_ptr<ConsoleBackend> backend_;
  ConsoleControl& control_;
  ConsoleCounters& counters_;
  IoThread* thread_ = nullptr;
  std::atomic<bool> guest_open_{false};

  std::mutex lock_;           // guards what follows, and backend_
  bool failed_ = false;       ///< the peer cannot be used any more; it is being left
  bool unread_ = false;       ///< there is something to read, or was when that was last looked at
  bool input_ended_ = false;  ///< nothing more is to be read from the peer
  std::array<iovec, kMaxChainBuffers> parts_{};
  std::unique_ptr<FdWatch> readable_watch_;
  std::unique_ptr<FdWatch> writable_watch_;
  std::unique_ptr<FdWatch> arrival_watch_;
  std::unique_ptr<std::byte[]> backlog_;
  std::size_t backlog_first_ = 0;
  std::size_t backlog_size_ = 0;

  ReadyCall<ConsolePort, &ConsolePort::on_readable> readable_{*this};
  ReadyCall<ConsolePort, &ConsolePort::on_writable> writable_{*this};
  ReadyCall<ConsolePort, &ConsolePort::on_arrival> arriving_{*this};
  std::unique_ptr<Rx> rx_;
  std::unique_ptr<Tx> tx_;
};

}  // namespace bellhop

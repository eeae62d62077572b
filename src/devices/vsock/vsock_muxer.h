#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "devices/vsock/vsock_connection.h"
#include "devices/vsock/vsock_counters.h"
#include "event/io_thread.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// Reaches those whom the guest calls.
class VsockDialer {
 public:
  /// A connected non-blocking stream socket to whoever serves the host's `port`, or one that is not
  /// valid if nobody does. Must not wait.
  virtual UniqueFd dial(std::uint32_t port) noexcept = 0;

 protected:
  ~VsockDialer() = default;
};

/// All connections of a guest: finds the one that a packet is for, makes and ends them, and has
/// each in turn say something to the guest.
///
/// Bounds: kMaxConnections connections, kBufferBytes for each; kMaxReplies answers to packets that
/// belong to none, after which no packet is taken until the guest has room for answers (5.10.6.1).
///
/// Threads. Everything but act() needs hold(). With queues that notify by ioeventfd all of it is on
/// one I/O thread and nothing is locked; once a vCPU drains a queue, hold() is a mutex. Sockets are
/// waited for on the I/O thread only.
class VsockMuxer final : private Task, private TimerHandler {
 public:
  static constexpr std::size_t kMaxConnections = 1024;
  static constexpr std::size_t kMaxReplies = 256;

  struct Setup {
    IoThread* thread = nullptr;
    QueueRunner* rx = nullptr;  ///< null: the driver has none
    QueueRunner* tx = nullptr;
    bool locked = false;  ///< a vCPU thread may come
    std::uint32_t guest_cid = 0;
    VsockDialer* dialer = nullptr;
    VsockCounters* counters = nullptr;
    std::chrono::nanoseconds tick = std::chrono::seconds(1);  ///< of everybody's patience
  };
  explicit VsockMuxer(const Setup& setup);
  /// On the I/O thread, with both queues at rest: all connections end.
  ~VsockMuxer() override;
  VsockMuxer(const VsockMuxer&) = delete;
  VsockMuxer& operator=(const VsockMuxer&) = delete;

  using Hold = std::unique_lock<std::mutex>;
  [[nodiscard]] Hold hold() noexcept;
  /// A vCPU thread may come from now on. On the I/O thread, before one does.
  void lock() noexcept { setup_.locked = true; }

  // ---- for the queues ----

  /// Whether a packet may be taken: there is room for an answer.
  [[nodiscard]] bool takes_packets() const noexcept { return replies_.size() < kMaxReplies; }
  /// A packet of the guest's, of `bytes` bytes.
  void take(const BufferRun& packet, std::size_t bytes) noexcept;
  /// Whether put() is worth a buffer.
  [[nodiscard]] bool has_packets() const noexcept {
    return !replies_.empty() || ready_.size() != 0;
  }
  /// Writes the next packet for the guest, whose buffers have `bytes` bytes in all, more than a
  /// header. Returns its bytes; 0: there is none after all.
  std::size_t put(std::span<const GuestSpan> buffers, std::size_t bytes) noexcept;
  /// The queue does nothing before it is woken.
  void rx_parks() noexcept { rx_parks_ = true; }
  void tx_parks() noexcept { tx_parks_ = true; }

  // ---- for those who come from the host ----

  /// Asks the guest for a connection to its `port`. False: there are too many.
  bool call(UniqueFd socket, std::uint32_t guest_port);
  /// Ends all connections without a word: the guest has been told of a transport reset.
  void hang_up_all() noexcept;
  [[nodiscard]] std::size_t lines() const noexcept { return lines_.size() + leaving_.size(); }

  // ---- what follows ----

  /// What is to be done after hold() has ended, because it may take other locks.
  struct PendingWork {
    bool attend = false;
    bool wake_rx = false;
    bool wake_tx = false;
  };
  [[nodiscard]] PendingWork pending_work() noexcept;
  /// Without hold(). Any thread.
  void act(PendingWork pending_work) noexcept;

 private:
  struct Line;
  /// A place where a line is at most once: a ring that never grows.
  class Turns {
   public:
    Turns() : lines_(kMaxConnections) {}
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void push(Line* line) noexcept { lines_[(first_ + size_++) % kMaxConnections] = line; }
    Line* pop() noexcept;
    void strike_out(const Line* line) noexcept;

   private:
    std::vector<Line*> lines_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
  };
  /// Answers without a connection: a ring that never grows.
  class Replies {
   public:
    Replies() : headers_(kMaxReplies + kMaxConnections) {}
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void push(const virtio::VsockHeader& header) noexcept;
    virtio::VsockHeader pop() noexcept;

   private:
    std::vector<virtio::VsockHeader> headers_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
  };

  void run() noexcept override;
  void on_timer() noexcept override;
  void on_readable(Line& line) noexcept;
  void on_writable(Line& line) noexcept;

  [[nodiscard]] bool full() const noexcept { return lines() >= kMaxConnections; }
  Line& add(VsockPorts ports, UniqueFd socket, VsockConnection::Origin origin);
  void judge(Line& line, VsockConnection::Verdict verdict) noexcept;
  void leave(Line& line) noexcept;
  void look_after(Line& line) noexcept;
  void attend(Line& line) noexcept;
  void answer_call(const virtio::VsockHeader& header) noexcept;
  void reply_reset(const virtio::VsockHeader& to) noexcept;
  void reset(const VsockPorts& ports) noexcept;
  void wake(QueueRunner* runner) noexcept;

  Setup setup_;
  VsockCounters& counters_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Line>> lines_;
  std::vector<std::unique_ptr<Line>> leaving_;  ///< no longer the guest's
  Turns ready_;                                 ///< lines that may have something to say
  Turns attention_;                             ///< lines whose waits are to be seen to
  Replies replies_;
  std::uint32_t next_port_;
  bool rx_parks_ = false;
  bool tx_parks_ = false;
  bool tidy_ = false;  ///< some of leaving_ are done
  bool ticking_ = false;
};

}  // namespace bellhop

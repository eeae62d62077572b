#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/console/console_counters.h"
#include "devices/console/console_state.h"
#include "virtio/abi/console.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// Told what the driver says of its ports. Any thread that drains.
class ConsolePortListener {
 public:
  /// A program of the guest has opened the port, or closed it.
  virtual void guest_opened(unsigned port, bool open) noexcept = 0;
  /// There is something to be told to the driver: ConsoleControl::peek().
  virtual void control_pending() noexcept = 0;

 protected:
  ~ConsolePortListener() = default;
};

/// What device and driver have told each other of the ports (virtio 1.3, 5.3.6.2). What the driver
/// is still to be told is a few bits for each port, never a list: however often something changes,
/// it is told as it is when the driver has room.
///
/// Any thread.
class ConsoleControl {
 public:
  struct Port {
    std::string name;  ///< empty: a console
  };
  static constexpr std::size_t kMaxName = 64;

  ConsoleControl(std::vector<Port> ports, ConsolePortListener& listener, ConsoleCounters& counters);

  /// A driver starts, or is gone: it knows nothing yet. `sizes`: it may be told of sizes.
  void reset(bool sizes) noexcept;
  /// A message of the driver's. False if it makes no sense: then nothing has changed.
  bool handle(const virtio::ConsoleControlMessage& message) noexcept;

  /// What it knows of a port, for another one: what belongs to the host's end stays here.
  void save(unsigned port, ConsolePortState& to) noexcept;
  /// Goes on where another one stood that was saved, after a reset(). What has no meaning is left
  /// out; how the host's end is here the driver is told, if it does not know.
  void restore(unsigned port, const ConsolePortState& from) noexcept;

  /// The host's end of a port is connected, or no longer.
  void set_host_open(unsigned port, bool open) noexcept;
  /// All consoles have this size now.
  void resize(virtio::ConsoleSize size) noexcept;

  /// What is to be told next, as bytes, and what to forget once it was told.
  struct Message {
    std::array<std::byte, sizeof(virtio::ConsoleControlMessage) + kMaxName> bytes;
    std::size_t size = 0;
    unsigned port = 0;
    unsigned what = 0;
  };
  [[nodiscard]] std::optional<Message> peek() noexcept;
  void told(const Message& message) noexcept;

 private:
  struct State {
    bool added = false;      ///< the driver has the port
    bool told_open = false;  ///< it thinks that a peer is at the host's end
    bool host_open = false;
    unsigned pending = 0;
  };

  void tell(State& state, unsigned what) noexcept { state.pending |= what; }
  [[nodiscard]] Message compose(unsigned port, unsigned what) const noexcept;

  std::vector<Port> ports_;
  ConsolePortListener& listener_;
  ConsoleCounters& counters_;
  std::mutex lock_;  // guards what follows
  std::vector<State> states_;
  virtio::ConsoleSize size_{};
  bool sizes_ = false;
};

/// The queue on which the driver is told.
class ConsoleControlRx final : public QueueHandler {
 public:
  ConsoleControlRx(ConsoleControl& control, ConsoleCounters& counters, QueueRunner& runner) noexcept
      : control_(control), counters_(counters), runner_(runner) {}
  void drain() noexcept override;
  void submit() noexcept override {}
  [[nodiscard]] QueueRunner& runner() noexcept { return runner_; }

 private:
  ConsoleControl& control_;
  ConsoleCounters& counters_;
  QueueRunner& runner_;
  DescriptorChain chain_;
};

/// The queue on which the driver tells.
class ConsoleControlTx final : public QueueHandler {
 public:
  ConsoleControlTx(ConsoleControl& control, ConsoleCounters& counters, QueueRunner& runner) noexcept
      : control_(control), counters_(counters), runner_(runner) {}
  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  ConsoleControl& control_;
  ConsoleCounters& counters_;
  QueueRunner& runner_;
  DescriptorChain chain_;
};

}  // namespace bellhop

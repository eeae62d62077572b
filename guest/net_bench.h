#pragma once

#include <cstdint>

#include "guest/histogram.h"
#include "guest/net_port.h"
#include "guest/net_wire.h"
#include "guest/options.h"

// The network workloads, against the host's end of the link (`bellhop bench net` has it). Both ends
// speak in UDP datagrams, laid out in net_wire.h.
//
// A stream (netsend, netrecv, netpps):
//   1. the guest sends kHello with the run's setting until the host answers kReady;
//   2. the sender sends messages, each cut into numbered datagrams, as far as its window goes: no
//      more than `window` datagrams past the last that the receiver acknowledged;
//   3. the receiver sends kAck each `ack_every` datagrams: how many came, and up to which number.
//      Datagrams may be lost. A receiver that has heard nothing for a while says so in an extra
//      kAck; the sender then takes all that is not acknowledged for lost, and opens its window;
//   4. the guest sends kFin until the host answers kReport with its totals. Both ends' receipts are
//      compared at the end: every datagram has arrived whole, once and in order, or is counted.
//
// Pings (netping): after kHello and kReady the guest sends one byte and waits for the same byte
// with kPingMask turned over. It repeats one that is not answered in time.
namespace bellhop::guest {

/// Runs netsend, netrecv, netping or netpps on vCPU 0 and prints the result; the exit status.
std::uint32_t run_net(const Options& options, std::uint32_t vcpus);

/// One run of a workload.
class NetBench final : public DatagramSink {
 public:
  /// The error text, or null if all is well.
  const char* create(const NetOptions& options);
  /// Runs the workload to its end. Null, or what went wrong.
  const char* run();
  /// Prints the result line; whether all was as it should be.
  bool report(std::uint32_t vcpus);

  void take(const std::uint8_t* data, std::uint32_t bytes) override;

 private:
  enum class Phase { kWarmup, kMeasure, kDone };

  /// All counters at one moment.
  struct Moment {
    std::uint64_t tsc = 0;
    wire::Receipt receipt;
    PortCounters port;
    std::uint64_t kicks = 0;
    std::uint64_t suppressed = 0;
    std::uint64_t pings = 0;
    std::uint32_t interrupts = 0;
  };

  bool pings() const { return options_.common->workload == Workload::kNetPing; }
  const wire::Receipt& receipt() const { return options_.to_guest ? own_ : host_; }
  Moment now() const;
  void step(std::uint64_t now);
  const char* converse(wire::Kind question, wire::Kind answer);
  bool send_control(wire::Kind kind);
  const char* stream();
  bool send_messages();
  bool send_message();
  void acknowledge();
  const char* ping_pong();
  void send_ping();

  NetOptions options_;
  Nic nic_;
  NetPort port_;
  wire::Setting setting_;
  Phase phase_ = Phase::kWarmup;
  std::uint64_t started_ = 0;
  Moment begin_;
  Moment end_;

  wire::Receipt own_;               ///< what the guest received
  wire::Receipt host_;              ///< what the host says that it received
  std::uint64_t next_ = 0;          ///< sequence number of the next datagram
  std::uint64_t credited_ = 0;      ///< one past the last that was acknowledged or is lost
  std::uint64_t acknowledged_ = 0;  ///< the last number in a kAck of the guest's
  std::uint64_t recovered_ = 0;     ///< times that datagrams were taken for lost
  std::uint64_t host_sent_ = 0;
  std::uint32_t frames_per_message_ = 1;
  std::uint32_t last_control_ = 0;  ///< wire::Kind of the last one of kReady and kReport
  bool lacks_room_ = false;

  std::uint64_t pings_done_ = 0;
  std::uint64_t ping_sent_ = 0;  ///< TSC
  std::uint64_t resent_ = 0;
  std::uint64_t wrong_pings_ = 0;
  std::uint8_t ping_ = 0;
  bool ping_waits_ = false;
  Histogram latency_;
};

}  // namespace bellhop::guest

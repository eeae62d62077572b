#include "guest/net_bench.h"

#include "guest/clock.h"
#include "guest/console.h"
#include "guest/cpu.h"
#include "guest/memory.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using wire::Control;
using wire::Kind;

namespace {

constexpr std::uint32_t kAcksPerWindow = 4;
constexpr std::uint32_t kMaxWindow = 512;      // datagrams: tap's queue holds 1000
constexpr std::uint32_t kMessagesPerTurn = 8;  // then acknowledgements have a turn
constexpr std::uint64_t kRetryUs = 100'000;
constexpr std::uint64_t kPingRetryUs = 200'000;

}  // namespace

const char* NetBench::create(const NetOptions& options) {
  options_ = options;
  if (!nic_.find(options.nic)) return "no virtio network device";
  setting_.seed = options.common->seed;
  setting_.to_guest = options.to_guest;
  setting_.cut = options.cut;
  const wire::Cut& cut = setting_.cut;
  if (!pings()) {
    // In datagrams, and at least two messages, so that one can be made while another is read.
    const std::uint64_t datagrams = cut.datagrams();
    std::uint64_t window = options.window_bytes * datagrams / cut.message_bytes;
    if (window > kMaxWindow) window = kMaxWindow;
    if (window < 2 * datagrams) window = 2 * datagrams;
    setting_.window = window;
    setting_.ack_every = window / kAcksPerWindow == 0 ? 1 : window / kAcksPerWindow;
  }
  if (const char* error = port_.create(&nic_, options_); error != nullptr) return error;
  const std::uint32_t per_frame = port_.datagrams_per_frame();
  frames_per_message_ = (cut.datagrams() + per_frame - 1) / per_frame;
  if (!options_.to_guest && frames_per_message_ > port_.free_frames()) {
    return "size is too small for the frames of one message";
  }
  return port_.resolve();
}

void NetBench::take(const std::uint8_t* data, std::uint32_t bytes) {
  if (Control control; wire::read_control(data, bytes, &control)) {
    const wire::Tag tag{control.tag};
    switch (tag.kind()) {
      case Kind::kAck:
        host_.read(control);
        if (host_.next > credited_) credited_ = host_.next;
        if (host_.extra != 0 && credited_ < next_) {
          // Nothing is under way any more, so what is missing is lost.
          credited_ = next_;
          ++recovered_;
        }
        break;
      case Kind::kReport:
        if (options_.to_guest) {
          host_sent_ = control.words[0];
          recovered_ = control.words[1];
        } else {
          host_.read(control);
        }
        last_control_ = static_cast<std::uint32_t>(Kind::kReport);
        break;
      case Kind::kReady:
        last_control_ = static_cast<std::uint32_t>(Kind::kReady);
        break;
      default:
        break;
    }
    return;
  }
  if (pings()) {
    if (ping_waits_ && bytes == 1 && data[0] == (ping_ ^ wire::kPingMask)) {
      ping_waits_ = false;
    } else if (resent_ == 0) {  // else it may be the late answer to a ping that was repeated
      ++wrong_pings_;
    }
    return;
  }
  own_.take(data, bytes, setting_);
}

bool NetBench::send_control(Kind kind) {
  if (port_.free_frames() == 0) return false;
  Control control;
  switch (kind) {
    case Kind::kHello:
      setting_.write(&control);
      break;
    case Kind::kAck:
      own_.write(&control);
      break;
    default:
      control.words[0] = next_;
      break;
  }
  control.seal(kind, 0);
  __builtin_memcpy(port_.payload(), &control, sizeof(control));
  port_.send(sizeof(control), sizeof(control));
  port_.publish();
  return true;
}

const char* NetBench::converse(Kind question, Kind answer) {
  last_control_ = 0;
  const std::uint64_t end = read_tsc() + us_to_cycles(options_.common->timeout_milliseconds * 1000);
  while (read_tsc() < end) {
    send_control(question);
    const std::uint64_t again = read_tsc() + us_to_cycles(kRetryUs);
    while (read_tsc() < again) {
      if (port_.receive(this) == 0) cpu_relax();
      if (last_control_ == static_cast<std::uint32_t>(answer)) return nullptr;
    }
  }
  return "the host's end of the link does not answer";
}

NetBench::Moment NetBench::now() const {
  Moment moment;
  moment.receipt = receipt();
  moment.port = port_.counters();
  moment.kicks = port_.kicks();
  moment.suppressed = port_.suppressed();
  moment.interrupts = port_.interrupts();
  moment.pings = pings_done_;
  moment.tsc = read_tsc();
  return moment;
}

void NetBench::step(std::uint64_t time) {
  const Options& common = *options_.common;
  if (phase_ == Phase::kWarmup &&
      time - started_ >= us_to_cycles(common.warmup_milliseconds * 1000)) {
    JsonLine("begin").send();
    write_mark(Mark::kBegin);
    latency_.clear();
    begin_ = now();
    phase_ = Phase::kMeasure;
  } else if (phase_ == Phase::kMeasure &&
             time - begin_.tsc >= us_to_cycles(common.milliseconds * 1000)) {
    end_ = now();
    write_mark(Mark::kEnd);
    JsonLine("end").send();
    phase_ = Phase::kDone;
  }
}

const char* NetBench::run() {
  if (pings()) return ping_pong();
  if (const char* error = converse(Kind::kHello, Kind::kReady); error != nullptr) return error;
  if (const char* error = stream(); error != nullptr) return error;
  return converse(Kind::kFin, Kind::kReport);
}

const char* NetBench::stream() {
  const std::uint64_t patience = us_to_cycles(options_.common->timeout_milliseconds * 1000);
  std::uint64_t progress = started_ = read_tsc();
  while (phase_ != Phase::kDone) {
    bool moved = port_.receive(this) != 0;
    if (options_.to_guest) {
      acknowledge();
    } else {
      moved = send_messages() || moved;
    }
    const std::uint64_t time = read_tsc();
    if (moved) {
      progress = time;
    } else if (time - progress > patience) {
      return options_.to_guest ? "nothing comes from the host's end of the link"
                               : "the host's end of the link gives no credit";
    } else {
      port_.wait(lacks_room_);
    }
    step(time);
  }
  return nullptr;
}

bool NetBench::send_messages() {
  std::uint32_t count = 0;
  std::uint32_t unpublished = 0;
  const std::uint32_t most = options_.batch > kMessagesPerTurn ? options_.batch : kMessagesPerTurn;
  while (count < most && send_message()) {
    ++count;
    if (++unpublished == options_.batch) {
      port_.publish();
      unpublished = 0;
    }
  }
  port_.publish();
  return count != 0;
}

bool NetBench::send_message() {
  const wire::Cut& cut = setting_.cut;
  const std::uint32_t datagrams = cut.datagrams();
  lacks_room_ = false;
  if (next_ - credited_ + datagrams > setting_.window) return false;
  if (port_.free_frames() < frames_per_message_) {
    lacks_room_ = true;
    return false;
  }
  const std::uint32_t per_frame = port_.datagrams_per_frame();
  for (std::uint32_t index = 0; index < datagrams;) {
    std::uint8_t* at = port_.payload();
    std::uint32_t bytes = 0;
    for (std::uint32_t i = 0; i < per_frame && index < datagrams; ++i, ++index) {
      const std::uint32_t size = cut.bytes(index);
      wire::fill(at + bytes, size, wire::Tag::make(Kind::kData, 0, next_++), setting_.seed);
      bytes += size;
    }
    port_.send(bytes, cut.datagram_bytes);
  }
  return true;
}

void NetBench::acknowledge() {
  if (own_.next - acknowledged_ < setting_.ack_every) return;
  if (send_control(Kind::kAck)) acknowledged_ = own_.next;
}

void NetBench::send_ping() {
  ping_waits_ = true;
  ping_sent_ = read_tsc();
  if (port_.free_frames() == 0) return;  // as if it were lost
  *port_.payload() = ping_;
  port_.send(1, 1);
  port_.publish();
}

const char* NetBench::ping_pong() {
  const std::uint64_t patience = us_to_cycles(options_.common->timeout_milliseconds * 1000);
  const std::uint64_t retry = us_to_cycles(kPingRetryUs);
  std::uint64_t progress = started_ = read_tsc();
  while (phase_ != Phase::kDone) {
    ping_ = static_cast<std::uint8_t>(pattern::mix(pings_done_ + setting_.seed));
    const std::uint64_t asked = read_tsc();
    for (send_ping(); ping_waits_;) {
      if (port_.receive(this) != 0) continue;
      const std::uint64_t time = read_tsc();
      if (time - progress > patience) return "the host's end of the link does not answer a ping";
      if (time - ping_sent_ > retry) {
        ++resent_;
        send_ping();
        continue;
      }
      port_.wait(false);
    }
    progress = read_tsc();
    latency_.add(progress - asked);
    ++pings_done_;
    step(progress);
  }
  return nullptr;
}

bool NetBench::report(std::uint32_t vcpus) {
  const wire::Receipt& total = receipt();
  const wire::Receipt& first = begin_.receipt;
  const wire::Receipt& last = end_.receipt;
  const std::uint64_t sent = options_.to_guest ? host_sent_ : next_;
  const std::uint64_t lost = sent > total.datagrams ? sent - total.datagrams : 0;
  const std::uint64_t wrong = total.wrong + wrong_pings_;
  const bool verified = wrong == 0 && total.reordered == 0 && port_.counters().bad_frames == 0;
  const std::uint64_t cycles = end_.tsc - begin_.tsc;
  const std::uint64_t pings_made = end_.pings - begin_.pings;
  const Options& common = *options_.common;

  JsonLine line("result");
  line.text("workload", common.workload_name);
  if (pings()) {
    line.number("message_bytes", 1).number("operations", pings_made).number("bytes", pings_made);
    line.open("latency_us")
        .thousandths("p50", cycles_to_ns(latency_.percentile(500'000)))
        .thousandths("p99", cycles_to_ns(latency_.percentile(990'000)))
        .thousandths("p999", cycles_to_ns(latency_.percentile(999'000)))
        .thousandths("max", cycles_to_ns(latency_.max()))
        .close();
    line.number("resent", resent_);
  } else {
    line.text("direction", options_.to_guest ? "host-to-guest" : "guest-to-host")
        .number("message_bytes", setting_.cut.message_bytes)
        .number("datagram_bytes", setting_.cut.datagram_bytes)
        .number("operations", last.messages - first.messages)
        .number("bytes", last.bytes - first.bytes)
        .number("datagrams", last.datagrams - first.datagrams)
        .number("datagrams_sent", sent)
        .number("datagrams_verified", total.datagrams)
        .number("lost", lost)
        .number("reordered", total.reordered)
        .number("credit_recovered", recovered_)
        .number("window", setting_.window)
        .number("batch", options_.batch);
  }
  line.thousandths("seconds", cycles_to_ns(cycles) / 1'000'000)
      .number("cycles", cycles)
      .number("tsc_khz", tsc_khz())
      .number("vcpus", vcpus)
      .text("transport", nic_.transport()->name())
      .number("size", port_.queue_size())
      .text("ring", nic_.has(virtio::kFeatureIndirectDesc) ? "indirect" : "direct")
      .boolean("event_idx", nic_.has(virtio::kFeatureEventIdx))
      .text("idle", common.spin ? "spin" : "halt")
      .number("poll_us", common.poll_us)
      .boolean("csum", nic_.has(virtio::kNetFeatureCsum))
      .boolean("guest_csum", nic_.has(virtio::kNetFeatureGuestCsum))
      .boolean("uso", nic_.has(virtio::kNetFeatureHostUso))
      .boolean("guest_uso", nic_.has(virtio::kNetFeatureGuestUso4))
      .boolean("mergeable", nic_.has(virtio::kNetFeatureMrgRxbuf))
      .number("rx_buffers", port_.receive_buffers())
      .number("rx_buffer", port_.receive_bytes())
      .number("frames_in", end_.port.frames_in - begin_.port.frames_in)
      .number("frames_out", end_.port.frames_out - begin_.port.frames_out)
      .number("merged_frames", end_.port.merged - begin_.port.merged)
      .number("other_frames", port_.counters().other_frames)
      .number("bad_frames", port_.counters().bad_frames)
      .boolean("verified", verified)
      .number("wrong_datagrams", wrong)
      .number("kicks", end_.kicks - begin_.kicks)
      .number("notifications_suppressed", end_.suppressed - begin_.suppressed)
      .number("interrupts", end_.interrupts - begin_.interrupts)
      .number("halts", end_.port.halts - begin_.port.halts)
      .number("empty_wakeups", end_.port.empty_wakeups - begin_.port.empty_wakeups)
      .send();
  return verified;
}

std::uint32_t run_net(const Options& options, std::uint32_t vcpus) {
  const NetOptions net = parse_net_options(options);
  auto* bench = make<NetBench>();
  const char* error = bench == nullptr ? "out of memory" : bench->create(net);
  if (error == nullptr) error = bench->run();
  if (error != nullptr) {
    JsonLine("error").text("what", error).send();
    return kExitFailed;
  }
  return bench->report(vcpus) ? kExitDone : kExitFailed;
}

}  // namespace bellhop::guest

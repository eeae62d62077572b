#include "devices/console/console_device.h"

#include <algorithm>
#include <cassert>

#include "devices/console/console_wake.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

namespace {

/// Between two changes of the size that the driver is told of.
constexpr std::chrono::milliseconds kSizeRests{20};

std::vector<ConsoleControl::Port> names_of(const std::vector<ConsolePortOptions>& ports) {
  std::vector<ConsoleControl::Port> names;
  names.reserve(ports.size());
  for (const ConsolePortOptions& port : ports) names.push_back({port.name});
  return names;
}

/// Queue of port `port` that the guest receives from; the one it transmits to comes next (5.3.2).
constexpr unsigned receive_queue(unsigned port) noexcept {
  return port == 0 ? kConsoleReceiveQueue : kConsoleControlReceiveQueue + 2 * port;
}

}  // namespace

void ConsoleWindow::set_size(std::uint16_t cols, std::uint16_t rows) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  cols_ = cols;
  rows_ = rows;
  if (device_ != nullptr) device_->set_size(cols, rows);
}

/// A queue that the driver set up although nothing that it negotiated uses it: nothing is taken.
class ConsoleDevice::Unused final : public QueueHandler {
 public:
  explicit Unused(QueueRunner& runner) noexcept : runner_(runner) {}
  void drain() noexcept override { runner_.park(); }
  void submit() noexcept override {}

 private:
  QueueRunner& runner_;
};

ConsoleDevice::ConsoleDevice(std::vector<ConsolePortOptions> ports, ConsoleOptions options)
    : options_(std::move(options)), control_(names_of(ports), *this, counters_) {
  assert(!ports.empty() && ports.size() <= kMaxPorts);
  traits_ = {.type = DeviceType::kConsole,
             .id = options_.id,
             .features = feature_mask(kConsoleFeatureSize) | feature_mask(kConsoleFeatureMultiport),
             .queue_count = static_cast<std::uint16_t>(2 * (ports.size() + 1)),
             .queue_max_size = options_.queue_size,
             .config_bytes = sizeof(ConsoleConfigSpace),
             .keeps_state = true};
  for (ConsolePortOptions& port : ports) {
    const auto kind = port.name.empty() ? ConsolePort::Kind::kConsole : ConsolePort::Kind::kSerial;
    ports_.push_back(std::make_unique<ConsolePort>(static_cast<unsigned>(ports_.size()), kind,
                                                   std::move(port.backend), control_, counters_));
  }
  if (!options_.window) return;
  const std::lock_guard<std::mutex> hold(options_.window->lock_);
  options_.window->device_ = this;
  set_size(options_.window->cols_, options_.window->rows_);
}

ConsoleDevice::~ConsoleDevice() {
  if (!options_.window) return;
  const std::lock_guard<std::mutex> hold(options_.window->lock_);
  options_.window->device_ = nullptr;
}

ConsoleSize ConsoleDevice::size() const noexcept {
  const std::uint32_t both = size_.load(std::memory_order_acquire);
  return {.cols = static_cast<std::uint16_t>(both), .rows = static_cast<std::uint16_t>(both >> 16)};
}

void ConsoleDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  const ConsoleSize now = size();
  const ConsoleConfigSpace config{.cols = now.cols,
                                  .rows = now.rows,
                                  .max_nr_ports = static_cast<std::uint32_t>(ports_.size()),
                                  .emerg_wr = 0};
  read_config_space(config, offset, data);
}

void ConsoleDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  counters_.guest_faults.add();  // 5.3.4: emerg_wr alone, which is not offered
}

Status ConsoleDevice::activate(std::uint64_t features, std::span<QueueRunner* const> queues) {
  const bool multiport = (features & feature_mask(kConsoleFeatureMultiport)) != 0;
  const auto used = std::ranges::find_if(queues, [](QueueRunner* runner) { return runner; });
  if (used == queues.end()) return {};
  IoThread& thread = (*used)->thread();
  control_.reset((features & feature_mask(kConsoleFeatureSize)) != 0);
  control_.resize(size());
  const unsigned ports = multiport ? static_cast<unsigned>(ports_.size()) : 1;
  std::vector<ConsolePortState> states = std::exchange(restored_, {});
  states.resize(ports_.size());
  for (unsigned port = 0; port < ports; ++port) {
    const unsigned rx = receive_queue(port);
    // A driver without MULTIPORT has no way to say that it reads.
    ports_[port]->start(queues[rx], queues[rx + 1], thread, !multiport || states[port].guest_open);
    if (multiport) control_.restore(port, states[port]);
  }
  if (multiport) set_control_handlers(queues);
  for (unsigned i = 0; i < queues.size(); ++i) {
    if (queues[i] == nullptr || multiport || i <= kConsoleTransmitQueue) continue;
    queues[i]->set_handler(unused_.emplace_back(std::make_unique<Unused>(*queues[i])).get());
  }
  const std::lock_guard<std::mutex> hold(announce_lock_);
  thread_ = &thread;
  return {};
}

void ConsoleDevice::set_control_handlers(std::span<QueueRunner* const> queues) {
  if (QueueRunner* const runner = queues[kConsoleControlReceiveQueue]) {
    control_rx_ = std::make_unique<ConsoleControlRx>(control_, counters_, *runner);
    runner->set_handler(control_rx_.get());
  }
  if (QueueRunner* const runner = queues[kConsoleControlTransmitQueue]) {
    control_tx_ = std::make_unique<ConsoleControlTx>(control_, counters_, *runner);
    runner->set_handler(control_tx_.get());
  }
}

void ConsoleDevice::reset() noexcept {
  IoThread* thread = nullptr;
  {
    const std::lock_guard<std::mutex> hold(announce_lock_);
    thread = std::exchange(thread_, nullptr);
  }
  for (const auto& port : ports_) port->stop();
  if (thread != nullptr) {
    // Behind all messages that anybody has sent.
    thread->run_sync([this, thread] {
      thread->loop().stop_timer(*this);
      resting_ = false;
      changed_again_ = false;
    });
  }
  control_.reset(false);
  control_rx_.reset();
  control_tx_.reset();
  unused_.clear();
}

std::vector<std::byte> ConsoleDevice::save_state() {
  std::vector<ConsolePortState> states(ports_.size());
  for (unsigned port = 0; port < states.size(); ++port) {
    control_.save(port, states[port]);
    states[port].guest_open = ports_[port]->guest_open();
  }
  return write_console_state(states);
}

Status ConsoleDevice::load_state(std::span<const std::byte> state) {
  restored_.clear();
  if (state.empty()) return {};
  auto read = read_console_state(state, ports_.size());
  if (!read) return forward(read);
  restored_ = std::move(*read);
  return {};
}

void ConsoleDevice::set_size(std::uint16_t cols, std::uint16_t rows) noexcept {
  const std::uint32_t both = cols | (std::uint32_t{rows} << 16);
  if (size_.exchange(both, std::memory_order_acq_rel) == both) return;
  const std::lock_guard<std::mutex> hold(announce_lock_);
  if (thread_ == nullptr || std::exchange(announce_posted_, true)) return;
  thread_->loop().post([this] {
    {
      const std::lock_guard<std::mutex> hold_again(announce_lock_);
      announce_posted_ = false;
    }
    if (resting_) {
      changed_again_ = true;
    } else {
      announce_size();
    }
  });
}

/// On the I/O thread.
void ConsoleDevice::announce_size() noexcept {
  const std::lock_guard<std::mutex> hold(announce_lock_);
  if (thread_ == nullptr) return;  // a reset is on its way
  resting_ = true;
  thread_->loop().start_timer(*this, kSizeRests);
  control_.resize(size());
  config_changed();
}

void ConsoleDevice::on_timer() noexcept {
  resting_ = false;
  if (std::exchange(changed_again_, false)) announce_size();
}

void ConsoleDevice::guest_opened(unsigned port, bool open) noexcept {
  ports_[port]->set_guest_open(open);
}

void ConsoleDevice::control_pending() noexcept {
  if (control_rx_) wake_queue(control_rx_->runner());
}

std::vector<DeviceStat> ConsoleDevice::stats() const {
  return {{.name = "rx_bytes", .value = counters_.rx_bytes.get()},
          {.name = "tx_bytes", .value = counters_.tx_bytes.get()},
          {.name = "tx_dropped_bytes", .value = counters_.tx_dropped_bytes.get()},
          {.name = "tx_blocked", .value = counters_.tx_blocked.get()},
          {.name = "connects", .value = counters_.connects.get()},
          {.name = "control_messages", .value = counters_.control_messages.get()},
          {.name = "resizes", .value = counters_.resizes.get()},
          {.name = "guest_faults", .value = counters_.guest_faults.get()}};
}

}  // namespace bellhop

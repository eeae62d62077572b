#include "control/machine_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <type_traits>
#include <utility>

#include "config/device_addition.h"
#include "config/rates_change.h"

namespace bellhop::control {

namespace {

tl::unexpected<Error> gone() { return fail("the machine has come to its end", ESHUTDOWN); }

tl::unexpected<Error> wrong_state(MachineState state, std::string_view way_out) {
  const std::string_view is = state == MachineState::kPaused    ? "paused"
                              : state == MachineState::kOff     ? "switched off"
                              : state == MachineState::kRunning ? "running already"
                                                                : "not started yet";
  return fail(fmt::format("the machine is {}{}{}", is, way_out.empty() ? "" : ": ", way_out),
              EBUSY);
}

/// Those that wait for nothing.
template <class T>
constexpr bool kAtOnce =
    std::is_same_v<T, Ping> || std::is_same_v<T, GetInfo> || std::is_same_v<T, GetCounters> ||
    std::is_same_v<T, GetMetrics> || std::is_same_v<T, PressPowerButton>;

/// Those that need no machine.
template <class T>
constexpr bool kWithoutMachine =
    std::is_same_v<T, Ping> || std::is_same_v<T, EndProcess> || std::is_same_v<T, CreateMachine>;

bool is_at_once(const Command& command) {
  return std::visit([]<class T>(const T&) { return kAtOnce<T>; }, command);
}

}  // namespace

std::string_view to_string(MachineState state) noexcept {
  switch (state) {
    case MachineState::kCreated:
      return "Created";
    case MachineState::kRunning:
      return "Running";
    case MachineState::kPaused:
      return "Paused";
    case MachineState::kOff:
    case MachineState::kNone:  // of which nothing is told
      break;
  }
  return "Shutdown";
}

Result<std::unique_ptr<MachineControl>> MachineControl::create() {
  std::unique_ptr<MachineControl> control(new MachineControl());
  auto loop = EventLoop::create(LoopKind::kEpoll);
  if (!loop) return fail("the machine's loop: " + loop.error().message, loop.error().code);
  auto news = EventFd::create();
  if (!news) return forward(news);
  control->loop_ = std::move(*loop);
  control->news_ = std::move(*news);
  if (auto watched = control->loop_->watch(control->news_, *control); !watched) {
    return forward(watched);
  }
  return control;
}

MachineControl::~MachineControl() {
  close();
  if (loop_) (void)loop_->unwatch(news_);
}

void MachineControl::connect(Wiring wiring) {
  wiring_ = std::move(wiring);
  if (wiring_.machine == nullptr) return set_state(MachineState::kNone);
  set_machine({std::shared_ptr<void>(), wiring_.machine});  // not ours to destroy
  set_config(*std::exchange(wiring_.config, nullptr));
  set_serial(std::move(wiring_.serial));
}

void MachineControl::set_machine(std::shared_ptr<Machine> machine) {
  const std::lock_guard hold(machine_mutex_);
  machine_.swap(machine);
}

void MachineControl::stop() noexcept {
  wiring_.stop();
  stopping_ = true;
  {
    const std::shared_lock hold(machine_mutex_);
    if (machine_) machine_->stop();
  }
  news_.signal();
}

ButtonPress MachineControl::press_power_button() noexcept {
  const std::shared_lock hold(machine_mutex_);
  return machine_ ? machine_->press_power_button() : ButtonPress::kNoDriver;
}

void MachineControl::submit(Command command, Done done) {
  if (is_at_once(command)) {
    const std::shared_lock hold(machine_mutex_);
    return done(execute_any(command));
  }
  {
    const std::lock_guard hold(mutex_);
    if (!closed_) {
      pending_.push_back({std::move(command), std::move(done)});
      news_.signal();
      return;
    }
  }
  done(gone());
}

Result<MachineEnd> MachineControl::run() {
  if (machine_) {
    if (auto started = first_start(); !started) {
      close();
      return forward(started);
    }
  }
  news_.signal();  // for what has come before
  loop_->run();
  close();
  return *end_;
}

void MachineControl::on_event(std::uint64_t /*count*/) noexcept {
  while (true) {
    if (stopping_) {
      if (!machine_) {
        end_ = MachineEnd{};
        return loop_->stop();
      }
      machine_->stop();  // perhaps it was not there yet
    }
    if (machine_) {
      if (machine_->ended() && end_or_restart()) return loop_->stop();
      remove_let_go();
    }
    auto next = take();
    if (!next) return;
    next->done(execute_any(next->command));
  }
}

Result<Answer> MachineControl::execute_any(const Command& command) {
  return std::visit(
      [this]<class T>(const T& one) -> Result<Answer> {
        if (!kWithoutMachine<T> && !machine_) {
          return fail("there is no machine: vm.create makes one", ENOENT);
        }
        return execute(one);
      },
      command);
}

Status MachineControl::first_start() {
  set_state(MachineState::kRunning);  // before its guest does
  tell("booting");
  if (auto started = machine_->start(); !started) return started;
  tell("booted");
  return {};
}

bool MachineControl::end_or_restart() {
  MachineEnd end = machine_->wait();
  if (end.kind == MachineEnd::Kind::kPanic) wiring_.tell("guest", "panic", {});
  const bool reset =
      end.kind == MachineEnd::Kind::kReset || end.kind == MachineEnd::Kind::kTripleFault;
  if (!reset || config()->on_reset == OnReset::kExit || wiring_.stopping()) {
    end_ = std::move(end);
    if (state() != MachineState::kOff) tell("shutdown");
    return true;
  }
  tell("rebooting");
  if (auto done = machine_->reset(); !done) {
    end_ = Result<MachineEnd>(forward(done));
    return true;
  }
  tell("rebooted");
  return false;
}

std::optional<MachineControl::Pending> MachineControl::take() {
  const std::lock_guard hold(mutex_);
  if (pending_.empty()) return std::nullopt;
  Pending first = std::move(pending_.front());
  pending_.pop_front();
  return first;
}

void MachineControl::close() {
  std::deque<Pending> left;
  {
    const std::lock_guard hold(mutex_);
    closed_ = true;
    left.swap(pending_);
  }
  for (const Pending& one : left) one.done(gone());
}

bool MachineControl::closed() const {
  const std::lock_guard hold(mutex_);
  return closed_;
}

MachineState MachineControl::state() const {
  const std::lock_guard hold(mutex_);
  return state_;
}

bool MachineControl::has_power() const {
  const MachineState now = state();
  return now == MachineState::kRunning || now == MachineState::kPaused;
}

std::shared_ptr<const MachineConfig> MachineControl::config() const {
  const std::lock_guard hold(mutex_);
  return config_;
}

void MachineControl::set_config(MachineConfig config) {
  auto next = std::make_shared<const MachineConfig>(std::move(config));
  const std::lock_guard hold(mutex_);
  config_.swap(next);
}

void MachineControl::set_serial(SerialPort serial) {
  const std::lock_guard hold(mutex_);
  serial_ = std::move(serial);
}

SerialPort MachineControl::serial() const {
  const std::lock_guard hold(mutex_);
  return serial_;
}

void MachineControl::set_state(MachineState state) {
  const std::lock_guard hold(mutex_);
  state_ = state;
}

Result<Answer> MachineControl::execute(const Ping& /*command*/) { return Answer(); }

Result<Answer> MachineControl::execute(const GetInfo& /*command*/) {
  MachineCounters counters = machine_->counters();
  const std::uint64_t memory = memory_bytes(counters);
  auto config = this->config();
  std::string console;
  if (!config->consoles.empty()) console = machine_->host_end(config->consoles.front().id);
  return Answer(MachineInfo{.state = state(),
                            .config = std::move(config),
                            .memory_bytes = memory,
                            .queues = std::move(counters.queues),
                            .threads = machine_->placement(),
                            .console = std::move(console),
                            .serial = serial()});
}

std::uint64_t MachineControl::memory_bytes(const MachineCounters& counters) const {
  const auto config = this->config();
  std::uint64_t in_balloon = 0;
  if (!config->balloons.empty()) {
    const auto balloon =
        std::ranges::find(counters.devices, config->balloons.front().id, &DeviceStats::id);
    if (balloon != counters.devices.end()) {  // not just taken away
      for (const DeviceStat& stat : balloon->stats) {
        if (std::string_view(stat.name) == "actual_bytes") in_balloon = stat.value;
      }
    }
  }
  return config->memory - std::min(in_balloon, config->memory);  // the guest says how much is in it
}

Result<Answer> MachineControl::execute(const GetCounters& /*command*/) {
  return Answer(machine_->counters());
}

Result<Answer> MachineControl::execute(const GetMetrics& /*command*/) {
  MachineMetrics metrics{.state = state(),
                         .when = std::chrono::steady_clock::now().time_since_epoch(),
                         .memory_bytes = 0,
                         .counters = machine_->counters(),
                         .threads = machine_->threads()};
  metrics.memory_bytes = memory_bytes(metrics.counters);
  return Answer(std::move(metrics));
}

Result<Answer> MachineControl::execute(const PressPowerButton& /*command*/) {
  if (closed() || machine_->ended()) return gone();
  if (!has_power()) return wrong_state(state(), "boot starts it");
  switch (machine_->press_power_button()) {
    case ButtonPress::kHeard:
      return Answer();
    case ButtonPress::kUnheard:
      return fail("the guest does not listen to its power button now: try it again", EBUSY);
    case ButtonPress::kNoDriver:
      break;
  }
  return fail("the guest has no driver of its power button", EBUSY);
}

Result<Answer> MachineControl::execute(const Boot& /*command*/) {
  if (state() == MachineState::kCreated) {
    Status started = wiring_.before_start();
    if (started) started = first_start();
    if (!started) return forward(started);
    return Answer();
  }
  if (state() != MachineState::kOff) return wrong_state(state(), "");
  tell("booting");
  auto done = start_anew();
  if (done) tell("booted");
  return done;
}

Result<Answer> MachineControl::execute(const Pause& /*command*/) {
  if (state() != MachineState::kRunning) return wrong_state(state(), "only a running one pauses");
  tell("pausing");
  machine_->pause();
  if (machine_->ended()) {
    return fail("the guest has ended or asked for a reset meanwhile", EBUSY);
  }
  set_state(MachineState::kPaused);
  tell("paused");
  return Answer();
}

Result<Answer> MachineControl::execute(const Resume& /*command*/) {
  if (state() != MachineState::kPaused) return wrong_state(state(), "only a paused one resumes");
  tell("resuming");
  set_state(MachineState::kRunning);
  machine_->resume();
  tell("resumed");
  return Answer();
}

Result<Answer> MachineControl::execute(const Reboot& /*command*/) {
  if (!has_power()) return wrong_state(state(), "boot starts it");
  tell("rebooting");
  machine_->pause();
  auto done = start_anew();
  if (done) tell("rebooted");
  return done;
}

Result<Answer> MachineControl::execute(const PowerOff& /*command*/) {
  if (!has_power()) return wrong_state(state(), "");
  machine_->pause();
  if (machine_->ended()) {
    return fail("the guest has ended or asked for a reset meanwhile", EBUSY);
  }
  set_state(MachineState::kOff);
  machine_->power_off();
  tell("shutdown");
  return Answer();
}

Result<Answer> MachineControl::execute(const EndProcess& /*command*/) {
  stop();
  return Answer();
}

Result<Answer> MachineControl::execute(const CreateMachine& command) {
  if (machine_) return fail("there is a machine already: vm.delete takes it away", EBUSY);
  auto created = wiring_.create(command.options);
  if (!created) {
    const int code = created.error().code;
    return fail(std::move(created.error().message), code == 0 || code == ENOENT ? EINVAL : code);
  }
  set_config(std::move(created->config));
  set_serial(std::move(created->serial));
  set_state(MachineState::kCreated);
  set_machine(std::move(created->machine));
  tell("created");
  return Answer();
}

Result<Answer> MachineControl::execute(const DeleteMachine& /*command*/) {
  if (wiring_.machine != nullptr) {
    return fail("this machine is the program's, and goes with it: vmm.shutdown ends both", ENOTSUP);
  }
  if (has_power()) tell("shutdown");
  wiring_.stop();  // nobody waits for who reads what it printed
  std::shared_ptr<Machine> gone;
  {
    const std::lock_guard hold(machine_mutex_);
    gone.swap(machine_);
  }
  gone.reset();
  set_state(MachineState::kNone);
  tell("deleted");
  return Answer();
}

Result<Answer> MachineControl::execute(const ResizeDisk& command) {
  const auto config = this->config();
  if (std::ranges::find(config->disks, command.id, &DiskConfig::id) == config->disks.end()) {
    return fail(fmt::format("there is no disk '{}'", command.id), ENOENT);
  }
  if (auto done = machine_->resize_device(command.id, command.bytes); !done) {
    return forward(done);
  }
  return Answer();
}

Result<Answer> MachineControl::execute(const SetRates& command) {
  MachineConfig config = *this->config();
  const auto rates = change_rates(config, command.id, command.properties);
  if (!rates) return forward(rates);
  if (auto done = machine_->set_rates(command.id, *rates); !done) return forward(done);
  set_config(std::move(config));
  return Answer();
}

Result<Answer> MachineControl::execute(const SetNotify& command) {
  NotifyWish wish = command.wish;
  if (!command.optimize_given) wish.optimize = config()->optimize;
  if (auto done = machine_->set_notify(command.id, command.queue, wish); !done) {
    return forward(done);
  }
  return Answer();
}

Result<Answer> MachineControl::execute(const PinThread& command) {
  const auto cpus = parse_cpu_list(command.cpus);
  if (!cpus) return fail("cpus: " + cpus.error().message, EINVAL);
  if (auto done = machine_->pin_thread(command.name, *cpus); !done) return forward(done);
  return Answer();
}

Result<Answer> MachineControl::execute(const Resize& command) {
  const auto config = this->config();
  if (command.vcpus && *command.vcpus != config->cpus) {
    return fail(fmt::format("the machine has {} vCPUs, whose number cannot change", config->cpus),
                ENOTSUP);
  }
  if (command.memory_bytes && *command.memory_bytes != config->memory) {
    return fail(fmt::format("the machine has {} bytes of memory, which cannot change; its balloon "
                            "can",
                            config->memory),
                ENOTSUP);
  }
  if (!command.balloon_bytes) return Answer();
  if (config->balloons.empty()) {
    return fail("the machine has no balloon (see --balloon)", ENOENT);
  }
  const std::string& id = config->balloons.front().id;
  if (auto done = machine_->resize_device(id, *command.balloon_bytes); !done) {
    return forward(done);
  }
  return Answer();
}

Result<Answer> MachineControl::execute(const AddDevice& command) {
  PropertyList properties = command.properties;
  if (properties.find("fd") != nullptr) {
    return fail("fd=: a number means nothing here; descriptors come with the request", EINVAL);
  }
  if (!command.fds.empty()) {
    std::string numbers;
    for (const auto& fd : command.fds) {
      numbers += fmt::format("{}{}", numbers.empty() ? "" : ":", fd->get());
    }
    properties.set({"fd", std::move(numbers)});
  }
  auto addition = make_device_addition(command.kind, properties, *config());
  if (!addition) return fail(std::move(addition.error().message), EINVAL);
  auto place = machine_->add_device(addition->alone);
  if (!place) {
    const int code = place.error().code;  // of a file: no device of that id is what ENOENT says
    return fail(std::move(place.error().message), code == ENOENT ? EINVAL : code);
  }
  set_config(std::move(addition->machine));
  tell("device-added", addition->id);
  return Answer(AddedDevice{.id = std::move(addition->id), .bdf = std::move(*place)});
}

Result<Answer> MachineControl::execute(const RemoveDevice& command) {
  if (!has_device(*config(), command.id)) {
    return fail(fmt::format("there is no device '{}'", command.id), ENOENT);
  }
  // Without power no guest has it.
  const Status done =
      has_power() ? machine_->ask_for_device(command.id) : machine_->remove_device(command.id);
  if (!done) return forward(done);
  remove_let_go();
  return Answer();
}

void MachineControl::remove_let_go() {
  const std::vector<std::string> gone = machine_->remove_let_go();
  if (gone.empty()) return;
  MachineConfig config = *this->config();
  for (const std::string& id : gone) {
    remove_device(config, id);
    tell("device-removed", id);
  }
  set_config(std::move(config));
}

Result<Answer> MachineControl::start_anew() {
  set_state(MachineState::kRunning);  // before its guest does
  if (auto done = machine_->reset(); !done) {
    set_state(MachineState::kOff);  // without a guest: it can be tried again
    return forward(done);
  }
  if (machine_->ended()) return gone();
  return Answer();
}

}  // namespace bellhop::control

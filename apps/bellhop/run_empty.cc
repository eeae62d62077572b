#include "apps/bellhop/run_empty.h"

#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

#include "apps/bellhop/clean_stop.h"
#include "apps/bellhop/command_needs.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/run_parts.h"
#include "apps/bellhop/serial_output.h"
#include "apps/bellhop/signal_waiter.h"
#include "base/descriptor_limit.h"
#include "base/log.h"
#include "base/output_files.h"
#include "base/thread.h"
#include "bellhop_version.h"
#include "control/api/api_server.h"
#include "control/event_monitor.h"
#include "control/machine_control.h"
#include "hypervisor/hypervisor.h"
#include "machine/machine.h"
#include "net/passt_launcher.h"
#include "sandbox/sandbox.h"

namespace bellhop {

namespace {

/// A machine, and what it prints to.
struct Whole {
  OutputFiles outputs;
  std::shared_ptr<SerialOutput> serial;  // who ends the program may have it give up meanwhile
  std::unique_ptr<Machine> machine;

  Whole() = default;
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;
  ~Whole() {
    if (!serial) return;
    serial->connect({});
    machine.reset();  // it may still print
    if (auto printed = serial->finish(); !printed) log::warn("{}", printed.error().message);
  }
};

/// Makes machines, one after the other.
class Maker {
 public:
  /// `landlock`: whether machines are kept from other files than theirs.
  Maker(Hypervisor& hypervisor, FileRoles roles, bool landlock, bool interpreted_allowed)
      : hypervisor_(hypervisor),
        roles_(std::move(roles)),
        landlock_(landlock),
        interpreted_allowed_(interpreted_allowed) {}

  /// To be told of a machine's news: before the first is made. The maker outlives it.
  void connect(control::MachineControl& control) { control_ = &control; }

  Result<control::MachineControl::Created> make(const MachineOptions& options) {
    if (is_confined()) {
      return fail(
          "a confined program has one machine: start another (without --seccomp and --landlock it "
          "has more)",
          EBUSY);
    }
    FileRoles roles = roles_;
    const std::string& destination = options.serial->text;
    if (const std::string file = SerialOutput::file_of(destination); !file.empty()) {
      if (auto added = roles.add("serial", file, FileUse::kOutput); !added) return forward(added);
    }
    auto config = make_machine_config(options, std::move(roles));
    if (!config) return forward(config);
    if (config->landlock == LandlockMode::kOn && !landlock_) {
      return fail("landlock_enable: the program was started without --landlock on", EPERM);
    }
    needs_ = host_needs(*config);
    if (auto able = check_host(hypervisor_, *config, interpreted_allowed_); !able) {
      return forward(able);
    }
    auto whole = std::make_shared<Whole>();
    auto serial = SerialOutput::open(destination, whole->outputs);
    if (!serial) return forward(serial);
    whole->serial = std::move(*serial);
    MachineHooks hooks;
    hooks.serial_output = [out = whole->serial.get()](std::span<const std::byte> data) {
      return out->write(data);
    };
    hooks.ended = [control = control_] { control->machine_has_news(); };
    hooks.let_go = hooks.ended;
    hooks.host.outputs = &whole->outputs;
    auto machine = Machine::create(*config, hypervisor_, std::move(hooks));
    if (!machine) return forward(machine);
    whole->machine = std::move(*machine);
    whole->serial->connect(
        {.has_room = [it = whole->machine.get()] { it->serial_has_room(); },
         .input = [it = whole->machine.get()](
                      std::span<const std::byte> bytes) { return it->serial_input(bytes); }});
    if (auto begun = whole->outputs.begin(); !begun) return forward(begun);
    {
      const std::lock_guard hold(mutex_);
      last_serial_ = whole->serial;
    }
    std::shared_ptr<Machine> shared(whole, whole->machine.get());
    return control::MachineControl::Created{std::move(*config), std::move(shared),
                                            whole->serial->port()};
  }

  /// What the last machine needs of the host.
  [[nodiscard]] const HostNeeds& needs() const noexcept { return needs_; }

  /// What nobody reads of the serial port is dropped from now on. Any thread.
  void give_up_output() {
    const std::lock_guard hold(mutex_);
    if (const auto serial = last_serial_.lock()) serial->give_up();
  }

 private:
  Hypervisor& hypervisor_;
  control::MachineControl* control_ = nullptr;
  const FileRoles roles_;
  const bool landlock_;
  HostNeeds needs_;
  const bool interpreted_allowed_;
  std::mutex mutex_;
  std::weak_ptr<SerialOutput> last_serial_;
};

}  // namespace

int run_empty(const MachineOptions& options, FileRoles roles, bool interpreted_allowed,
              const EnterJail& enter) {
  const auto config = make_empty_config(options);
  if (!config) return report(config.error());
  HostNeeds needs = host_needs(*config);
  add_command_needs(options, needs);
  if (const auto ended = run_in_jail(enter, needs)) return *ended;
  descriptor_limit::raise();
  SignalWaiter::block_signals();  // before any other thread is there to take them
  const bool will_confine = (options.seccomp && config->seccomp != SeccompMode::kOff) ||
                            config->landlock != LandlockMode::kOff;
  // While there is one thread. It goes last.
  auto launcher = will_confine ? PasstLauncher::start() : Result<std::unique_ptr<PasstLauncher>>();
  if (!launcher) return report(launcher.error(), kFailed);
  OutputFiles outputs;
  const auto events = open_events(options, outputs);
  if (!events) return report(events.error());
  auto sandbox = Sandbox::create({.mode = config->seccomp,
                                  .adds_devices = true,
                                  .landlock = config->landlock,
                                  .needs = needs});
  if (!sandbox) return report_at(config->places.of("--seccomp"), sandbox.error());
  auto listener = open_api(options);
  if (!listener) return report(listener.error());
  auto hypervisor = open_kvm();
  if (!hypervisor) return report(hypervisor.error(), kFailed);
  Maker maker(**hypervisor, std::move(roles), (*sandbox)->has_landlock(), interpreted_allowed);
  auto control = control::MachineControl::create();
  if (!control) return report(control.error(), kFailed);
  maker.connect(**control);
  CleanStop clean_stop(config->stop_timeout,
                       {.press = [&] { return press_for_stop(**control); }, .tell = tell_if_read});
  const auto tell = [&events](std::string_view source, std::string_view event,
                              std::string_view id) {
    if (*events) (*events)->tell(source, event, id);
  };
  // Its filter has no way to make another machine: it gets none where nobody asked for one.
  bool confined = !options.seccomp && !(*sandbox)->has_landlock();
  (*control)->connect({.create = [&](const MachineOptions& asked) { return maker.make(asked); },
                       .before_start = [&]() -> Status {
                         if (std::exchange(confined, true)) return {};
                         return (*sandbox)->confine_main(maker.needs());
                       },
                       .stop = [&] { maker.give_up_output(); },
                       .stopping = [&] { return clean_stop.signal() != 0; },
                       .tell = tell});
  auto signals =
      SignalWaiter::start({.stop = [&] { (*control)->stop(); }, .clean_stop = &clean_stop});
  if (!signals) return report(signals.error(), kFailed);
  if (auto begun = outputs.begin(); !begun) return report(begun.error(), kFailed);
  tell("vmm", "starting", {});
  auto api = control::ApiServer::start(
      {.listener = std::move(**listener), .control = control->get(), .version = BELLHOP_VERSION});
  if (!api) return report({"--api-socket: " + api.error().message}, kFailed);
  const auto end = (*control)->run();
  tell("vmm", "shutdown", {});
  if (!end) return report(end.error(), kFailed);
  const int status = status_of(*end);
  const int signal = (*signals)->finish();
  return end->kind == MachineEnd::Kind::kStopped && signal != 0 ? kSignalBase + signal : status;
}

}  // namespace bellhop

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "apps/bellhop/clean_stop.h"
#include "apps/bellhop/command_needs.h"
#include "apps/bellhop/commands.h"
#include "apps/bellhop/device_arguments.h"
#include "apps/bellhop/log_format.h"
#include "apps/bellhop/run_empty.h"
#include "apps/bellhop/run_explanation.h"
#include "apps/bellhop/run_parts.h"
#include "apps/bellhop/run_stats.h"
#include "apps/bellhop/scalar_option.h"
#include "apps/bellhop/serial_output.h"
#include "apps/bellhop/signal_waiter.h"
#include "apps/bellhop/terminal_input.h"
#include "base/descriptor_limit.h"
#include "base/file_roles.h"
#include "base/log.h"
#include "base/output_files.h"
#include "base/poll.h"
#include "bellhop_version.h"
#include "config/machine_options.h"
#include "control/api/api_server.h"
#include "control/api/api_socket.h"
#include "control/event_monitor.h"
#include "control/machine_control.h"
#include "devices/console/console_window.h"
#include "hypervisor/hypervisor.h"
#include "machine/boot/kernel_boot.h"
#include "machine/machine.h"
#include "net/passt_launcher.h"
#include "probe/floors.h"
#include "sandbox/sandbox.h"

namespace bellhop {

namespace {

constexpr const char* kExamples = R"(Examples:
  bellhop run --kernel vmlinuz --initrd initrd.img --cmdline "console=ttyS0 root=/dev/vda" \
      --cpus 2 --memory 2G --disk path=debian.img --net tap=tap0
  bellhop run --kernel bench-guest.elf --memory 256M --cmdline "workload=randread threads=16" \
      --disk path=disk.img,cache=none,aio=native
  bellhop run --kernel bench-guest.elf --cpus 2 --vcpu-affinity 0=0,1=1 --iothread io0,cpus=1 \
      --disk path=a.img,id=a,notify=sync --disk null=1G,id=b,queues=2,iothread=io0
  bellhop run --kernel bench-guest.elf --net tap=tap0,mac=02:00:00:12:34:56
  bellhop run --config machine.toml --cpus 4        the command line wins over the file
)";

constexpr const char* kLastWords = R"(
The serial port is the terminal, in raw mode: Ctrl-A x ends the machine, Ctrl-A p presses its power
button, Ctrl-A h helps.

SIGTERM (or SIGINT, SIGHUP) presses the power button, and the guest has the time of --stop-timeout
to switch itself off; a second SIGTERM or SIGINT ends the machine at once.

Exit status: 0 the guest switched itself off (or wrote 0 to the debug exit port), 1 the machine
failed (or the guest wrote another value), 2 used wrongly, 3 the guest asked for a reset, 4 it
ended by a triple fault, 5 its kernel panicked (told by pvpanic), 6 KVM gave up on it, 7 ended by
Ctrl-A x, 128+N ended by signal N before the guest had switched itself off.)";

/// The options as CLI11 hands them over.
struct RunArguments {
  MachineOptions options;
  std::string memory;
  DeviceArguments given;
  std::string config;
  bool interpreted_allowed = false;
};

Result<MachineOptions> collect(const RunArguments& arguments) {
  MachineOptions given = arguments.options;
  if (!arguments.memory.empty()) {
    auto memory = parse_option("--memory", arguments.memory, "size");
    if (!memory) return forward(memory);
    given.memory = std::move(*memory);
  }
  if (auto taken = take_device_arguments(arguments.given, given); !taken) return forward(taken);
  if (arguments.config.empty()) return given;
  auto options = read_options_file(arguments.config);
  if (options) options->merge(given);
  return options;
}

/// Keys on their way to a console at stdio: whoever reads the terminal obeys the escape keys first.
struct KeyPipe {
  UniqueFd out;
  UniqueFd in;

  /// How much was taken.
  [[nodiscard]] std::size_t put(std::span<const std::byte> bytes) const noexcept {
    const ssize_t done = ::write(in.get(), bytes.data(), bytes.size());
    return done < 0 ? 0 : static_cast<std::size_t>(done);
  }
};

/// Nothing if no console is at stdio. Errors: no pipe left.
Result<std::optional<KeyPipe>> connect_keys(const MachineConfig& config) {
  const auto at_stdio = [](const ConsoleConfig& console) {
    return std::ranges::find(console.ports, ConsolePortConfig::End::kStdio,
                             &ConsolePortConfig::end) != console.ports.end();
  };
  std::optional<KeyPipe> keys;
  if (std::ranges::none_of(config.consoles, at_stdio)) return keys;
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("--console stdio");
  keys.emplace(KeyPipe{UniqueFd(fds[0]), UniqueFd(fds[1])});
  return keys;
}

/// Of the terminal, for a console at stdio.
void tell_window_size(ConsoleWindow& window) {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) window.set_size(size.ws_col, size.ws_row);
}

/// While it lives, the guest is at its end of the serial port.
class GuestAtSerial {
 public:
  GuestAtSerial(SerialOutput& serial, Machine& machine) : serial_(serial) {
    serial.connect(
        {.has_room = [&machine] { machine.serial_has_room(); },
         .input =
             [&machine](std::span<const std::byte> bytes) { return machine.serial_input(bytes); }});
  }
  ~GuestAtSerial() { serial_.connect({}); }
  GuestAtSerial(const GuestAtSerial&) = delete;
  GuestAtSerial& operator=(const GuestAtSerial&) = delete;

 private:
  SerialOutput& serial_;
};

/// As Ctrl-A p does.
void press_at_terminal(Machine& machine) {
  if (machine.press_power_button() == ButtonPress::kHeard) return;
  report({"the guest does not listen to its power button"}, kDone);
}

/// What the command does with files besides those that make the machine.
Result<FileRoles> find_roles(const RunArguments& arguments, const MachineOptions& options) {
  FileRoles roles;
  Status added = roles.add("standard output", STDOUT_FILENO, FileUse::kPrinted);
  if (added) added = roles.add("standard error", STDERR_FILENO, FileUse::kPrinted);
  const auto add = [&](std::string_view option, const std::optional<OptionText>& given,
                       const std::string& path, FileUse use) {
    if (!added || path.empty()) return;
    added = roles.add(given ? named_at(given->place, option) : std::string(option), path, use);
  };
  add("--config", {}, arguments.config, FileUse::kRead);
  if (options.serial) {
    add("--serial", options.serial, SerialOutput::file_of(options.serial->text), FileUse::kOutput);
  }
  if (options.event_monitor) {
    const auto place = control::EventPlace::read(options.event_monitor->text);
    // What is wrong is told when it is opened.
    if (!place.name.empty()) {
      add("--event-monitor", options.event_monitor, place.path(),
          place.passed ? FileUse::kPrinted : FileUse::kOutput);
    }
  }
  if (options.stats && options.stats->text != "-") {
    add("--stats", options.stats, options.stats->text, FileUse::kOutput);
  }
  if (options.explain && options.explain->text != "-") {
    add("--explain", options.explain, options.explain->text, FileUse::kOutput);
  }
  if (!added) return forward(added);
  return roles;
}

int run_machine(const MachineConfig& config, const RunArguments& arguments,
                const MachineOptions& options, const HostNeeds& needs) {
  descriptor_limit::raise();
  SignalWaiter::block_signals();  // before any other thread is there to take them
  const bool will_confine =
      config.seccomp != SeccompMode::kOff || config.landlock != LandlockMode::kOff;
  // While there is one thread. It goes last.
  auto launcher = options.api_socket && will_confine ? PasstLauncher::start()
                                                     : Result<std::unique_ptr<PasstLauncher>>();
  if (!launcher) return report(launcher.error(), kFailed);
  OutputFiles outputs;
  const auto events = open_events(options, outputs);
  if (!events) return report(events.error());
  const auto keys = connect_keys(config);
  if (!keys) return report(keys.error(), kFailed);
  // Before the threads that it confines, and gone after them.
  auto sandbox = Sandbox::create({.mode = config.seccomp,
                                  .adds_devices = options.api_socket.has_value(),
                                  .before_end = TerminalInput::put_terminal_back,
                                  .landlock = config.landlock,
                                  .needs = needs});
  if (!sandbox) return report_at(config.places.of("--seccomp"), sandbox.error());
  // Both would print into one another.
  const OptionText destination = options.serial.value_or(keys->has_value() ? "null" : "tty");
  auto opened = SerialOutput::open(destination.text, outputs);
  if (!opened) return report_at(destination.place, opened.error());
  SerialOutput& serial = **opened;
  if (keys->has_value() && serial.is_terminal()) {
    return report(
        {"--console stdio: the terminal is the serial port's; --serial null, "
         "pty or file=PATH leaves it to the console"});
  }
  RunExplanation explanation;
  if (options.explain) {
    if (auto able = explanation.open(options.explain->text); !able) {
      return report_at(options.explain->place, able.error());
    }
  }
  RunStats stats;
  if (options.stats) {
    if (auto able = stats.open(options.stats->text); !able) {
      return report_at(options.stats->place, able.error());
    }
  }
  // Before anything is made: a socket that another machine has is none of ours.
  auto api_socket = open_api(options);
  if (!api_socket) return report(api_socket.error());
  auto hypervisor = open_kvm();
  if (!hypervisor) return report(hypervisor.error(), kFailed);
  if (auto able = check_host(**hypervisor, config, arguments.interpreted_allowed); !able) {
    return report(able.error(), kFailed);
  }

  MachineHooks hooks;
  hooks.serial_output = [&serial](std::span<const std::byte> data) { return serial.write(data); };
  hooks.marker = [&stats](std::uint32_t value, const MachineCounters& counters) {
    stats.mark(value, counters);
  };
  if (options.explain) {
    hooks.request_times = [&explanation](std::uint32_t value, std::vector<QueueTimes> times) {
      explanation.mark(value, std::move(times));
    };
  }
  auto made = control::MachineControl::create();
  if (!made) return report(made.error(), kFailed);
  control::MachineControl& control = **made;
  hooks.ended = [&control] { control.machine_has_news(); };
  hooks.let_go = hooks.ended;
  const auto window = std::make_shared<ConsoleWindow>();
  hooks.host.outputs = &outputs;
  if (keys->has_value()) {
    hooks.host.standard_input = (*keys)->out.get();
    hooks.host.window = window;
  }
  auto created = Machine::create(config, **hypervisor, std::move(hooks));
  if (!created) return report(created.error());
  Machine* const machine = created->get();
  const GuestAtSerial guest(serial, *machine);

  const auto stop = [&control] { control.stop(); };
  CleanStop clean_stop(
      config.stop_timeout,
      {.press = [&control] { return press_for_stop(control); }, .tell = tell_if_read});
  const auto tell = [&events](std::string_view source, std::string_view event,
                              std::string_view id) {
    if (*events) (*events)->tell(source, event, id);
  };
  // Before anyone can ask it for anything.
  control.connect({.machine = machine,
                   .config = &config,
                   .serial = serial.port(),
                   .stop = [&serial] { serial.give_up(); },
                   .stopping = [&clean_stop] { return clean_stop.signal() != 0; },
                   .tell = tell});
  std::atomic<bool> quit{false};
  auto signals = SignalWaiter::start({.stop = stop,
                                      .give_up = TerminalInput::put_terminal_back,
                                      .resized =
                                          [&] {
                                            if (keys->has_value()) tell_window_size(*window);
                                          },
                                      .clean_stop = &clean_stop});
  if (!signals) return report(signals.error(), kFailed);
  std::unique_ptr<TerminalInput> terminal;
  if (serial.is_terminal() || keys->has_value()) {
    auto started = TerminalInput::start(
        {.input =
             [machine, &keys](std::span<const std::byte> bytes) {
               return keys->has_value() ? (*keys)->put(bytes) : machine->serial_input(bytes);
             },
         .quit =
             [&quit, stop] {
               quit = true;
               stop();
             },
         .press_power_button = [machine] { press_at_terminal(*machine); }});
    if (!started) return report(started.error(), kFailed);
    terminal = std::move(*started);
  }
  stats.set_threads(machine->vcpu_tids(), machine->iothread_tids());
  if (auto begun = outputs.begin(); !begun) return report(begun.error(), kFailed);
  tell("vmm", "starting", {});
  std::unique_ptr<control::ApiServer> api;
  if (*api_socket) {
    auto started = control::ApiServer::start(
        {.listener = std::move(**api_socket), .control = &control, .version = BELLHOP_VERSION});
    if (!started) return report({"--api-socket: " + started.error().message}, kFailed);
    api = std::move(*started);
  }
  // All is open, and the guest has not begun.
  if (auto confined = (*sandbox)->confine_main(); !confined) {
    return report_at(config.places.of("--seccomp"), confined.error());
  }
  const auto end = control.run();
  tell("vmm", "shutdown", {});
  const Status printed = serial.finish();
  terminal.reset();  // before anything is printed
  if (!end) return report(end.error(), kFailed);
  int status = status_of(*end);
  const int signal = (*signals)->finish();
  if (end->kind == MachineEnd::Kind::kStopped) {
    if (signal != 0) status = kSignalBase + signal;
    if (quit) status = report({"ended by Ctrl-A x, as if its power was cut"}, kEndedAtTerminal);
  }
  if (!printed) status = report(printed.error(), status == kDone ? kFailed : status);
  // The guest's own end is what whoever started it asks for first.
  if (auto written = stats.write(machine->counters()); !written) report(written.error(), status);
  if (auto written = explanation.write(machine->take_request_times()); !written) {
    report(written.error(), status);
  }
  return status;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_status, EnterJail enter) {
  CLI::App* run =
      app.add_subcommand("run", "Run a virtual machine; its serial port is standard output");
  auto arguments = std::make_shared<RunArguments>();
  MachineOptions& options = arguments->options;
  const auto text = [run](const char* name, auto& value, const char* help, const char* type) {
    add_scalar(*run, name, value, help, type);
  };
  text("--kernel", options.kernel, "Linux bzImage, or an ELF kernel with a PVH entry", "FILE");
  text("--initrd", options.initrd, "Initial RAM disk", "FILE");
  text("--cmdline", options.cmdline, "Kernel command line", "TEXT");
  text("--cpus", options.cpus, "Number of vCPUs (1)", "N");
  text("--vcpu-affinity", options.vcpu_affinity, "Host CPUs of each vCPU: 0=0,1=2-3", "LIST");
  text("--halt-poll", options.halt_poll,
       "How long KVM waits for a halted vCPU before its thread sleeps (auto: as the host has it)",
       "auto|off|TIME");
  text("--memory", arguments->memory, "Guest memory (512M)", "SIZE[,shared=on][,hugepages=on]");
  text("--transport", options.transport, "How the guest sees its devices (pci)",
       "pci|pci-transitional|mmio");
  text("--optimize", options.optimize,
       "What devices with notify=adaptive look at unless they say it (throughput)",
       "throughput|efficiency|latency");
  text("--max-ioeventfds", options.max_ioeventfds,
       "Use at most N ioeventfds; further queues notify synchronously", "N");
  text("--reserve-ioeventfds", options.reserve_ioeventfds,
       "Of --max-ioeventfds, keep N for queues that vhost serves", "N");
  text("--serial", options.serial,
       "Where the serial port goes: tty (default), a pseudo terminal, null or a file",
       "tty|pty|null|file=PATH");
  text("--on-reset", options.on_reset, "When the guest asks for a reset: exit (default) or restart",
       "exit|restart");
  text("--stop-timeout", options.stop_timeout,
       "How long a guest that is asked to stop may take (90s); 0: end it at once", "TIME");
  text("--seccomp", options.seccomp,
       "What becomes of a thread that makes a system call it has no use for (kill)",
       "kill|errno|log|off");
  add_landlock_options(*run, arguments->given, options.landlock);
  text("--log-format", options.log_format, kLogFormatHelp, kLogFormats);
  text("--api-socket", options.api_socket,
       "Where `bellhop ctl` and other clients of the API connect; alone: they make the machine",
       "PATH|fd=N");
  text("--event-monitor", options.event_monitor,
       "Write what becomes of the machine, one JSON object for each event", "path=FILE|fd=N");
  run->add_flag("--allow-interpreted-kvm", arguments->interpreted_allowed,
                "Start a Linux kernel even where KVM interprets guest kernel mode");
  text("--stats", options.stats,
       "Write the machine's counters as JSON at its end (-: standard error)", "FILE");
  text("--explain", options.explain,
       "Write where the time of requests went as JSON at its end (-: standard error)", "FILE");
  text("--config", arguments->config, "Options from a TOML file; the command line wins", "FILE");
  std::string footer = kExamples;
  for (std::size_t i = 0; i < device_kinds().size(); ++i) {
    add_device_option(*run, arguments->given, i);
    footer += device_help(i);
  }
  add_rate_group_option(*run, arguments->given);
  add_iothread_option(*run, arguments->given);
  run->footer(footer + std::string(kRateGroupHelp) + "\n" + std::string(kIothreadHelp) +
              kLastWords);
  run->callback([arguments, enter = std::move(enter), &exit_status] {
    // What the command line says holds for what is wrong with the file.
    auto begun = begin_log(arguments->options.log_format);
    const auto collected = begun ? collect(*arguments) : Result<MachineOptions>(forward(begun));
    if (collected) begun = begin_log(collected->log_format);
    if (!collected || !begun) {
      exit_status = report(collected ? begun.error() : collected.error());
      return;
    }
    auto roles = find_roles(*arguments, *collected);
    if (roles && !collected->kernel && collected->api_socket) {
      exit_status = run_empty(*collected, std::move(*roles), arguments->interpreted_allowed, enter);
      return;
    }
    const auto config = roles ? make_machine_config(*collected, std::move(*roles))
                              : Result<MachineConfig>(forward(roles));
    if (!config) {
      exit_status = report(config.error());
      return;
    }
    HostNeeds needs = host_needs(*config);
    add_command_needs(*collected, needs);
    const auto ended = run_in_jail(enter, needs);
    exit_status = ended ? *ended : run_machine(*config, *arguments, *collected, needs);
  });
}

}  // namespace bellhop

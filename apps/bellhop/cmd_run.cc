#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "apps/bellhop/commands.h"
#include "apps/bellhop/run_stats.h"
#include "apps/bellhop/serial_output.h"
#include "apps/bellhop/signal_waiter.h"
#include "apps/bellhop/terminal_input.h"
#include "hypervisor/hypervisor.h"
#include "vmm/boot/kernel_boot.h"
#include "vmm/machine.h"
#include "vmm/options/machine_options.h"
#include "vmm/probe/floors.h"

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

Keys of --disk:
  path=FILE or null=SIZE   a raw image or block device; or a medium that keeps nothing
  id=NAME                  disk0, disk1, ... by default; what the guest gets as its id
  readonly[=on|off]
  cache=none|writeback     none: past the host's page cache (O_DIRECT)
  aio=io_uring|native|threads
  queues=N  queue-size=N   1 and 256 by default
  notify=ioeventfd|sync    sync: the vCPU waits while its kick is served
  iothread=NAME|auto       auto: disks are spread over all I/O threads
Keys of --net:
  tap=NAME or fd=N[:N...]  a tap of the host, made if it is not there; or open ones, one a pair
  user                     or a network without rights, by passt;
  hostfwd=tcp:[ADDRESS]:PORT-:GUESTPORT   ... ports of the host's (or udp:); may be given again
  id=NAME  mac=ADDRESS     net0, net1, ... and a random address by default
  mtu=N                    set for the tap too; by default the tap's own
  queues=N  queue-size=N   pairs of queues (1), entries of each queue (256)
  vhost=off|on|force       have the kernel's vhost-net carry the frames: on, where it can be had;
                           force, or do not start (off)
  notify=..., iothread=... as for --disk; iothread=A:B spreads the pairs over both
Keys of --rng, which may be without any:
  src=FILE                 where the bytes come from (/dev/urandom)
  max-bytes=N  period=MS   no more than N bytes in MS milliseconds (1000); without: as many as asked
  id=, notify=, iothread=  as for --disk
Keys of --vsock:
  cid=N  uds=PATH          the guest's context id, 3 or more; a Unix socket of the host
  vhost=off|on|force       on, force: the kernel's vhost-vsock, without uds (off)
  id=NAME, notify=..., iothread=... as for --net
Keys of --fs:
  tag=NAME  socket=PATH    what the guest mounts it by; virtiofsd's socket
  num-queues=N  queue-size=N   queues for requests (1), entries of each queue (1024)
  id=NAME, iothread=...    as for --net
Keys of --console, once for each port of one virtio-console:
  stdio, pty, null, file=PATH or socket=PATH   what is at the host's end
  name=NAME                none: a console (hvc0, ...); else a port that programs open by that name
  id=, notify=, iothread=  as for --disk, the same for all ports
Keys of --balloon, which may be without any:
  size=SIZE                what the guest is asked to give back (0)
  deflate-on-oom[=on|off]  the guest may take it back before it runs out of memory
  free-page-reporting[=on|off]   the guest gives back what it does not use
  statistics[=on|off]  stats-interval=S        what the guest says of its memory, for --stats
  id=, notify=, iothread=  as for --disk
Keys of --iothread: its name, cpus=LIST, loop=io_uring|epoll, poll-max=TIME (64us; 0: never)
In a value, write a comma twice.

The serial port is the terminal, in raw mode: Ctrl-A x ends the machine, Ctrl-A p presses its power
button, Ctrl-A h helps.

Exit status: 0 the guest switched itself off (or wrote 0 to the debug exit port), 1 the machine
failed (or the guest wrote another value), 2 used wrongly, 3 the guest asked for a reset, 4 it ended
by a triple fault, 5 its kernel panicked (told by pvpanic), 6 KVM gave up on it, 128+N ended by
signal N.)";

/// The options as CLI11 hands them over.
struct RunArguments {
  MachineOptions options;
  std::string memory;
  std::vector<std::string> disks;
  std::vector<std::string> nics;
  std::vector<std::string> rngs;
  std::vector<std::string> vsocks;
  std::vector<std::string> shares;
  std::vector<std::string> consoles;
  std::vector<std::string> balloons;
  std::vector<std::string> iothreads;
  std::string config;
  bool interpreted_allowed = false;
};

Result<PropertyList> parse_list(std::string_view option, std::string_view text,
                                std::string_view bare_key) {
  if (text.empty()) return PropertyList();  // an option without a value, where that is allowed
  auto list = PropertyList::parse(text, bare_key);
  if (!list) return fail(fmt::format("{}: {}", option, list.error().message));
  return list;
}

Result<MachineOptions> collect(const RunArguments& arguments) {
  MachineOptions given = arguments.options;
  if (!arguments.memory.empty()) {
    auto memory = parse_list("--memory", arguments.memory, "size");
    if (!memory) return forward(memory);
    given.memory = std::move(*memory);
  }
  for (const std::string& text : arguments.disks) {
    auto disk = parse_list("--disk", text, {});
    if (!disk) return forward(disk);
    given.disks.push_back(std::move(*disk));
  }
  for (const std::string& text : arguments.nics) {
    auto nic = parse_list("--net", text, {});
    if (!nic) return forward(nic);
    given.nics.push_back(std::move(*nic));
  }
  for (const std::string& text : arguments.rngs) {
    auto rng = parse_list("--rng", text, "src");
    if (!rng) return forward(rng);
    given.rngs.push_back(std::move(*rng));
  }
  for (const std::string& text : arguments.vsocks) {
    auto vsock = parse_list("--vsock", text, {});
    if (!vsock) return forward(vsock);
    given.vsocks.push_back(std::move(*vsock));
  }
  for (const std::string& text : arguments.shares) {
    auto share = parse_list("--fs", text, {});
    if (!share) return forward(share);
    given.shares.push_back(std::move(*share));
  }
  for (const std::string& text : arguments.consoles) {
    auto console = parse_list("--console", text, {});
    if (!console) return forward(console);
    given.consoles.push_back(std::move(*console));
  }
  for (const std::string& text : arguments.balloons) {
    auto balloon = parse_list("--balloon", text, "size");
    if (!balloon) return forward(balloon);
    given.balloons.push_back(std::move(*balloon));
  }
  for (const std::string& text : arguments.iothreads) {
    auto thread = parse_list("--iothread", text, "name");
    if (!thread) return forward(thread);
    given.iothreads.push_back(std::move(*thread));
  }
  if (arguments.config.empty()) return given;
  auto options = read_options_file(arguments.config);
  if (options) options->merge(given);
  return options;
}

int status_of(const MachineEnd& end) {
  switch (end.kind) {
    case MachineEnd::Kind::kExitPort:
      return end.code == 0 ? kDone : kFailed;
    case MachineEnd::Kind::kPowerOff:
    case MachineEnd::Kind::kStopped:
      return kDone;
    case MachineEnd::Kind::kReset:
      return kGuestReset;
    case MachineEnd::Kind::kTripleFault:
      return report({"the guest ended by a triple fault", 0}, kGuestTripleFault);
    case MachineEnd::Kind::kPanic:
      return report({"the guest's kernel panicked", 0}, kGuestPanicked);
    case MachineEnd::Kind::kInternalError:
      // Registers for a person to read: more than one line here.
      std::fprintf(stderr, "bellhop: the hypervisor gave up on the guest\n%s\n", end.text.c_str());
      return kGuestInternalError;
  }
  return kFailed;
}

// A stock kernel would run for half a minute on such a host and die; better to say so at once.
Status check_host(Hypervisor& hypervisor, const MachineConfig& config, bool interpreted_allowed) {
  // Smaller than any Linux, such as the bench guest: nothing needs to be measured.
  constexpr std::uintmax_t kSmall = 1U << 20U;
  std::error_code none;
  if (interpreted_allowed || std::filesystem::file_size(config.kernel, none) < kSmall) return {};
  const auto ratio = measure_kernel_mode_ratio(hypervisor);
  if (!ratio || *ratio < kInterpretedRatio) return {};  // what else is wrong shows by itself
  if (!is_linux_kernel(config.kernel)) return {};
  return fail(fmt::format(
      "--kernel: {} is a Linux kernel, and this host's KVM interprets guest kernel mode (an "
      "instruction takes {:.0f} times as long as in user mode; some are unknown to it), so that it "
      "cannot run there. The bench guest can (bellhop bench), and a host with VMX or SVM runs "
      "both. --allow-interpreted-kvm tries all the same",
      config.kernel, *ratio));
}

/// Until an end that the configuration does not answer with another start.
Result<MachineEnd> run_to_the_end(Machine& machine, OnReset on_reset) {
  if (auto started = machine.start(); !started) return forward(started);
  while (true) {
    MachineEnd end = machine.wait();
    const bool reset =
        end.kind == MachineEnd::Kind::kReset || end.kind == MachineEnd::Kind::kTripleFault;
    if (!reset || on_reset == OnReset::kExit) return end;
    if (auto done = machine.reset(); !done) return forward(done);
  }
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
Result<std::optional<KeyPipe>> connect_keys(MachineConfig& config) {
  std::optional<KeyPipe> keys;
  for (ConsoleConfig& console : config.consoles) {
    if (std::ranges::find(console.ports, ConsolePortConfig::End::kStdio, &ConsolePortConfig::end) ==
        console.ports.end()) {
      continue;
    }
    std::array<int, 2> fds{};
    if (::pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("--console stdio");
    keys.emplace(KeyPipe{UniqueFd(fds[0]), UniqueFd(fds[1])});
    console.stdio_input = fds[0];
  }
  return keys;
}

/// Of the terminal, for a console at stdio.
void tell_window_size(const MachineConfig& config) {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return;
  for (const ConsoleConfig& console : config.consoles) {
    if (console.window) console.window->set_size(size.ws_col, size.ws_row);
  }
}

int run_machine(MachineConfig config, const RunArguments& arguments,
                const MachineOptions& options) {
  SignalWaiter::block_signals();  // before any other thread is there to take them
  const auto keys = connect_keys(config);
  if (!keys) return report(keys.error(), kFailed);
  // Both would print into one another.
  auto serial = SerialOutput::open(options.serial.value_or(keys->has_value() ? "null" : "tty"));
  if (!serial) return report(serial.error(), kUsedWrongly);
  if (keys->has_value() && serial->is_terminal()) {
    return report({"--console stdio: the terminal is the serial port's; --serial null or "
                   "--serial file=PATH leaves it to the console",
                   0},
                  kUsedWrongly);
  }
  auto hypervisor = open_kvm();
  if (!hypervisor) return report(hypervisor.error(), kFailed);
  if (auto able = check_host(**hypervisor, config, arguments.interpreted_allowed); !able) {
    return report(able.error(), kFailed);
  }

  RunStats stats;
  Machine* machine = nullptr;
  MachineHooks hooks;
  hooks.serial_output = [&serial](std::span<const std::byte> data) { serial->write(data); };
  hooks.marker = [&](std::uint32_t value) { stats.mark(value, machine->counters()); };
  auto created = Machine::create(config, **hypervisor, std::move(hooks));
  if (!created) return report(created.error(), kFailed);
  machine = created->get();

  const auto stop = [machine, &serial] {
    serial->give_up();
    machine->stop();
  };
  SignalWaiter signals({.stop = stop, .give_up = TerminalInput::put_terminal_back, .resized = [&] {
                          if (keys->has_value()) tell_window_size(config);
                        }});
  std::optional<TerminalInput> terminal;
  if (serial->is_terminal() || keys->has_value()) {
    terminal.emplace(TerminalInput::Hooks{
        .input =
            [machine, &keys](std::span<const std::byte> bytes) {
              return keys->has_value() ? (*keys)->put(bytes) : machine->serial_input(bytes);
            },
        .quit = stop,
        .press_power_button = [machine] { machine->press_power_button(); }});
  }
  stats.set_threads(machine->vcpu_tids(), machine->iothread_tids());
  const auto end = run_to_the_end(*machine, config.on_reset);
  terminal.reset();  // before anything is printed
  if (!end) return report(end.error(), kFailed);
  int status = status_of(*end);
  if (const int signal = signals.finish(); signal != 0 && end->kind == MachineEnd::Kind::kStopped) {
    status = kSignalBase + signal;
  }
  if (options.stats) {
    if (auto written = stats.write(*options.stats, machine->counters()); !written) {
      return report(written.error(), kFailed);
    }
  }
  return status;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_status) {
  CLI::App* run =
      app.add_subcommand("run", "Run a virtual machine; its serial port is standard output");
  auto arguments = std::make_shared<RunArguments>();
  MachineOptions& options = arguments->options;
  const auto last = CLI::MultiOptionPolicy::TakeLast;
  const auto text = [run, last](const char* name, auto& value, const char* help, const char* type) {
    run->add_option(name, value, help)->multi_option_policy(last)->type_name(type);
  };
  text("--kernel", options.kernel, "Linux bzImage, or an ELF kernel with a PVH entry", "FILE");
  text("--initrd", options.initrd, "Initial RAM disk", "FILE");
  text("--cmdline", options.cmdline, "Kernel command line", "TEXT");
  text("--cpus", options.cpus, "Number of vCPUs (1)", "N");
  text("--vcpu-affinity", options.vcpu_affinity, "Host CPUs of each vCPU: 0=0,1=2-3", "LIST");
  text("--memory", arguments->memory, "Guest memory (512M)", "SIZE[,shared=on][,hugepages=on]");
  text("--transport", options.transport, "How the guest sees its devices (pci)",
       "pci|pci-transitional|mmio");
  text("--max-ioeventfds", options.max_ioeventfds,
       "Use at most N ioeventfds; further queues notify synchronously", "N");
  text("--reserve-ioeventfds", options.reserve_ioeventfds,
       "Of --max-ioeventfds, keep N for queues that vhost serves", "N");
  text("--serial", options.serial, "Where the serial port goes: tty (default), null or a file",
       "tty|null|file=PATH");
  text("--on-reset", options.on_reset, "When the guest asks for a reset: exit (default) or restart",
       "exit|restart");
  run->add_flag("--allow-interpreted-kvm", arguments->interpreted_allowed,
                "Start a Linux kernel even where KVM interprets guest kernel mode");
  text("--stats", options.stats,
       "Write the machine's counters as JSON at its end (-: standard error)", "FILE");
  text("--config", arguments->config, "Options from a TOML file; the command line wins", "FILE");
  run->add_option("--disk", arguments->disks, "A virtio-blk disk; may be given again")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE,...");
  run->add_option("--net", arguments->nics, "A virtio-net NIC; may be given again")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE,...");
  run->add_option("--rng", arguments->rngs, "A virtio-rng; may be given again")
      ->expected(0, 1)
      ->allow_extra_args(false)
      ->type_name("[src=FILE,...]");
  run->add_option("--vsock", arguments->vsocks, "Sockets between host and guest")
      ->allow_extra_args(false)
      ->type_name("cid=N,uds=PATH");
  run->add_option("--fs", arguments->shares,
                  "A folder of the host's, by virtiofsd; may be given again")
      ->allow_extra_args(false)
      ->type_name("tag=NAME,socket=PATH");
  run->add_option("--console", arguments->consoles,
                  "A port of a virtio-console; may be given again")
      ->allow_extra_args(false)
      ->type_name("stdio|pty|null|file=PATH|socket=PATH[,name=NAME]");
  run->add_option("--balloon", arguments->balloons, "A virtio-balloon")
      ->expected(0, 1)
      ->allow_extra_args(false)
      ->type_name("[size=SIZE,...]");
  run->add_option("--iothread", arguments->iothreads, "An I/O thread; may be given again")
      ->allow_extra_args(false)
      ->type_name("NAME[,cpus=LIST][,loop=epoll]");
  run->footer(kExamples);
  run->callback([arguments, &exit_status] {
    const auto collected = collect(*arguments);
    if (!collected) {
      exit_status = report(collected.error(), kUsedWrongly);
      return;
    }
    const auto config = make_machine_config(*collected);
    exit_status = config ? run_machine(*config, *arguments, *collected)
                         : report(config.error(), kUsedWrongly);
  });
}

}  // namespace bellhop
